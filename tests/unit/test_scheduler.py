"""The loop of a local run, on workers that a test answers for."""

import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from builders import make_run, write_inputs
from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef
from scalequest_jobs.contract.stage import Role, RunIdentity
from scalequest_jobs.local import pinning
from scalequest_jobs.local.monitor import LogMonitor
from scalequest_jobs.local.scheduler import Scheduler
from scalequest_jobs.local.workers import ProgressFolder
from scalequest_jobs.stores.memory import MemoryStore


class Workers:
    """The first task fails for good; the others work until they are asked to stop."""

    def __init__(self, folder: Path) -> None:
        self.progress = ProgressFolder(folder)
        self.at_work: list[Future[ArtifactRef]] = []

    def submit(self, role: Role, order: ObjectRef, shard: int) -> "Future[ArtifactRef]":
        task: Future[ArtifactRef] = Future()
        self.at_work.append(task)
        if len(self.at_work) == 1:
            task.set_exception(ports.BadInputError("the seeds are no seeds"))
        return task

    def stop(self) -> None:
        for task in self.at_work:
            if not task.done():
                task.set_exception(ports.StoppedError("stopped as asked"))

    def kill(self) -> None:
        raise AssertionError("nothing here is a defect")


@pytest.mark.timeout(60)
def test_a_stage_that_fails_for_good_stops_the_others_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs(tmp_path)
    store = MemoryStore()
    workers = Workers(tmp_path)
    scheduler = Scheduler(
        make_run().spec,
        RunIdentity(name="run", namespace="default", uid="uid"),
        store=store,
        pool=workers,  # type: ignore[arg-type]
        monitor=LogMonitor(sys.stderr),
        engine_identity=lambda role: "",
        pin=lambda node: pinning.pin(node, store, tmp_path),
    )
    with pytest.raises(ports.BadInputError, match="no seeds"):
        scheduler.run()
    assert len(workers.at_work) > 1
    shown = capsys.readouterr().err
    assert '"state": "failed", "message": "the seeds are no seeds"' in shown
    assert '"state": "stopped"' in shown
