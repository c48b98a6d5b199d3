"""Runs in memory: an `api.RunApi` that passes the suite of the real one (`run_api_suite`)."""

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jsonpatch

from scalequest_jobs.remote import api, errors


def _nothing(verb: str) -> None:
    """Let a call pass."""


class FakeRunApi:
    """One API server with one namespace. `before` is called with each call's verb; what it raises is the answer."""

    def __init__(self, namespace: str = "default") -> None:
        self.namespace = namespace
        self.before: Callable[[str], None] = _nothing
        self.runs: dict[str, api.Body] = {}
        self.warnings: tuple[str, ...] = ()
        self._numbers = itertools.count(1)

    def get(self, namespace: str, name: str) -> api.Body:
        self.before("get")
        return copy.deepcopy(self._stored(namespace, name))

    def list(self, namespace: str) -> list[api.Body]:
        self.before("list")
        return copy.deepcopy(list(self.runs.values())) if namespace == self.namespace else []

    def create(self, namespace: str, body: api.Body, *, dry_run: bool = False) -> api.Created:
        self.before("dry run" if dry_run else "create")
        name = body["metadata"]["name"]
        if namespace != self.namespace:
            raise errors.NotFoundError(f"namespaces {namespace!r} not found")
        if name in self.runs:
            raise errors.AlreadyExistsError(f"{name} already exists")
        if unknown := sorted(set(body["spec"]) & {"unknown"}):
            raise errors.RefusedError(
                "refused", causes=tuple(errors.Cause(field=f"spec.{field}", message="?") for field in unknown)
            )
        number = next(self._numbers)
        stored = copy.deepcopy(body)
        stored["metadata"] |= {
            "namespace": namespace,
            "uid": f"00000000-0000-0000-0000-{number:012d}",
            "generation": 1,
            "creationTimestamp": f"2026-01-01T00:{number:02d}:00Z",
        }
        if not dry_run:
            self.runs[name] = stored
        return api.Created(body=copy.deepcopy(stored), warnings=self.warnings)

    def patch(self, namespace: str, name: str, operations: Sequence[api.Operation]) -> api.Body:
        self.before("patch")
        stored = self._stored(namespace, name)
        try:
            changed = jsonpatch.apply_patch(stored, [dict(operation) for operation in operations])
        except jsonpatch.JsonPatchTestFailed as error:
            raise errors.RefusedError("the test failed") from error
        if changed["spec"] != stored["spec"]:
            changed["metadata"]["generation"] += 1
        self.runs[name] = changed
        return copy.deepcopy(changed)

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        """Write a status, as the operator does."""
        self.runs[name]["status"] = status

    def _stored(self, namespace: str, name: str) -> api.Body:
        if namespace != self.namespace or name not in self.runs:
            raise errors.NotFoundError(f"{name} not found")
        return self.runs[name]
