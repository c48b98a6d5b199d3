"""What can go wrong between this machine and a cluster; every message says what to do.

The tree::

    StageError
    +-- BadParametersError      64: the same command would end the same way
    |   +-- SetupError              no client library, no kubeconfig, no such context
    |   +-- ForbiddenError          401, 403: not logged in, or not allowed
    |   +-- NotInstalledError       404: the cluster has no ScaleQuestRun
    |   +-- NotFoundError           404: no such run or namespace
    |   +-- AlreadyExistsError      409: the name is taken
    |   +-- RefusedError            400, 422: the API server does not take it; `causes` says why
    +-- TryAgainError           75
        +-- ConflictError           409: the run was changed by somebody else meanwhile
        +-- UnreachableError        408, 429, 5xx, time-outs, lost connections
        +-- StillRunningError       the time to watch is over, the run goes on
"""

from dataclasses import dataclass

from scalequest_jobs import ports


class SetupError(ports.BadParametersError):
    """This machine has no way to a cluster."""


class ForbiddenError(ports.BadParametersError):
    """The API server does not let this user do it."""


class NotInstalledError(ports.BadParametersError):
    """The cluster does not know ScaleQuestRun."""


class NotFoundError(ports.BadParametersError):
    """The run, or its namespace, does not exist."""


class AlreadyExistsError(ports.BadParametersError):
    """A run of this name exists."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason of a refusal: a field, as run files write it, and what is wrong with it."""

    field: str
    message: str


class RefusedError(ports.BadParametersError):
    """The API server does not take the object."""

    def __init__(self, message: str, *, causes: tuple[Cause, ...] = ()) -> None:
        lines = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
        super().__init__("\n  ".join([message, *lines]))
        self.causes = causes


class ConflictError(ports.TryAgainError):
    """The object changed since it was read."""


class UnreachableError(ports.TryAgainError):
    """The API server gave no answer, or asks for patience. A write may have been done all the same."""


class StillRunningError(ports.TryAgainError):
    """Watching ended before the run did."""
