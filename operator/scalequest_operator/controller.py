"""The threads of a leading operator: informers, workers, the periodic look at everything, the watched configuration."""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from scalequest_jobs.contract import names
from scalequest_operator import cluster, configuration, errors
from scalequest_operator.planning import views
from scalequest_operator.planning.model import JobView, PodView
from scalequest_operator.reconcile import Reconciler
from scalequest_operator.recorder import Recorder
from scalequest_operator.settings import Settings
from scalequest_operator.stores import Buckets
from scalequest_operator.watch import Informer, Subject, Timing
from scalequest_operator.workqueue import RunKey, WorkQueue

logger = logging.getLogger(__name__)

CONFIGURATION_SECONDS: Final = 10.0
"""How often the configuration file is looked at; the kubelet takes up to a minute to bring a changed ConfigMap."""

SILENCE_SECONDS: Final = 300.0
"""An informer that shows no sign of life for longer has died or hangs: the process is of no use any more."""

Child = TypeVar("Child", JobView, PodView)


class Children:
    """The Jobs and pods of runs, as informers see them; every change makes its run ready, the end of a Job at once."""

    def __init__(self, api: cluster.KubeApi, queue: WorkQueue, settings: Settings, timing: Timing) -> None:
        self._queue = queue

        def informer(resource: cluster.Resource, digest: Callable[[cluster.Body], Child]) -> Informer[Child]:
            subject = Subject(
                resource=resource,
                namespaces=settings.namespaces or None,
                label_selector=names.SELECTOR,
                digest=digest,
                owner=_run_uid,
                on_change=self._changed,
            )
            return Informer(api, subject, timing=timing)

        self.job_informer = informer(cluster.JOBS, views.job_view)
        self.pod_informer = informer(cluster.PODS, views.pod_view)

    def _changed(self, before: JobView | PodView | None, after: JobView | PodView | None) -> None:
        view = after or before
        if view is None:
            return
        key = RunKey(namespace=view.namespace, name=view.run)
        if isinstance(after, JobView) and after.finished:
            self._queue.add(key)
        else:
            self._queue.add_soon(key)

    def jobs(self, run_uid: str) -> tuple[JobView, ...]:
        """Return a run's Jobs as last seen."""
        return self.job_informer.views(run_uid)

    def pods(self, run_uid: str) -> tuple[PodView, ...]:
        """Return a run's pods as last seen."""
        return self.pod_informer.views(run_uid)

    def start(self) -> None:
        """Begin to follow."""
        self.job_informer.start()
        self.pod_informer.start()

    def stop(self) -> None:
        """End the streams."""
        self.job_informer.stop()
        self.pod_informer.stop()

    @property
    def synced(self) -> bool:
        """Whether everything was listed once: before that, "no Job" means nothing."""
        return self.job_informer.synced and self.pod_informer.synced

    @property
    def age_seconds(self) -> float:
        """Return the time since the last sign of life of the more silent informer."""
        return max(self.job_informer.age_seconds, self.pod_informer.age_seconds)


def _run_uid(body: cluster.Body) -> str:
    return names.run_of(body["metadata"].get("labels") or {})[1]


class WatchedConfiguration:
    """The configuration file as last read; a changed file that is not valid leaves what was valid in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = configuration.read(path)
        self._current = configuration.parse(self._text, str(path))

    def __call__(self) -> configuration.Configuration:
        """Return the configuration in force."""
        return self._current

    def refresh(self) -> bool:
        """Read the file if it changed; return whether another configuration is in force."""
        try:
            text = configuration.read(self._path)
            if text == self._text:
                return False
            self._text = text
            self._current = configuration.parse(text, str(self._path))
        except errors.ConfigurationError as error:
            logger.error("the configuration in force is kept: %s", error)  # noqa: TRY400 - for people, not a crash
            return False
        logger.info("configuration read anew from %s", self._path)
        return True


class Controller:
    """A leading operator at work. `queue` takes the keys of runs from whoever learns of them."""

    def __init__(
        self,
        api: cluster.KubeApi,
        settings: Settings,
        *,
        timing: Timing | None = None,
        buckets: Buckets | None = None,
        may_work: Callable[[], bool] = lambda: True,
    ) -> None:
        self.queue = WorkQueue()
        self._api = api
        self._settings = settings
        self._may_work = may_work
        self._configuration = WatchedConfiguration(settings.configuration)
        self._children = Children(api, self.queue, settings, timing or Timing())
        self._buckets = buckets or Buckets()
        self._reconciler = Reconciler(
            api=api,
            children=self._children,
            configuration=self._configuration,
            buckets=self._buckets,
            recorder=Recorder(api, host=settings.identity),
            clock=lambda: dt.datetime.now(dt.UTC),
        )
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, stop: threading.Event) -> None:
        """Start the informers, wait until they know everything, then start to work; `stop` ends the wait."""
        self._children.start()
        while not self._children.synced:
            if stop.wait(0.05):
                return
        self._start_thread(self._look_at_everything, "resync")
        self._start_thread(self._watch_configuration, "configuration")
        for number in range(self._settings.workers):
            self._start_thread(self._work, f"worker-{number}")

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the threads; a reconciliation in progress is finished first, for at most ten seconds."""
        self._stopping.set()
        self.queue.close()
        self._children.stop()
        deadline = time.monotonic() + 10
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def trouble(self) -> str:
        """Return why this process should be replaced; empty while it works."""
        dead = [thread.name for thread in self._threads if not thread.is_alive()]
        if dead and not self._stopping.is_set():
            return f"threads ended: {', '.join(dead)}"
        if self._children.age_seconds > SILENCE_SECONDS:
            return f"no news from the API server for {self._children.age_seconds:.0f} s"
        return ""

    @property
    def synced(self) -> bool:
        """Whether the informers know everything."""
        return self._children.synced

    def _work(self) -> None:
        while (key := self.queue.take()) is not None:
            try:
                self._reconcile(key)
            finally:
                self.queue.done(key)

    def _reconcile(self, key: RunKey) -> None:
        if not self._may_work():
            # The lease is about to be found lost, which ends the process; another one has these runs.
            return
        try:
            again_seconds = self._reconciler.reconcile(key)
        except errors.OperatorError as error:
            seconds = self.queue.back_off(key)
            logger.warning("%s/%s: next try in %.0f s: %s", key.namespace, key.name, seconds, error)
        except Exception:
            # A defect with one run must not end the work on the others.
            seconds = self.queue.back_off(key)
            logger.exception("%s/%s: a defect; next try in %.0f s", key.namespace, key.name, seconds)
        else:
            self.queue.forget(key)
            if again_seconds is not None:
                self.queue.add_after(key, again_seconds)

    def _look_at_everything(self) -> None:
        """Make every run ready, at once and then periodically: a missed event is repaired within one period."""
        while True:
            try:
                self._add_all()
                wait = self._settings.resync_seconds
            except errors.ClusterError as error:
                logger.warning("runs not listed: %s", error)
                wait = 10.0
            if self._stopping.wait(wait):
                return

    def _add_all(self) -> None:
        for namespace in self._settings.namespaces or (None,):
            for body in self._api.list(cluster.RUNS, namespace).items:
                metadata = body["metadata"]
                self.queue.add(RunKey(namespace=metadata["namespace"], name=metadata["name"]))

    def _watch_configuration(self) -> None:
        while not self._stopping.wait(CONFIGURATION_SECONDS):
            if self._configuration.refresh():
                self._buckets.forget()
                try:
                    self._add_all()
                except errors.ClusterError as error:
                    logger.warning("runs not listed: %s", error)
