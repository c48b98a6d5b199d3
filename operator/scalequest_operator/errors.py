"""Errors that the operator raises on purpose; `.retriable` decides what happens next.

The tree::

    OperatorError
    +-- ConfigurationError          the operator cannot start, or keeps what it had, until somebody mends it
    +-- ClusterError                what the API server answered
        +-- UnauthorizedError   R   401: the token is not (or no longer) accepted; the next call reads it anew
        +-- ForbiddenError          403: a permission is missing, or the namespace is going
        |   +-- QuotaError      R   403: the namespace's quota is used up
        +-- NotFoundError           404
        +-- AlreadyExistsError      409: the name is taken
        +-- ConflictError       R   409: the object changed since it was read, or has another uid
        +-- GoneError           R   410: the resourceVersion or page is too old; list anew
        +-- InvalidError            400, 405, 413, 422 ...: this request can never succeed
        +-- UnavailableError    R   408, 429, 5xx, time-outs, lost connections: **it may have been done all the same**

R: another attempt, with what is then read, may succeed.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason that the API server gave: a field, the kind of fault, its words."""

    field: str
    reason: str
    message: str


class OperatorError(Exception):
    """Base of every error that the operator raises on purpose."""

    retriable: ClassVar[bool] = False


class ConfigurationError(OperatorError):
    """A setting, a profile or the way to the API server is wrong; the message says where and what to do."""


class ClusterError(OperatorError):
    """Base of every error that `cluster.KubeApi` raises. The message names the call and what was answered."""

    def __init__(self, message: str, *, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.causes = causes


class UnauthorizedError(ClusterError):
    """The credentials were refused. Tokens rotate, so another attempt may be let in."""

    retriable = True


class ForbiddenError(ClusterError):
    """The operator may not do this."""


class QuotaError(ForbiddenError):
    """The namespace's quota is used up; it may be raised, or something else may end."""

    retriable = True


class NotFoundError(ClusterError):
    """The object, or its kind, does not exist."""


class AlreadyExistsError(ClusterError):
    """An object of this name exists."""


class ConflictError(ClusterError):
    """The object is not the one that was read: read it again and decide anew."""

    retriable = True


class GoneError(ClusterError):
    """The history asked for is no longer kept: list again."""

    retriable = True


class InvalidError(ClusterError):
    """The request itself is wrong; `causes` names the fields."""


class UnavailableError(ClusterError):
    """No answer, or a promise of a better one later. A write may have been applied: look before trying again."""

    retriable = True

    def __init__(
        self, message: str, *, causes: tuple[Cause, ...] = (), retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, causes=causes)
        self.retry_after_seconds = retry_after_seconds
