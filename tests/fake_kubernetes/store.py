"""What etcd and the API server's registry do: objects with versions, a history to watch, and who may go when."""

import bisect
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fake_kubernetes import kinds, wire
from scalequest_operator import cluster, errors

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""What the API server draws generated names from."""


@dataclass(frozen=True, kw_only=True, order=True)
class Place:
    plural: str
    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """One version of one object. `before` is None for a new object; `gone` says that this one was the last."""

    version: int
    place: Place
    before: cluster.Body | None
    body: cluster.Body
    gone: bool


def timestamp(seconds: float) -> str:
    """Return a moment as Kubernetes writes it: whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> float:
    """Return a Kubernetes timestamp in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


class Store:
    """Every object of the cluster. Thread-safe; `wall` is its clock. What it hands out is one version: not to be changed.

    Controllers and kubelets of the fake write here directly; an operator goes through `api.FakeCluster`.
    """

    def __init__(self, *, wall: Callable[[], float], namespaces: tuple[str, ...] = ("default",)) -> None:
        self.wall = wall
        self.namespaces = set(namespaces)
        self.changed = threading.Condition(threading.RLock())
        self.history: list[Change] = []
        self.compacted = 0
        self._version = 1
        self._objects: dict[Place, cluster.Body] = {}
        self._numbers = itertools.count(1)

    @property
    def version(self) -> int:
        return self._version

    def compact(self) -> None:
        """Forget the history: a watch from before now, and a list that is under way, are answered 410."""
        with self.changed:
            self.compacted = self._version
            self.history.clear()

    def since(self, version: int) -> list[Change]:
        """Return the changes after a version."""
        with self.changed:
            kept = bisect.bisect_right(self.history, version, key=lambda change: change.version)
            return self.history[kept:]

    def find(self, place: Place) -> cluster.Body | None:
        with self.changed:
            return self._objects.get(place)

    def uid(self, place: Place) -> str:
        """Return the uid of the object at a place; empty when there is none."""
        with self.changed:
            body = self._objects.get(place)
            return body["metadata"]["uid"] if body else ""

    def read(self, place: Place) -> cluster.Body:
        if (body := self.find(place)) is None:
            raise errors.NotFoundError(f'{place.plural} "{place.name}" not found')
        return body

    def all(
        self,
        plural: str,
        namespace: str | None = None,
        *,
        where: Callable[[cluster.Body], bool] = lambda _: True,
    ) -> list[cluster.Body]:
        """Return the objects of a resource by namespace and name; `where` only reads."""
        with self.changed:
            places = sorted(
                place
                for place in self._objects
                if place.plural == plural and namespace in {None, place.namespace}
            )
            return [self._objects[place] for place in places if where(self._objects[place])]

    def create(self, resource: cluster.Resource, namespace: str, body: cluster.Body) -> cluster.Body:
        with self.changed:
            if namespace not in self.namespaces:
                raise errors.NotFoundError(f'namespaces "{namespace}" not found')
            body = wire.received(body)
            kinds.check(resource, namespace, body)
            metadata = body["metadata"]
            name = metadata.get("name") or metadata["generateName"] + self._suffix()
            place = Place(plural=resource.plural, namespace=namespace, name=name)
            if place in self._objects:
                raise errors.AlreadyExistsError(f'{resource.plural} "{name}" already exists')
            metadata.pop("deletionTimestamp", None)
            metadata |= {
                "name": name,
                "namespace": namespace,
                "uid": f"{next(self._numbers):08x}-0000-4000-8000-000000000000",
                "creationTimestamp": timestamp(self.wall()),
            }
            if resource.plural in kinds.WITH_STATUS:
                metadata["generation"] = 1
            kinds.default(resource, body)
            return self._write(place, body)

    def update(self, place: Place, change: Callable[[cluster.Body], None]) -> cluster.Body:
        """Apply `change` to an object and return it; nothing happens when nothing differs.

        An object that is being deleted and has no finalizer left goes.
        """
        with self.changed:
            stored = self.read(place)
            body = wire.copied(stored)
            change(body)
            if body == stored:
                return stored
            if body.get("spec") != stored.get("spec"):
                _count_generation(body)
            return self._write(place, body)

    def delete(self, place: Place, *, uid: str = "", grace_seconds: int | None = None) -> None:
        """Begin to delete an object; without finalizers and grace it goes at once. One that is gone is fine."""
        with self.changed:
            body = self._objects.get(place)
            if body is None:
                return
            if uid and body["metadata"]["uid"] != uid:
                raise errors.ConflictError(
                    f"the UID in the precondition ({uid}) does not match the UID in record ({body['metadata']['uid']})"
                )
            grace = kinds.grace_seconds(place.plural, body) if grace_seconds is None else grace_seconds
            self._mark_deleted(place, grace)

    def _mark_deleted(self, place: Place, grace: int) -> None:
        def mark(body: cluster.Body) -> None:
            metadata = body["metadata"]
            if "deletionTimestamp" not in metadata:
                _count_generation(body)
                metadata["deletionTimestamp"] = timestamp(self.wall() + grace)
                metadata["deletionGracePeriodSeconds"] = grace
            elif grace < metadata["deletionGracePeriodSeconds"]:
                metadata["deletionGracePeriodSeconds"] = grace

        self.update(place, mark)

    def _write(self, place: Place, body: cluster.Body) -> cluster.Body:
        before = self._objects.get(place)
        self._version += 1
        metadata = body["metadata"]
        metadata["resourceVersion"] = str(self._version)
        going = "deletionTimestamp" in metadata and not metadata.get("finalizers")
        gone = going and metadata["deletionGracePeriodSeconds"] == 0
        if gone:
            self._objects.pop(place, None)
        else:
            self._objects[place] = body
        change = Change(version=self._version, place=place, before=before, body=body, gone=gone)
        self.history.append(change)
        self.changed.notify_all()
        return body

    def _suffix(self) -> str:
        number, letters = next(self._numbers), ""
        for _ in range(5):
            number, digit = divmod(number, len(_ALPHABET))
            letters += _ALPHABET[digit]
        return letters


def _count_generation(body: cluster.Body) -> None:
    if "generation" in body["metadata"]:
        body["metadata"]["generation"] += 1
