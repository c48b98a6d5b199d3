"""The API server in memory: a `cluster.KubeApi` over a `store.Store`, with hooks for faults."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jsonpatch
import jsonpointer

from fake_kubernetes import kinds, selectors, wire
from fake_kubernetes.store import Place, Store
from fake_kubernetes.streams import FakeWatch
from scalequest_operator import cluster, errors

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `verb` is what RBAC calls it; each page of a list is a call of its own."""

    verb: str
    resource: cluster.Resource
    namespace: str | None
    name: str = ""
    subresource: str = ""
    body: Any = field(default=None, compare=False)


Hook = Callable[[Call], None]


def _nothing(call: Call) -> None:
    """Let a call pass."""


class FakeCluster:
    """One client of the fake API server; several may share a store, each with its own faults.

    `before` is called ahead of each request and `after` once it is applied: what they raise is what the
    client sees, so an error from `after` is an answer that was lost. `calls` keeps every request.
    `blocking`: a watch waits for changes; otherwise it ends when there are none, as a simulator needs it.
    `rules`: what the client may do; None for an administrator.
    """

    def __init__(
        self,
        store: Store,
        *,
        blocking: bool = True,
        rules: Sequence[cluster.Rule] | None = (*cluster.RULES, *cluster.LEASE_RULES),
    ) -> None:
        self.store = store
        self._rules = rules
        self.before: Hook = _nothing
        self.after: Hook = _nothing
        self.calls: list[Call] = []
        self._blocking = blocking

    def get(self, resource: cluster.Resource, namespace: str, name: str) -> cluster.Body:
        call = Call(verb="get", resource=resource, namespace=namespace, name=name)
        return self._do(call, lambda: wire.copied(self.store.read(_place(call))))

    def list(
        self,
        resource: cluster.Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        chunk: int = 500,
    ) -> cluster.Listing:
        call = Call(verb="list", resource=resource, namespace=namespace)

        def snapshot() -> tuple[int, Sequence[cluster.Body]]:
            with self.store.changed:
                found = [
                    body
                    for body in self.store.all(resource.plural, namespace)
                    if selectors.labels_match(label_selector, body)
                    and selectors.fields_match(field_selector, body, resource)
                ]
                return self.store.version, found

        version, found = self._do(call, snapshot)
        return cluster.Listing(items=self._pages(call, version, found, chunk), resource_version=str(version))

    def watch(
        self,
        resource: cluster.Resource,
        namespace: str | None,
        *,
        resource_version: str,
        label_selector: str = "",
        timeout_seconds: float = 60,
    ) -> FakeWatch:
        call = Call(verb="watch", resource=resource, namespace=namespace)
        deadline = time.monotonic() + (timeout_seconds if self._blocking else 0)
        return self._do(
            call,
            lambda: FakeWatch(self.store, call, int(resource_version), label_selector, deadline=deadline),
        )

    def create(self, resource: cluster.Resource, namespace: str, body: cluster.Body) -> cluster.Body:
        name = body["metadata"].get("name", "")
        call = Call(verb="create", resource=resource, namespace=namespace, name=name, body=body)
        return self._do(call, lambda: wire.copied(self.store.create(resource, namespace, body)))

    def replace(
        self, resource: cluster.Resource, namespace: str, name: str, body: cluster.Body
    ) -> cluster.Body:
        call = Call(verb="update", resource=resource, namespace=namespace, name=name, body=body)
        return self._do(call, lambda: self._update(call, lambda _: body))

    def replace_status(
        self, resource: cluster.Resource, namespace: str, name: str, body: cluster.Body
    ) -> cluster.Body:
        call = Call(
            verb="update", resource=resource, namespace=namespace, name=name, subresource="status", body=body
        )
        return self._do(call, lambda: self._update(call, lambda _: body))

    def patch(
        self,
        resource: cluster.Resource,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
    ) -> cluster.Body:
        call = Call(
            verb="patch",
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            body=operations,
        )
        return self._do(call, lambda: self._update(call, lambda stored: _patched(stored, operations)))

    def delete(self, resource: cluster.Resource, namespace: str, name: str, *, uid: str) -> None:
        call = Call(verb="delete", resource=resource, namespace=namespace, name=name, body={"uid": uid})
        self._do(call, lambda: self.store.delete(_place(call), uid=uid))

    def _do(self, call: Call, action: Callable[[], Result]) -> Result:
        self.calls.append(call)
        self.before(call)
        self._check_allowed(call)
        result = action()
        self.after(call)
        return result

    def _check_allowed(self, call: Call) -> None:
        if self._rules is not None and not any(
            rule.resource == call.resource
            and rule.subresource == call.subresource
            and call.verb in rule.verbs
            for rule in self._rules
        ):
            subject = "/".join(filter(None, [call.resource.plural, call.subresource]))
            raise errors.ForbiddenError(
                f'cannot {call.verb} resource "{subject}" in namespace "{call.namespace}"'
            )

    def _pages(
        self, call: Call, version: int, found: Sequence[cluster.Body], chunk: int
    ) -> Iterator[cluster.Body]:
        for number, page in enumerate(_batches(found, chunk)):
            if number:
                self._do(call, lambda: self._check_kept(version))
            yield from map(wire.copied, page)

    def _check_kept(self, version: int) -> None:
        if version < self.store.compacted:
            raise errors.GoneError("the provided continue parameter is too old")

    def _update(self, call: Call, wanted: Callable[[cluster.Body], cluster.Body]) -> cluster.Body:
        plural = call.resource.plural

        def change(stored: cluster.Body) -> None:
            sent = wire.received(wanted(wire.copied(stored)))
            _check_precondition(plural, stored, sent)
            sent["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            body = (
                kinds.only_status(stored, sent)
                if call.subresource
                else kinds.keep_status(plural, stored, sent)
            )
            stored.clear()
            stored.update(body)

        return wire.copied(self.store.update(_place(call), change))


def _place(call: Call) -> Place:
    return Place(plural=call.resource.plural, namespace=call.namespace or "", name=call.name)


def _batches(found: Sequence[cluster.Body], chunk: int) -> Iterator[Sequence[cluster.Body]]:
    for start in range(0, len(found), chunk):
        yield found[start : start + chunk]


def _patched(stored: cluster.Body, operations: Sequence[Mapping[str, Any]]) -> cluster.Body:
    try:
        body: cluster.Body = jsonpatch.apply_patch(stored, list(operations), in_place=True)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise errors.InvalidError(f"the patch does not apply: {error}") from error
    return body


def _check_precondition(plural: str, stored: cluster.Body, sent: cluster.Body) -> None:
    metadata, kept = sent["metadata"], stored["metadata"]
    version = metadata.get("resourceVersion")
    if version is None and plural in kinds.MUST_CARRY_VERSION:
        raise errors.InvalidError("metadata.resourceVersion: Invalid value: must be specified for an update")
    if version not in {None, kept["resourceVersion"]}:
        raise errors.ConflictError(
            f"the object has been modified: it is {kept['resourceVersion']}, not {version}"
        )
    if metadata.get("uid", kept["uid"]) != kept["uid"]:
        raise errors.ConflictError(f"the UID is {kept['uid']}, not {metadata['uid']}")
