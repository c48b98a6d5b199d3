"""Informers: what the API server holds of one resource, kept up to date as small views.

List in pages, then follow the changes from exactly there; resume after every break; list again when the history is gone
and every few minutes. A list is compared with what is known, so objects that vanished unseen are reported as deleted.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from scalequest_operator import cluster, errors
from scalequest_operator.views import ObjectKey, View, Views

_LOG = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long `stop` waits for threads; they are daemons, so one that hangs in a call ends with the process."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How an informer paces itself, in seconds.

    watch_seconds: the server ends a stream after this, so silence for longer means a dead connection.
    relist_seconds: a full list repairs whatever was missed; spread by a tenth either way.
    first_backoff_seconds, max_backoff_seconds: the wait after failures doubles, its upper half drawn at random.
    """

    watch_seconds: float = 60.0
    relist_seconds: float = 600.0
    first_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Subject(Generic[View]):
    """What an informer looks at, and what it makes of it.

    namespaces: None for all. digest: an object's view, a value that can be compared. owner: what `views` finds it by.
    on_change: called from the informer's threads with the view before and after, never both None or equal.
    """

    resource: cluster.Resource
    namespaces: Sequence[str] | None
    label_selector: str
    digest: Callable[[cluster.Body], View]
    owner: Callable[[cluster.Body], str]
    on_change: Callable[[View | None, View | None], None]


class Informer(Generic[View]):
    """Follows one resource, with one thread for each namespace (or one for all).

    Failures of the API server never end it. An error in `digest` or `on_change` does end its thread, since
    a view that is wrong for ever is worse: `age_seconds` then grows, which the liveness probe sees.
    A simulator calls `step` instead of `start`.
    """

    def __init__(
        self,
        api: cluster.KubeApi,
        subject: Subject[View],
        *,
        timing: Timing | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._views: Views[View] = Views()
        namespaces: Sequence[str | None] = [None] if subject.namespaces is None else subject.namespaces
        self._streams = [
            _Stream(
                api=api,
                subject=subject,
                namespace=namespace,
                views=self._views,
                timing=timing or Timing(),
                monotonic=monotonic,
                draw=draw,
            )
            for namespace in namespaces
        ]
        self._threads: list[threading.Thread] = []
        self._name = subject.resource.plural

    def start(self) -> None:
        """Begin to follow, in threads."""
        self._threads = [
            threading.Thread(target=stream.run, name=f"informer-{self._name}-{number}", daemon=True)
            for number, stream in enumerate(self._streams)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every stream and thread."""
        for stream in self._streams:
            stream.stop()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def step(self) -> float:
        """List or follow once in each namespace, in this thread; return the seconds until the next step is due."""
        return max(stream.step() for stream in self._streams)

    @property
    def synced(self) -> bool:
        """Tell whether every namespace has been listed once: only then does "none" mean none."""
        return all(stream.synced for stream in self._streams)

    @property
    def age_seconds(self) -> float:
        """Return the time since the last sign of life of the most silent stream."""
        return max(stream.age_seconds for stream in self._streams)

    def views(self, owner: str) -> tuple[View, ...]:
        """Return the views of the objects that belong to `owner`, by name."""
        return self._views.owned(owner)

    def view(self, namespace: str, name: str) -> View | None:
        """Return the view of one object; None when none is known."""
        return self._views.get(ObjectKey(namespace=namespace, name=name))

    def __len__(self) -> int:
        """Return how many objects are known."""
        return len(self._views)


class _Stream(Generic[View]):
    """Lists and follows one namespace, or all."""

    def __init__(
        self,
        *,
        api: cluster.KubeApi,
        subject: Subject[View],
        namespace: str | None,
        views: Views[View],
        timing: Timing,
        monotonic: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._api = api
        self._subject = subject
        self._namespace = namespace
        self._views = views
        self._timing = timing
        self._monotonic = monotonic
        self._draw = draw
        self._version: str | None = None
        self._relist_at = 0.0
        self._failures = 0
        self._alive_at = monotonic()
        self._stopping = threading.Event()
        self._guard = threading.Lock()
        self._watch: cluster.Watch | None = None
        self.synced = False

    @property
    def age_seconds(self) -> float:
        return self._monotonic() - self._alive_at

    def run(self) -> None:
        """Step until stopped."""
        wait = 0.0
        while not self._stopping.wait(wait):
            wait = self.step()

    def stop(self) -> None:
        self._stopping.set()
        with self._guard:
            if self._watch is not None:
                self._watch.close()

    def step(self) -> float:
        """List or follow once; return how long to wait before the next step."""
        try:
            if self._version is None or self._monotonic() >= self._relist_at:
                self._list()
                return 0.0
            return self._follow(self._version)
        except errors.ClusterError as error:
            if isinstance(error, errors.GoneError):
                self._version = None
            return self._back_off(error)

    def _list(self) -> None:
        listing = self._api.list(
            self._subject.resource, self._namespace, label_selector=self._subject.label_selector
        )
        unseen = self._views.keys(self._namespace)
        for body in listing.items:
            unseen.discard(self._put(body))
            if self._stopping.is_set():
                return
        for key in unseen:
            self._remove(key)
        self._version = listing.resource_version
        spread = 0.9 + 0.2 * self._draw()
        self._relist_at = self._monotonic() + self._timing.relist_seconds * spread
        self.synced = True
        self._show_life()

    def _follow(self, version: str) -> float:
        begun = self._monotonic()
        watch = self._api.watch(
            self._subject.resource,
            self._namespace,
            resource_version=version,
            label_selector=self._subject.label_selector,
            timeout_seconds=self._timing.watch_seconds,
        )
        with self._guard:
            self._watch = watch
        try:
            if self._stopping.is_set():
                return 0.0
            changes = 0
            for event in watch:
                self._apply(event)
                changes += 1
        finally:
            watch.close()
        self._show_life()
        # A server that ends streams at once would otherwise be asked in a tight loop.
        hasty = changes == 0 and self._monotonic() - begun < self._timing.first_backoff_seconds
        return self._timing.first_backoff_seconds if hasty else 0.0

    def _apply(self, event: cluster.WatchEvent) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                self._put(event.body)
            case "DELETED":
                self._remove(_key(event.body))
            case "BOOKMARK":
                pass
        self._version = event.body["metadata"]["resourceVersion"]
        self._show_life()

    def _put(self, body: cluster.Body) -> ObjectKey:
        key = _key(body)
        view = self._subject.digest(body)
        old = self._views.put(key, self._subject.owner(body), view)
        if old != view:
            self._subject.on_change(old, view)
        return key

    def _remove(self, key: ObjectKey) -> None:
        old = self._views.remove(key)
        if old is not None:
            self._subject.on_change(old, None)

    def _show_life(self) -> None:
        self._alive_at = self._monotonic()
        self._failures = 0

    def _back_off(self, error: errors.ClusterError) -> float:
        ceiling = min(
            self._timing.max_backoff_seconds,
            self._timing.first_backoff_seconds * 2.0 ** min(self._failures, 16),
        )
        self._failures += 1
        wait = ceiling * (0.5 + self._draw() / 2)
        if not self._stopping.is_set():
            _LOG.warning(
                "cannot follow %s, next try in %.1f s: %s", self._subject.resource.plural, wait, error
            )
        return wait


def _key(body: cluster.Body) -> ObjectKey:
    metadata = body["metadata"]
    return ObjectKey(namespace=metadata["namespace"], name=metadata["name"])
