"""The Job of one attempt of a stage, as a `batch/v1` body.

Fields: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/. What is set on
purpose and why stands beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scalequest_jobs.contract import names
from scalequest_jobs.contract.compute import Quantity, StageCompute
from scalequest_jobs.contract.launch import Env, ExitCode
from scalequest_jobs.contract.run import API_VERSION, KIND, Spec
from scalequest_jobs.contract.stage import Order, Role
from scalequest_jobs.stages import fetch_model, rewrite_questions
from scalequest_operator.configuration import Profile, StageConfiguration, StoreConfiguration
from scalequest_operator.planning.model import RunView

CONTAINER: Final = "worker"

_SCRATCH: Final = "/tmp"  # noqa: S108 - the pod's own empty volume
_CACHE: Final = f"{_SCRATCH}/cache"
_CREDENTIALS: Final = "/etc/scalequest/s3"
_CA: Final = "/etc/scalequest/ca"
_API_KEY: Final = "/etc/scalequest/api-key"
_HUB_TOKEN: Final = "/etc/scalequest/hub"  # noqa: S105 - a folder


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of a stage: everything that its Job's body is made of."""

    run: RunView
    spec: Spec
    profile: Profile
    store: StoreConfiguration
    order: Order
    order_key: str
    order_sha256: str
    role: Role
    number: int
    suspended: bool = False
    deadline_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Mount:
    """A volume of the pod and where it is mounted."""

    name: str
    path: str
    source: Mapping[str, Any]
    sub_path: str = ""
    read_only: bool = True

    def volume(self) -> dict[str, Any]:
        return {"name": self.name, **self.source}

    def mount(self) -> dict[str, Any]:
        read_only = {"readOnly": True} if self.read_only else {}
        sub_path = {"subPath": self.sub_path} if self.sub_path else {}
        return {"name": self.name, "mountPath": self.path, **sub_path, **read_only}


def name_of(attempt: Attempt) -> str:
    """Return the Job's name."""
    return names.job_name(attempt.run.name, attempt.run.uid, attempt.order.node, attempt.number)


def job_body(attempt: Attempt) -> dict[str, Any]:
    """Return the Job's body. Same input, same body."""
    labels, annotations = _labels(attempt), _annotations(attempt)
    of_role = attempt.profile.roles[attempt.role].pod
    of_stage = attempt.profile.stages.get(attempt.order.stage, StageConfiguration()).pod
    queue = {names.Label.QUEUE.value: attempt.profile.queue} if attempt.profile.queue else {}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": _with_overlay(_with_overlay(_pod_spec(attempt), of_role), of_stage),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name_of(attempt),
            "namespace": attempt.run.namespace,
            "labels": labels | queue,
            "annotations": annotations,
            "ownerReferences": [_owner(attempt.run)],
        },
        "spec": _job_spec(attempt) | {"template": template},
    }


def _job_spec(attempt: Attempt) -> dict[str, Any]:
    deadline = attempt.deadline_seconds
    return {
        "completionMode": "Indexed",
        "completions": attempt.order.shards,
        "parallelism": attempt.order.shards,
        "backoffLimitPerIndex": attempt.spec.retries.failures,
        # A stage with a lost shard cannot be committed, so the others stop as soon as one is given up.
        "maxFailedIndexes": 0,
        # Never two pods of one shard while one is still ending: it would hold its GPUs twice.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _failure_rules()},
        "ttlSecondsAfterFinished": attempt.profile.job_ttl_seconds,
        # Kueue admits a Job by resuming it.
        "suspend": attempt.suspended or attempt.profile.queue is not None,
    } | ({"activeDeadlineSeconds": deadline} if deadline is not None else {})


def _failure_rules() -> list[dict[str, Any]]:
    hopeless = sorted([ExitCode.BAD_PARAMETERS.value, ExitCode.BAD_INPUT.value])
    return [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": hopeless},
        },
        # Preemption, eviction and lost nodes spend no retries.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]


def _owner(run: RunView) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": run.name,
        "uid": run.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _labels(attempt: Attempt) -> dict[str, str]:
    return names.labels(
        run=attempt.run.name,
        run_uid=attempt.run.uid,
        stage=attempt.order.stage,
        role=attempt.role.value,
        attempt=attempt.number,
        generator=attempt.order.generator,
    )


def _annotations(attempt: Attempt) -> dict[str, str]:
    return {
        names.Annotation.NODE.value: attempt.order.node,
        names.Annotation.ORDER.value: attempt.order_sha256,
    }


def _pod_spec(attempt: Attempt) -> dict[str, Any]:
    profile = attempt.profile
    mounts = _mounts(attempt)
    optional = {
        "serviceAccountName": profile.service_account,
        "runtimeClassName": profile.runtime_class,
        "priorityClassName": profile.priority_class,
        "nodeSelector": profile.node_selector,
        "imagePullSecrets": [{"name": name} for name in profile.image_pull_secrets],
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": profile.grace_seconds,
        "securityContext": _pod_security(profile.run_as_user),
        "tolerations": [*profile.tolerations, *_loss_tolerations(profile.unreachable_seconds)],
        "containers": [_container(attempt, mounts)],
        "volumes": [mount.volume() for mount in mounts],
    } | {name: value for name, value in optional.items() if value}


def _pod_security(user: int) -> dict[str, Any]:
    """Return what Pod Security "restricted" demands."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _loss_tolerations(seconds: int) -> list[dict[str, Any]]:
    """Return tolerations of a lost node for seconds; the default of 300 would idle the other shards' GPUs."""
    return [
        {
            "key": f"node.kubernetes.io/{taint}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": seconds,
        }
        for taint in ("not-ready", "unreachable")
    ]


def _container(attempt: Attempt, mounts: Sequence[_Mount]) -> dict[str, Any]:
    profile = attempt.profile
    return {
        "name": CONTAINER,
        "image": profile.roles[attempt.role].image,
        "imagePullPolicy": profile.image_pull_policy,
        "command": list(profile.command),
        "args": ["run", attempt.order.stage],
        "env": _environment(attempt),
        "resources": _resources(attempt),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount.mount() for mount in mounts],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(attempt: Attempt) -> list[dict[str, Any]]:
    profile = attempt.profile
    storage = attempt.spec.storage
    prefix = f"/{storage.prefix.strip('/')}" if storage.prefix else ""
    values: dict[str, str] = {
        "HOME": _SCRATCH,
        Env.ORDER_KEY: attempt.order_key,
        Env.ORDER_SHA256: attempt.order_sha256,
        Env.STORE: f"s3+{attempt.store.endpoint}/{storage.bucket}{prefix}",
        Env.S3_REGION: attempt.store.region,
        Env.S3_CREDENTIALS: _CREDENTIALS,
        Env.CACHE: _CACHE,
        Env.VOLUMES: profile.volumes_root,
    }
    if attempt.store.ca_config_map:
        values[Env.S3_CA_FILE] = f"{_CA}/ca.crt"
    if _api_key_secret(attempt):
        values[Env.API_KEY_FILE] = f"{_API_KEY}/api-key"
    if attempt.order.stage == fetch_model.NAME:
        values |= {Env.HUB_ENDPOINT: profile.hub_endpoint} if profile.hub_endpoint else {}
        values |= {Env.HUB_TOKEN_FILE: f"{_HUB_TOKEN}/token"} if profile.hub_token_secret else {}
    uid = {"name": Env.POD_UID.value, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    # Ours come last and win: a profile cannot send a worker to another order.
    merged = profile.environment | {str(name): value for name, value in values.items()}
    return [uid, *({"name": name, "value": value} for name, value in merged.items())]


def _resources(attempt: Attempt) -> dict[str, Any]:
    """Return requests, and limits for all but CPU, which a limit would only throttle."""
    override = attempt.spec.compute.stages.get(attempt.order.stage, StageCompute(resources={})).resources
    requests: dict[str, Quantity] = attempt.profile.roles[attempt.role].resources | override
    limits = {name: value for name, value in requests.items() if name != "cpu"}
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _mounts(attempt: Attempt) -> list[_Mount]:
    profile = attempt.profile
    scratch = {"emptyDir": {"sizeLimit": profile.scratch}}
    shared_memory = {"emptyDir": {"medium": "Memory", "sizeLimit": profile.shared_memory}}
    secret = attempt.spec.storage.credentials_secret or attempt.store.credentials_secret
    mounts = [
        _Mount(name="scratch", path=_SCRATCH, source=scratch, read_only=False),
        _Mount(name="shared-memory", path="/dev/shm", source=shared_memory, read_only=False),  # noqa: S108
        _Mount(name="s3-credentials", path=_CREDENTIALS, source=_secret(secret)),
    ]
    if attempt.store.ca_config_map:
        source = {"configMap": {"name": attempt.store.ca_config_map}}
        mounts.append(_Mount(name="s3-ca", path=_CA, source=source))
    if api_key := _api_key_secret(attempt):
        mounts.append(_Mount(name="api-key", path=_API_KEY, source=_secret(api_key)))
    if attempt.order.stage == fetch_model.NAME and profile.hub_token_secret:
        mounts.append(_Mount(name="hub-token", path=_HUB_TOKEN, source=_secret(profile.hub_token_secret)))
    return mounts + [
        _Mount(
            name=f"volume-{volume.name}",
            path=volume.mount_path,
            source={"persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only}},
            sub_path=volume.sub_path,
            read_only=volume.read_only,
        )
        for volume in profile.volumes
    ]


def _secret(name: str) -> dict[str, Any]:
    return {"secret": {"secretName": name, "defaultMode": 0o440}}


def _api_key_secret(attempt: Attempt) -> str | None:
    preference = attempt.spec.preference
    if attempt.order.stage != rewrite_questions.NAME or preference is None:
        return None
    endpoint = preference.rewriter.endpoint
    return endpoint.api_key_secret if endpoint else None


def _with_overlay(base: Any, overlay: Any) -> Any:
    """Return `base` with `overlay` laid over it: maps merge, lists of named items merge by name, others append."""
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        added = {name: value for name, value in overlay.items() if name not in base}
        return {
            name: _with_overlay(value, overlay[name]) if name in overlay else value
            for name, value in base.items()
        } | added
    if isinstance(base, list) and isinstance(overlay, list):
        by_name = {item["name"]: item for item in overlay if isinstance(item, Mapping) and "name" in item}
        merged = [
            _with_overlay(item, by_name.pop(item["name"]))
            if isinstance(item, Mapping) and item.get("name") in by_name
            else item
            for item in base
        ]
        unnamed = [item for item in overlay if not (isinstance(item, Mapping) and "name" in item)]
        return [*merged, *by_name.values(), *unnamed]
    return overlay
