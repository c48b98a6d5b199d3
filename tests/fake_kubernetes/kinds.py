"""What the API server knows of single kinds: subresources, defaults, and a few of its rules."""

from typing import Any

from fake_kubernetes import wire
from scalequest_operator import cluster, errors

WITH_STATUS = frozenset({"scalequestruns", "jobs", "pods"})
"""Resources whose status has a door of its own: an ordinary write leaves it alone."""

MUST_CARRY_VERSION = frozenset({"scalequestruns", "leases"})
"""Resources that refuse a replacement without a resourceVersion."""

POD_GRACE_SECONDS = 30


def check(resource: cluster.Resource, namespace: str, body: cluster.Body) -> None:
    """Refuse what the API server refuses to create."""
    if (body.get("apiVersion"), body.get("kind")) != (resource.api_version, resource.kind):
        seen = f"{body.get('apiVersion')}/{body.get('kind')}"
        raise errors.InvalidError(f"{seen} is not a {resource.api_version}/{resource.kind}")
    metadata = body["metadata"]
    if metadata.setdefault("namespace", namespace) != namespace:
        raise errors.InvalidError("the namespace of the object does not match the namespace of the request")
    if not metadata.get("name") and not metadata.get("generateName"):
        raise _invalid("metadata.name", "name or generateName is required")
    if resource is cluster.JOBS:
        _check_job(body["spec"])
    if resource is cluster.EVENTS and body["involvedObject"].get("namespace") != namespace:
        raise _invalid("involvedObject.namespace", "does not match event.namespace")


def default(resource: cluster.Resource, body: cluster.Body) -> None:
    """Fill in what the API server fills in, and drop a status that a creator may not set."""
    if resource.plural in WITH_STATUS:
        body.pop("status", None)
    if resource is cluster.JOBS:
        body["status"] = {}
        _default_job(body)
    elif resource is cluster.PODS:
        body["status"] = {"phase": "Pending"}


def grace_seconds(plural: str, body: cluster.Body) -> int:
    """Return how long a deleted object may take to end: only a pod on a node that has not ended gets time."""
    if plural != "pods" or not body["spec"].get("nodeName"):
        return 0
    if body["status"]["phase"] in {"Succeeded", "Failed"}:
        return 0
    return int(body["spec"].get("terminationGracePeriodSeconds", POD_GRACE_SECONDS))


def keep_status(plural: str, stored: cluster.Body, sent: cluster.Body) -> cluster.Body:
    """Return what an ordinary write of `sent` stores: the status, and what identifies the object, stay."""
    body = wire.copied(sent)
    for name in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in stored["metadata"]:
            body["metadata"][name] = stored["metadata"][name]
        else:
            body["metadata"].pop(name, None)
    if plural in WITH_STATUS:
        body.pop("status", None)
        if "status" in stored:
            body["status"] = wire.copied(stored["status"])
    return body


def only_status(stored: cluster.Body, sent: cluster.Body) -> cluster.Body:
    """Return what a write of `sent` to the status subresource stores."""
    body = wire.copied(stored)
    body["status"] = wire.copied(sent.get("status", {}))
    return body


def _invalid(field: str, message: str) -> errors.InvalidError:
    cause = errors.Cause(field=field, reason="FieldValueInvalid", message=message)
    return errors.InvalidError(f"{field}: {message}", causes=(cause,))


def _check_job(spec: dict[str, Any]) -> None:
    indexed = spec.get("completionMode") == "Indexed"
    if "backoffLimitPerIndex" in spec and not indexed:
        raise _invalid("spec.backoffLimitPerIndex", "requires indexed completion mode")
    if indexed and "completions" not in spec:
        raise _invalid("spec.completions", "Required value: when completion mode is Indexed")
    if "podFailurePolicy" in spec:
        if spec["template"]["spec"].get("restartPolicy") != "Never":
            raise _invalid(
                "spec.template.spec.restartPolicy", 'only "Never" is supported with podFailurePolicy'
            )
        if spec.get("podReplacementPolicy", "Failed") != "Failed":
            raise _invalid("spec.podReplacementPolicy", 'only "Failed" is supported with podFailurePolicy')


def _default_job(body: cluster.Body) -> None:
    spec, uid = body["spec"], body["metadata"]["uid"]
    spec.setdefault("parallelism", 1)
    spec.setdefault("completions", 1)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("backoffLimit", 2147483647 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    labels |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": body["metadata"]["name"],
        "controller-uid": uid,
        "job-name": body["metadata"]["name"],
    }
