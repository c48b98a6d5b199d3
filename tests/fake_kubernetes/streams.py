"""A watch on the fake API server's history."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fake_kubernetes import selectors, wire
from fake_kubernetes.store import Change, Store
from scalequest_operator import cluster, errors

if TYPE_CHECKING:
    from fake_kubernetes.api import Call


class FakeWatch:
    """Yields what changed after a version until `deadline` (monotonic), then a bookmark."""

    def __init__(
        self, store: Store, call: "Call", version: int, label_selector: str, *, deadline: float
    ) -> None:
        self._store = store
        self._call = call
        self._version = version
        self._selector = label_selector
        self._deadline = deadline
        self._closed = False

    def __iter__(self) -> Iterator[cluster.WatchEvent]:
        while (changes := self._wait()) is not None:
            for change in changes:
                if self._closed:
                    return
                self._version = change.version
                if (event := self._event(change)) is not None:
                    yield event
        if not self._closed:
            yield self._bookmark()

    def close(self) -> None:
        with self._store.changed:
            self._closed = True
            self._store.changed.notify_all()

    def _wait(self) -> list[Change] | None:
        with self._store.changed:
            while not self._closed:
                if self._version < self._store.compacted:
                    raise errors.GoneError(f"too old resource version: {self._version}")
                if found := self._store.since(self._version):
                    return found
                left = self._deadline - time.monotonic()
                if left <= 0:
                    return None
                self._store.changed.wait(left)
        return None

    def _event(self, change: Change) -> cluster.WatchEvent | None:
        if change.place.plural != self._call.resource.plural:
            return None
        if self._call.namespace not in {None, change.place.namespace}:
            return None
        body = change.body
        was = change.before is not None and selectors.labels_match(self._selector, change.before)
        fits = not change.gone and selectors.labels_match(self._selector, body)
        match was, fits:
            case True, True:
                return cluster.WatchEvent(type="MODIFIED", body=wire.copied(body))
            case False, True:
                return cluster.WatchEvent(type="ADDED", body=wire.copied(body))
            case True, False:
                return cluster.WatchEvent(type="DELETED", body=wire.copied(body))
        return None

    def _bookmark(self) -> cluster.WatchEvent:
        metadata = {"resourceVersion": str(self._version)}
        resource = self._call.resource
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
        return cluster.WatchEvent(type="BOOKMARK", body=body)
