"""What an answer of the API server means to the person at the command line."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from scalequest_jobs import ports
from scalequest_jobs.contract import crd
from scalequest_jobs.remote import errors

INSTALL: Final = (
    f"the cluster does not serve {crd.GROUP}/{crd.VERSION}: install the operator's CustomResourceDefinition there "
    "(`kubectl apply -f crds/scalequestrun.yaml`, or the chart), or choose another --context"
)

_PATIENCE: Final = frozenset({408, 425, 429})

_NOISE: Final = re.compile(r'^(Invalid value|Forbidden|Unsupported value): ("object"|null|<nil>)?(: )?')
"""What stands before a rule's own words when the value is too large to print."""


def from_answer(subject: str, code: int, text: str) -> ports.StageError:
    """Return the error of an answer whose status code is not 2xx; `subject` says what was asked."""
    status = _status(text)
    words = status.get("message") or text[:300] or "no words"
    match code:
        case 401:
            return errors.ForbiddenError(
                f"{subject}: the API server does not accept the credentials; log in again ({words})"
            )
        case 403:
            return errors.ForbiddenError(
                f"{subject}: not allowed: {words}. Ask for access to {crd.PLURAL}.{crd.GROUP}, or give another "
                "--namespace or --context"
            )
        case 404:
            return _missing(subject, status)
        case 409 if status.get("reason") == "AlreadyExists":
            return errors.AlreadyExistsError(f"{subject}: {words}")
        case 409:
            return errors.ConflictError(f"{subject}: {words}")
    if code in _PATIENCE or code >= 500:
        return errors.UnreachableError(f"{subject}: the API server cannot answer now: {code}: {words}")
    causes = _causes(status)
    return errors.RefusedError(
        f"{subject}: the API server refuses it" + ("" if causes else f": {words}"), causes=causes
    )


def _missing(subject: str, status: Mapping[str, Any]) -> ports.StageError:
    # An unknown kind is answered in plain text; a missing object by a Status that says what is missing.
    if status.get("reason") != "NotFound":
        return errors.NotInstalledError(f"{subject}: {INSTALL}")
    details = status.get("details") or {}
    if details.get("kind") == "namespaces":
        name = details.get("name", "")
        fix = f"`kubectl create namespace {name}`, or give another --namespace"
        return errors.NotFoundError(f"{subject}: there is no namespace {name}: {fix}")
    return errors.NotFoundError(f"{subject}: {status.get('message', 'not found')}")


def _status(text: str) -> Mapping[str, Any]:
    try:
        status = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return status if isinstance(status, dict) else {}


def _causes(status: Mapping[str, Any]) -> tuple[errors.Cause, ...]:
    if unknown := re.findall(r'unknown field "([^"]+)"', status.get("message", "")):
        return tuple(
            errors.Cause(
                field=field,
                message="the cluster does not know this field; its CustomResourceDefinition is of another version",
            )
            for field in unknown
        )
    listed = (status.get("details") or {}).get("causes") or []
    causes = (
        errors.Cause(field=_dotted(cause.get("field", "")), message=_NOISE.sub("", cause.get("message", "")))
        for cause in listed
    )
    # "<nil>" stands where rules were not reached because others failed first.
    return tuple(cause for cause in causes if cause.field != "<nil>")


def _dotted(field: str) -> str:
    """Return a field as run files and local checks write it: `spec.generators.0.name`."""
    return re.sub(r"\[([^]]*)]", r".\1", field)
