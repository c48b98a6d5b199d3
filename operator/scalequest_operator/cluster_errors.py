"""What a foreign exception or an answer of the API server means: the one place where they become our errors."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import kubernetes.client.exceptions
import kubernetes.config.config_exception
import urllib3.exceptions

from scalequest_operator import errors

TRANSPORT: Final = (
    kubernetes.client.exceptions.OpenApiException,
    urllib3.exceptions.HTTPError,
    OSError,
    json.JSONDecodeError,
    UnicodeDecodeError,
)
"""Everything that a request can raise between us and a whole answer."""

_TOO_LARGE: Final = "request is too large"
"""etcd's words for an object above its limit, which the API server passes on as 500."""

_UNAVAILABLE: Final = frozenset({408, 425, 429})


@contextmanager
def mapped(subject: str) -> Iterator[None]:
    """Turn what the client library and its transport raise into our errors; `subject` says what was asked."""
    try:
        yield
    except kubernetes.config.config_exception.ConfigException as error:
        raise errors.UnauthorizedError(f"{subject}: no credentials: {error}") from error
    except TRANSPORT as error:
        raise errors.UnavailableError(
            f"{subject}: no whole answer: {type(error).__name__}: {error}"
        ) from error


def from_answer(subject: str, code: int, body: bytes, headers: Mapping[str, str]) -> errors.ClusterError:
    """Return the error of an answer whose status code is not 2xx."""
    return from_status(subject, code, _status(body), retry_after=headers.get("Retry-After"))


def from_status(
    subject: str, code: int, status: Mapping[str, Any], *, retry_after: str | None = None
) -> errors.ClusterError:
    """Return the error of a `Status` object, as it comes in an answer or in a stream."""
    message = f"{subject}: {code} {status.get('reason', '')}: {status.get('message', '')}"
    causes = _causes(status)
    if _is_passing(code, status):
        seconds = float(retry_after) if retry_after and retry_after.strip().isdecimal() else None
        return errors.UnavailableError(message, causes=causes, retry_after_seconds=seconds)
    return _kind(code, status)(message, causes=causes)


def _is_passing(code: int, status: Mapping[str, Any]) -> bool:
    """Tell whether the server could not answer now.

    A 404 without the reason NotFound is about the kind, not the object: while a CustomResourceDefinition is not
    (yet) served, "this run does not exist" must not be believed.
    """
    if code == 404:
        return status.get("reason") != "NotFound"
    too_large = _TOO_LARGE in status.get("message", "")
    return code in _UNAVAILABLE or (code >= 500 and not too_large)


def _kind(code: int, status: Mapping[str, Any]) -> type[errors.ClusterError]:
    match code:
        case 401:
            return errors.UnauthorizedError
        case 403:
            return (
                errors.QuotaError if "exceeded quota" in status.get("message", "") else errors.ForbiddenError
            )
        case 404:
            return errors.NotFoundError
        case 409:
            exists = status.get("reason") == "AlreadyExists"
            return errors.AlreadyExistsError if exists else errors.ConflictError
        case 410:
            return errors.GoneError
    return errors.InvalidError


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        status = json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        status = None
    if isinstance(status, dict):
        return status
    return {"message": body[:500].decode(errors="replace")}


def _causes(status: Mapping[str, Any]) -> tuple[errors.Cause, ...]:
    details = status.get("details") or {}
    return tuple(
        errors.Cause(
            field=cause.get("field", ""), reason=cause.get("reason", ""), message=cause.get("message", "")
        )
        for cause in details.get("causes") or []
    )
