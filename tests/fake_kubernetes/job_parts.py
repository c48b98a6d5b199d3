"""Pure parts of the Job controller: what a failed pod means, index ranges, the pod of an index."""

from collections.abc import Iterable
from typing import Any

from fake_kubernetes import wire
from fake_kubernetes.store import moment
from scalequest_operator import cluster

TRACKING = "batch.kubernetes.io/job-tracking"
"""The finalizer that keeps a pod until the controller has counted it."""

INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"

FIRST_BACKOFF_SECONDS = 10
MAX_BACKOFF_SECONDS = 600


def index_of(pod: cluster.Body) -> int:
    return int(pod["metadata"]["annotations"][INDEX])


def counter(pod: cluster.Body, name: str) -> int:
    return int(pod["metadata"]["annotations"].get(name, 0))


def is_ended(pod: cluster.Body) -> bool:
    return pod["status"]["phase"] in {"Succeeded", "Failed"}


def is_terminating(pod: cluster.Body) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_tracked(pod: cluster.Body) -> bool:
    return TRACKING in pod["metadata"].get("finalizers", [])


def tries(pod: cluster.Body) -> int:
    """Return how many pods of its index came before this one."""
    return counter(pod, FAILURES) + counter(pod, IGNORED)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """Return a Job's condition of a type."""
    for each in status.get("conditions", []):
        if each["type"] == kind:
            return dict(each)
    return None


def ended_at(job: cluster.Body) -> str | None:
    """Return when a Job became Complete or Failed; None while it is neither."""
    for kind in ("Complete", "Failed"):
        if (found := condition(job.get("status", {}), kind)) and found["status"] == "True":
            return str(found["lastTransitionTime"])
    return None


def finished_at(pod: cluster.Body) -> float:
    """Return when a pod's last container ended; where nobody said so, when its deletion was asked for."""
    metadata = pod["metadata"]
    ends = [
        moment(status["state"]["terminated"]["finishedAt"])
        for status in pod["status"].get("containerStatuses", [])
        if "terminated" in status["state"]
    ]
    if ends:
        return max(ends)
    if "deletionTimestamp" in metadata:
        return moment(metadata["deletionTimestamp"]) - float(metadata["deletionGracePeriodSeconds"])
    return moment(metadata["creationTimestamp"])


def ranges(indexes: Iterable[int]) -> str:
    """Return indexes as Kubernetes writes them: 1,3-5,7 (two in a row are written as two)."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(_range(run) for run in runs)


def parse_ranges(text: str) -> set[int]:
    """Return what `ranges` wrote."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def action(job: cluster.Body, pod: cluster.Body) -> tuple[str, str]:
    """Return what the first fitting rule of the podFailurePolicy says of a failed pod, and why; "Count" without one."""
    rules = job["spec"].get("podFailurePolicy", {}).get("rules", [])
    for number, rule in enumerate(rules):
        reason = _exit_code_fits(rule.get("onExitCodes"), pod) or _condition_fits(
            rule.get("onPodConditions"), pod
        )
        if reason:
            place = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            verb = rule["action"]
            return verb, reason.format(pod=place) + f" matching {verb} rule at index {number}"
    return "Count", ""


def pod_of(job: cluster.Body, index: int, failures: int, ignored: int) -> cluster.Body:
    """Return the pod that the controller creates for an index."""
    template, name = wire.copied(job["spec"]["template"]), job["metadata"]["name"]
    metadata = template.get("metadata", {})
    annotations = metadata.setdefault("annotations", {})
    annotations[INDEX] = str(index)
    if "backoffLimitPerIndex" in job["spec"]:
        annotations[FAILURES] = str(failures)
        if ignored:
            annotations[IGNORED] = str(ignored)
    metadata.setdefault("labels", {})[INDEX] = str(index)
    metadata |= {
        "generateName": f"{name}-{index}-",
        "namespace": job["metadata"]["namespace"],
        "finalizers": [*metadata.get("finalizers", []), TRACKING],
        "ownerReferences": [_owner(job)],
    }
    spec = template["spec"] | {"hostname": f"{name}-{index}"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def backoff_seconds(failures: int) -> int:
    """Return how long after its last failure an index is tried again."""
    return min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** max(0, failures - 1)) if failures else 0


def _owner(job: cluster.Body) -> dict[str, Any]:
    return {
        "apiVersion": job["apiVersion"],
        "kind": job["kind"],
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _range(run: list[int]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}{',' if len(run) == 2 else '-'}{run[-1]}"


def _exit_code_fits(wanted: dict[str, Any] | None, pod: cluster.Body) -> str:
    if wanted is None:
        return ""
    for status in pod["status"].get("containerStatuses", []):
        code = status.get("state", {}).get("terminated", {}).get("exitCode", 0)
        named = wanted.get("containerName") in {None, status["name"]}
        if named and code and (code in wanted["values"]) == (wanted["operator"] == "In"):
            return f"Container {status['name']} for pod {{pod}} failed with exit code {code}"
    return ""


def _condition_fits(wanted: list[dict[str, str]] | None, pod: cluster.Body) -> str:
    held = {(each["type"], each["status"]) for each in pod["status"].get("conditions", [])}
    for pattern in wanted or []:
        if (pattern["type"], pattern.get("status", "True")) in held:
            return f"Pod {{pod}} has condition {pattern['type']}"
    return ""
