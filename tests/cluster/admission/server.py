"""Asks a real API server what it says to a run, without storing it."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from kubernetes import client, config

from scalequest_jobs.contract import crd

_UNCHECKED: Final = "<nil>"
"""The field of the remark that some rules were not reached; the fault is told beside it."""

_STRICT: Final = {"field_validation": "Strict"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the API server says: the run as it would store it, or its refusals as (field, text)."""

    stored: dict[str, Any] | None = None
    refusals: tuple[tuple[str, str], ...] = ()


class Admission:
    """One API server that has the CRD."""

    def __init__(self, kubeconfig: str) -> None:
        self._client = config.new_client_from_config(kubeconfig)
        self._objects = client.CustomObjectsApi(self._client)

    def close(self) -> None:
        self._client.close()

    def create(self, document: dict[str, Any], *, dry_run: bool = True) -> Answer:
        """Create a run."""
        return self._answer(self._objects.create_namespaced_custom_object, document, dry_run=dry_run)

    def update(self, document: dict[str, Any], *, dry_run: bool = True, status: bool = False) -> Answer:
        """Replace a run, or its status, whichever version is stored."""
        name = document["metadata"]["name"]
        stored = self._objects.get_namespaced_custom_object(
            crd.GROUP, crd.VERSION, "default", crd.PLURAL, name
        )
        metadata = document["metadata"] | {"resourceVersion": stored["metadata"]["resourceVersion"]}
        replace = (
            self._objects.replace_namespaced_custom_object_status
            if status
            else self._objects.replace_namespaced_custom_object
        )
        return self._answer(replace, document | {"metadata": metadata}, name, dry_run=dry_run)

    def _answer(self, call: Any, document: dict[str, Any], *name: str, dry_run: bool) -> Answer:
        options = _STRICT | ({"dry_run": "All"} if dry_run else {})
        try:
            return Answer(
                stored=call(crd.GROUP, crd.VERSION, "default", crd.PLURAL, *name, body=document, **options)
            )
        except client.ApiException as error:
            if error.status not in (400, 422):
                raise
            return Answer(refusals=tuple(_refusals(json.loads(error.body))))


def _refusals(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the causes of a refusal, fields written as in run files: `spec.generators.0.name`."""
    if unknown := re.findall(r'unknown field "([^"]+)"', status["message"]):
        return [(_dotted(field), "unknown field") for field in unknown]
    causes = status.get("details", {}).get("causes", [])
    if not causes:
        raise ValueError(f"the API server refused without a cause: {status}")
    return [(_dotted(cause["field"]), cause["message"]) for cause in causes if cause["field"] != _UNCHECKED]


def _dotted(field: str) -> str:
    return re.sub(r"\[([^]]*)]", r".\1", field)
