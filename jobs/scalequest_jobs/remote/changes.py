"""Suspend, resume, cancel: the fields of a run's spec that may be edited while it exists, and what follows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scalequest_jobs import ports
from scalequest_jobs.remote import api, errors, remote_run
from scalequest_jobs.remote.remote_run import RemoteRun

MAX_ATTEMPTS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Change:
    """One edit. `unneeded` says why a run needs it no more, or raises where that is not what is wanted."""

    field: str
    value: bool
    unneeded: Callable[[RemoteRun], str | None]
    outlook: Callable[[RemoteRun], str]
    """What happens next."""


def apply(calls: api.RunApi, namespace: str, name: str, change: Change) -> str:
    """Carry out a change and return what happens next; a run that is so already stays as it is.

    Raises:
        StageError: there is no such run, or it cannot be changed so.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        run = remote_run.find(calls, namespace, name)
        if words := change.unneeded(run):
            return words
        try:
            calls.patch(namespace, name, _operations(run, change))
        except errors.ConflictError:
            if attempt == MAX_ATTEMPTS:
                raise
        except errors.RefusedError:
            if remote_run.find(calls, namespace, name).uid == run.uid:
                raise
            raise errors.NotFoundError(
                f"{name} was deleted meanwhile, and another run has its name now: `scalequest status {name}` shows it"
            ) from None
        else:
            return change.outlook(run)
    raise AssertionError("the last attempt returns or raises")


def _operations(run: RemoteRun, change: Change) -> list[api.Operation]:
    return [
        # Another run that took over the name meanwhile is not meant.
        {"op": "test", "path": "/metadata/uid", "value": run.uid},
        {"op": "add", "path": f"/spec/{change.field}", "value": change.value},
    ]


def _over(run: RemoteRun) -> str | None:
    if run.is_finished:
        return f"{run.name} has ended already: {remote_run.ending(run)}"
    if run.is_deleting:
        return f"{run.name} is being deleted"
    return None


def _suspend_unneeded(run: RemoteRun) -> str | None:
    if run.is_cancelled:
        return f"{run.name} is cancelled already; it ends and holds nothing after that"
    return _over(run) or (f"{run.name} is suspended already" if run.is_suspended else None)


def _resume_unneeded(run: RemoteRun) -> str | None:
    again = "`scalequest submit RUN.yaml --name NEW` runs it again and takes over every finished stage"
    if over := _over(run):
        raise ports.BadParametersError(f"{over}; {again}")
    if run.is_cancelled:
        raise ports.BadParametersError(f"{run.name} is cancelled, which cannot be taken back; {again}")
    return None if run.is_suspended else f"{run.name} is not suspended"


def _cancel_unneeded(run: RemoteRun) -> str | None:
    return _over(run) or (
        f"{run.name} is cancelled already; it is about to end" if run.is_cancelled else None
    )


SUSPEND: Final = Change(
    field="suspend",
    value=True,
    unneeded=_suspend_unneeded,
    outlook=lambda run: (
        f"suspended {run.name}: its workers finish or abandon their chunks and their pods end, so that it holds no "
        f"GPU; `scalequest resume {run.name}` goes on from the committed chunks"
    ),
)

RESUME: Final = Change(
    field="suspend",
    value=False,
    unneeded=_resume_unneeded,
    outlook=lambda run: f"resumed {run.name}: its stages go on from their committed chunks",
)

CANCEL: Final = Change(
    field="cancel",
    value=True,
    unneeded=_cancel_unneeded,
    outlook=lambda run: (
        f"cancelled {run.name}: its pods end and it ends as Failed for good; finished stages stay in the cache for "
        "other runs"
    ),
)
