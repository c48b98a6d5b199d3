"""One operator's process, stepped by hand: informers, queue, reconciler; it forgets everything when it crashes."""

import datetime as dt
import random
from collections.abc import Callable, Iterator
from typing import Final

from fake_clock import FakeClock
from fake_kubernetes.api import Call, FakeCluster
from fake_kubernetes.store import Store
from fake_kubernetes.streams import FakeWatch
from scalequest_jobs import ports
from scalequest_jobs.contract import names
from scalequest_operator import cluster, errors
from scalequest_operator.configuration import Configuration
from scalequest_operator.planning import views
from scalequest_operator.planning.model import JobView, PodView
from scalequest_operator.reconcile import Reconciler
from scalequest_operator.recorder import Recorder
from scalequest_operator.stores import Buckets
from scalequest_operator.watch import Informer, Subject, Timing
from scalequest_operator.workqueue import RunKey, WorkQueue

RESYNC_SECONDS: Final = 300.0


class CrashError(BaseException):
    """The process died; nothing catches it."""


class LossyCluster(FakeCluster):
    """A client whose watch streams lose and repeat changes, as `disturb` says of each: how often it arrives."""

    disturb: Callable[[], int] = staticmethod(lambda: 1)

    def watch(self, resource: cluster.Resource, namespace: str | None, **options: object) -> FakeWatch:
        stream = super().watch(resource, namespace, **options)  # type: ignore[arg-type]
        return _LossyWatch(stream, self.disturb)  # type: ignore[return-value]


class _LossyWatch:
    def __init__(self, stream: FakeWatch, disturb: Callable[[], int]) -> None:
        self._stream = stream
        self._disturb = disturb

    def __iter__(self) -> Iterator[cluster.WatchEvent]:
        for event in self._stream:
            for _ in range(1 if event.type == "BOOKMARK" else self._disturb()):
                yield event

    def close(self) -> None:
        self._stream.close()


class Operator:
    """`configuration` and `bucket` are the world's; `on_call` is told of every request before and after it."""

    def __init__(
        self,
        *,
        store: Store,
        clock: FakeClock,
        rng: random.Random,
        configuration: Callable[[], Configuration],
        bucket: ports.ArtifactStore,
        on_call: Callable[[Call, bool], None],
    ) -> None:
        self.api = LossyCluster(store, blocking=False)
        self.api.before = lambda call: on_call(call, False)
        self.api.after = lambda call: on_call(call, True)
        self.queue = WorkQueue(monotonic=clock.monotonic, draw=rng.random)
        self._clock = clock
        self._rng = rng
        self._seen = 0
        self._runs = store
        self._resync_at = 0.0
        self._job_informer: Informer[JobView] = self._informer(cluster.JOBS, views.job_view)
        self._pod_informer: Informer[PodView] = self._informer(cluster.PODS, views.pod_view)
        self.informers = (self._job_informer, self._pod_informer)
        self._reconciler = Reconciler(
            api=self.api,
            children=self,
            configuration=configuration,
            buckets=Buckets(lambda _store, _storage: bucket),
            recorder=Recorder(self.api, host="simulated"),
            clock=self.now,
        )

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock.wall(), dt.UTC)

    def jobs(self, run_uid: str) -> tuple[JobView, ...]:
        return self._job_informer.views(run_uid)

    def pods(self, run_uid: str) -> tuple[PodView, ...]:
        return self._pod_informer.views(run_uid)

    def follow_runs(self, arrives: Callable[[], bool] = lambda: True) -> None:
        """Take note of changed runs, as kopf does, and of all now and then."""
        for change in self._runs.since(self._seen):
            self._seen = change.version
            if change.place.plural == cluster.RUNS.plural and arrives():
                self.queue.add(RunKey(namespace=change.place.namespace, name=change.place.name))
        if self._clock.monotonic() >= self._resync_at:
            self._resync_at = self._clock.monotonic() + RESYNC_SECONDS
            for body in self._runs.all(cluster.RUNS.plural):
                metadata = body["metadata"]
                self.queue.add(RunKey(namespace=metadata["namespace"], name=metadata["name"]))

    def work(self) -> bool:
        """Reconcile the next run that is ready; tell whether there was one."""
        if not all(informer.synced for informer in self.informers):
            return False
        key = self.queue.take_ready(self._clock.monotonic())
        if key is None:
            return False
        try:
            again = self._reconciler.reconcile(key)
        except errors.OperatorError:
            self.queue.back_off(key)
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            self.queue.done(key)
        return True

    def next_due(self) -> float:
        """Return the moment (monotonic) at which time alone gives it something to do."""
        due = self.queue.next_due()
        return min(self._resync_at, due if due is not None else self._resync_at)

    def _informer(self, resource: cluster.Resource, digest: Callable[[cluster.Body], object]) -> Informer:  # type: ignore[type-arg]
        def changed(before: JobView | PodView | None, after: JobView | PodView | None) -> None:
            view = after or before
            assert view is not None
            self.queue.add(RunKey(namespace=view.namespace, name=view.run))

        return Informer(
            self.api,
            Subject(
                resource=resource,
                namespaces=None,
                label_selector=names.SELECTOR,
                digest=digest,
                owner=lambda body: names.run_of(body["metadata"].get("labels") or {})[1],
                on_change=changed,  # type: ignore[arg-type]
            ),
            timing=Timing(watch_seconds=0),
            monotonic=self._clock.monotonic,
            draw=self._rng.random,
        )
