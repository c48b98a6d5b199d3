"""From the API server's bodies to the small values that planning works on."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic

from scalequest_jobs.contract import names
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.status import RunStatus, message
from scalequest_operator.planning.job_body import CONTAINER
from scalequest_operator.planning.model import JobView, PodView, RunView

Body = Mapping[str, Any]

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


def moment(text: str | None) -> dt.datetime | None:
    """Return an RFC 3339 time of the API server."""
    return dt.datetime.fromisoformat(text) if text else None


def run_view(body: Body) -> RunView:
    """Return what matters of a run; a spec or status that this version does not understand is named in `problem`."""
    metadata = body["metadata"]
    spec, problem = _spec(body.get("spec"))
    status, unreadable = _status(body.get("status"))
    return RunView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata["resourceVersion"],
        status=status,
        created=moment(metadata.get("creationTimestamp")) or _EPOCH,
        deleted=moment(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        spec=None if unreadable else spec,
        problem=unreadable or problem,
        unreadable=bool(unreadable),
    )


def _spec(body: Any) -> tuple[Spec | None, str]:
    try:
        return Spec.model_validate(body, by_alias=True, by_name=False), ""
    except pydantic.ValidationError as error:
        return None, "the spec is not valid: " + _faults(error)


def _status(body: Any) -> tuple[RunStatus, str]:
    try:
        return RunStatus.model_validate(body or {}), ""
    except pydantic.ValidationError as error:
        return RunStatus(), (
            f"the status was written by another version of the operator ({_faults(error)}); "
            "run the version that wrote it, or delete the run and create it anew: finished stages are reused"
        )


def _faults(error: pydantic.ValidationError) -> str:
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]]
    return message("; ".join(faults))


def job_view(body: Body) -> JobView:
    """Return what matters of a Job of ours."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    run, run_uid = names.run_of(labels)
    finished, reason, words = _job_end(status.get("conditions") or ())
    return JobView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        run=run,
        run_uid=run_uid,
        node=_annotation(metadata, names.Annotation.NODE),
        attempt=_number(labels.get(names.Label.ATTEMPT)),
        order=_annotation(metadata, names.Annotation.ORDER),
        queued=names.Label.QUEUE in labels,
        suspended=bool(spec.get("suspend")),
        active=status.get("active", 0),
        ready=status.get("ready", 0),
        completed=status.get("completedIndexes", ""),
        finished=finished,
        reason=reason,
        message=words,
        created=moment(metadata.get("creationTimestamp")) or _EPOCH,
        deleting="deletionTimestamp" in metadata,
        deadline_seconds=spec.get("activeDeadlineSeconds"),
    )


def _job_end(conditions: Any) -> tuple[Literal["", "Complete", "Failed"], str, str]:
    for condition in conditions:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return condition["type"], condition.get("reason", ""), message(condition.get("message", ""))
    return "", "", ""


def pod_view(body: Body) -> PodView:
    """Return what matters of a pod of ours."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    run, run_uid = names.run_of(labels)
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    return PodView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        run=run,
        run_uid=run_uid,
        node=_annotation(metadata, names.Annotation.NODE),
        attempt=_number(labels.get(names.Label.ATTEMPT)),
        job_uid=labels.get("batch.kubernetes.io/controller-uid", ""),
        index=_number(_annotation(metadata, "batch.kubernetes.io/job-completion-index")),
        phase=status.get("phase", "Pending"),
        machine=body["spec"].get("nodeName", ""),
        unschedulable=_unschedulable(conditions.get("PodScheduled")),
        disruption=_disruption(conditions.get("DisruptionTarget")),
        created=moment(metadata.get("creationTimestamp")) or _EPOCH,
        deleted=moment(metadata.get("deletionTimestamp")),
        **_container(status),
    )


def _annotation(metadata: Body, name: str) -> str:
    return str((metadata.get("annotations") or {}).get(name, ""))


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _unschedulable(condition: Body | None) -> str:
    if condition is None or condition.get("status") != "False" or condition.get("reason") != "Unschedulable":
        return ""
    return message(condition.get("message") or "no node fits")


def _disruption(condition: Body | None) -> str:
    if condition is None or condition.get("status") != "True":
        return ""
    return str(condition.get("reason") or "DisruptionTarget")


def _container(status: Body) -> dict[str, Any]:
    """Return the fields of a PodView that come from the worker's container, and what keeps any from starting."""
    statuses = status.get("containerStatuses") or ()
    state = next((item.get("state") or {} for item in statuses if item["name"] == CONTAINER), {})
    ended = state.get("terminated") or {}
    waiting = _waiting([*(status.get("initContainerStatuses") or ()), *statuses])
    return {
        "waiting_reason": waiting.get("reason", ""),
        "waiting_message": message(waiting.get("message", "")),
        "exit_code": ended.get("exitCode"),
        "ended_reason": ended.get("reason", "") or status.get("reason", ""),
        "termination": (ended.get("message") or "")[:4096],
    }


def _waiting(statuses: Sequence[Body]) -> Body:
    """Return why a container waits: the first with a reason of its own, not one that waits for another."""
    waiting = [(item.get("state") or {}).get("waiting") or {} for item in statuses]
    own = (found for found in waiting if found.get("reason") not in (None, "PodInitializing"))
    return next(own, next(iter(waiting), {}))
