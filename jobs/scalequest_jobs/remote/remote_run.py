"""A run on a cluster as people look at it: where it stands, why, and how it ended."""

import datetime as dt
import difflib
from dataclasses import dataclass
from typing import Any, Final

import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract.status import ConditionType, Phase, RunStatus
from scalequest_jobs.remote import api, errors

UNSEEN_SECONDS: Final = 15.0
"""An operator that is at work has looked at a run before that."""


@dataclass(frozen=True, kw_only=True)
class RemoteRun:
    """One run."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: dt.datetime
    is_deleting: bool
    spec: dict[str, Any]
    status: RunStatus

    @property
    def is_suspended(self) -> bool:
        """Whether it is asked to stop for now."""
        return bool(self.spec.get("suspend"))

    @property
    def is_cancelled(self) -> bool:
        """Whether it is asked to end for good."""
        return bool(self.spec.get("cancel"))

    @property
    def is_finished(self) -> bool:
        """Whether it ended; nothing changes after that."""
        return self.status.finished is not None

    @property
    def is_published(self) -> bool:
        """Whether it ended in a dataset."""
        completed = self.status.condition(ConditionType.COMPLETED)
        return self.is_finished and completed is not None and completed.status == "True"

    @property
    def phase(self) -> str:
        """Return the run in one word."""
        if self.is_deleting:
            return Phase.DELETING.value
        return self.status.phase.value if self.status.phase else Phase.PENDING.value

    def seconds(self, now: dt.datetime) -> float:
        """Return how long the run is at work, or was."""
        start = self.status.started
        return ((self.status.finished or now) - start).total_seconds() if start else 0.0


def parse(body: api.Body) -> RemoteRun:
    """Return the run in a body of the API server.

    Raises:
        BadInputError: its status was written by another version of the operator.
    """
    metadata = body["metadata"]
    try:
        status = RunStatus.model_validate(body.get("status") or {})
    except pydantic.ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, fault["loc"])) for fault in error.errors()[:5]}))
        raise ports.BadInputError(
            f"the status of {metadata['name']} was written by another version of the operator (fields {fields}); "
            "use the scalequest of that version, or `kubectl describe sqr`"
        ) from error
    return RemoteRun(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        created=dt.datetime.fromisoformat(metadata["creationTimestamp"]),
        is_deleting="deletionTimestamp" in metadata,
        spec=body.get("spec") or {},
        status=status,
    )


def find(calls: api.RunApi, namespace: str, name: str) -> RemoteRun:
    """Return a run by its name; a name that is not there is answered with those that are like it."""
    try:
        return parse(calls.get(namespace, name))
    except errors.NotFoundError as error:
        raise errors.NotFoundError(_not_found(namespace, name, _names(calls, namespace))) from error


def _names(calls: api.RunApi, namespace: str) -> list[str]:
    try:
        return [body["metadata"]["name"] for body in calls.list(namespace)]
    except errors.ForbiddenError:
        return []  # who may read one run by its name need not be allowed to list them


def _not_found(namespace: str, name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        hint = f"; did you mean {' or '.join(near)}?"
    elif names:
        hint = f"; it has {', '.join(sorted(names)[:10])}" + (" ..." if len(names) > 10 else "")
    else:
        hint = " that you can see; give another --namespace or --context?"
    return f"no run {name} in the namespace {namespace}{hint}"


def reason(run: RemoteRun, now: dt.datetime) -> str:
    """Return in a line why the run stands where it stands; empty while all is as expected."""
    if run.is_finished:
        return ending(run)
    if run.is_deleting:
        return "is being deleted: the operator waits for its pods to end"
    if run.status.observed_generation == 0:
        waited = (now - run.created).total_seconds()
        if waited < UNSEEN_SECONDS:
            return "waits for the operator"
        return (
            f"no operator has looked at it yet: is one installed, does it run, does it watch the namespace "
            f"{run.namespace}? (`kubectl get pods -A -l app.kubernetes.io/name=scalequest-operator`)"
        )
    if run.status.observed_generation < run.generation:
        return "was edited; the operator has not looked at the change yet"
    return _trouble(run)


def _trouble(run: RemoteRun) -> str:
    """Return what the conditions say is wrong, or why nothing runs."""
    for kind, bad in ((ConditionType.ACCEPTED, "False"), (ConditionType.DEGRADED, "True")):
        condition = run.status.condition(kind)
        if condition is not None and condition.status == bad:
            return f"{condition.reason}: {condition.message}"
    running = run.status.condition(ConditionType.RUNNING)
    if running is not None and running.status == "False":
        return f"{running.reason}: {running.message}" if running.message else running.reason
    return ""


def ending(run: RemoteRun) -> str:
    """Return how a run ended, in a line."""
    dataset = run.status.dataset
    if run.is_published and dataset is not None:
        return f"published the dataset {dataset.name} with {dataset.rows:,} rows: {dataset.artifact.key}"
    kind = ConditionType.COMPLETED if run.is_published else ConditionType.FAILED
    said = run.status.condition(kind)
    if said is None:
        return f"ended as {run.phase}; the operator gave no reason"
    return f"{said.reason}: {said.message}"
