"""Worker processes of a local run: one for training and CPU work, one that keeps an engine loaded."""

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef
from scalequest_jobs.contract.launch import ExitCode
from scalequest_jobs.contract.progress import Progress
from scalequest_jobs.contract.stage import Order, Role
from scalequest_jobs.execution import chunks, worker
from scalequest_jobs.execution.context import WorkerSettings
from scalequest_jobs.stores import address

PROGRESS_SECONDS: Final = 0.5
"""Least time between two progress records of a worker."""


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """How a worker process opens the store."""

    url: str
    credentials: Path | None = None
    region: str = "us-east-1"
    ca_file: Path | None = None

    def open(self) -> ports.ArtifactStore:
        """Return the store."""
        return address.open_store(
            self.url, credentials=self.credentials, region=self.region, ca_file=self.ca_file
        )


EnginesFactory = Callable[[Order], ports.Engines]


class StopFile:
    """A stop that a dead worker cannot block: setting a multiprocessing.Event waits for all who wait on it."""

    POLL_SECONDS: Final = 0.25

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stop"

    def set(self) -> None:
        """Ask every worker to stop; may be called from a signal handler."""
        self._path.touch()

    def is_set(self) -> bool:
        """Tell whether workers are asked to stop."""
        return self._path.exists()


class ProgressFolder:
    """Progress records as small files, one a shard: nothing that a killed worker could leave locked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, int] = {}

    def write(self, progress: Progress) -> None:
        """Replace a shard's record."""
        path = self._folder / f"{progress.node}-{progress.shard}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(progress.model_dump_json(), encoding="ascii")
        partial.replace(path)

    def read_changed(self) -> list[Progress]:
        """Return the records that changed since the last call."""
        changed = []
        for path in sorted(self._folder.glob("*.json")):
            modified = path.stat().st_mtime_ns
            if self._seen.get(path) != modified:
                self._seen[path] = modified
                changed.append(Progress.model_validate_json(path.read_bytes()))
        return changed


class _Process:
    """What a worker process holds between tasks."""

    progress: ProgressFolder
    stop: StopFile
    store: ports.ArtifactStore
    settings: WorkerSettings
    engines_factory: EnginesFactory
    engines: tuple[str, ports.Engines] | None = None


def _start(
    progress: Path,
    stop: StopFile,
    store: StoreAddress,
    settings: WorkerSettings,
    engines_factory: EnginesFactory,
) -> None:
    """Prepare a worker process: it stops by the stop file, and dies with its parent.

    Terminals, `timeout` and service managers signal the whole group; the parent alone decides what that means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _Process.progress = ProgressFolder(progress)
    _Process.stop = stop
    _Process.store = store.open()
    _Process.settings = settings
    _Process.engines_factory = engines_factory
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(ExitCode.TRY_AGAIN)


def _work(order_ref: ObjectRef, shard: int) -> ArtifactRef:
    order = worker.read_order(_Process.store, order_ref.key, order_ref.sha256)
    stop = threading.Event()
    watcher = _StopWatcher(_Process.stop, stop)
    try:
        return worker.execute(
            order,
            shard=shard,
            attempt=chunks.new_attempt("local"),
            store=_Process.store,
            engines=_engines(order),
            settings=_Process.settings,
            sinks={_Process.progress.write: PROGRESS_SECONDS},
            stop=stop,
        )
    finally:
        watcher.close()


def _engines(order: Order) -> ports.Engines:
    """Return the process's engines, kept as long as orders ask for the same settings."""
    settings = order.engine.model_dump_json()
    if _Process.engines is None or _Process.engines[0] != settings:
        _Process.engines = (settings, _Process.engines_factory(order))
    return _Process.engines[1]


class _StopWatcher:
    """Passes the parent's stop file on to a thread event."""

    def __init__(self, source: StopFile, target: threading.Event) -> None:
        self._source = source
        self._target = target
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._closed.wait(StopFile.POLL_SECONDS):
            if self._source.is_set():
                self._target.set()
                return

    def close(self) -> None:
        """End the thread."""
        self._closed.set()


class WorkerPool:
    """Runs orders in two processes: stages of different roles work side by side.

    Training and CPU stages share one process, generating and scoring stages the other, which keeps
    its libraries and its engine loaded from stage to stage.
    """

    def __init__(
        self, store: StoreAddress, settings: WorkerSettings, engines_factory: EnginesFactory
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="scalequest-progress-")
        self._stop = StopFile(Path(self._folder.name))
        self._initargs = (Path(self._folder.name), self._stop, store, settings, engines_factory)
        self.progress = ProgressFolder(Path(self._folder.name))
        self._pools: dict[str, ProcessPoolExecutor] = {}

    def submit(self, role: Role, order: ObjectRef, shard: int) -> "Future[ArtifactRef]":
        """Start one shard of an order as soon as its process is free; a new process takes a dead one's place."""
        kind = "engine" if role in (Role.GENERATE, Role.SCORE) else "train"
        pool = self._pools.get(kind) or self._start_pool(kind)
        try:
            return pool.submit(_work, order, shard)
        except BrokenExecutor:
            return self._start_pool(kind).submit(_work, order, shard)

    def _start_pool(self, kind: str) -> ProcessPoolExecutor:
        self._pools[kind] = ProcessPoolExecutor(
            max_workers=1, mp_context=self._context, initializer=_start, initargs=self._initargs
        )
        return self._pools[kind]

    def stop(self) -> None:
        """Ask workers to stop at the next opportunity."""
        self._stop.set()

    def kill(self) -> None:
        """End the worker processes at once; what they committed stays."""
        for pool in self._pools.values():
            for process in list((pool._processes or {}).values()):  # noqa: SLF001 - the executor has no public kill before 3.14
                process.kill()

    def close(self) -> None:
        """Wait for the processes to end."""
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        self._folder.cleanup()
