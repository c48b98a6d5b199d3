"""The worker processes of a local run, after one of them died."""

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ObjectRef
from scalequest_jobs.contract.stage import Role
from scalequest_jobs.execution.context import WorkerSettings
from scalequest_jobs.local.workers import StoreAddress, WorkerPool
from scripted_world import make_engines

MISSING = ObjectRef(key="runs/none/order.json", sha256="0" * 64, size=1)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[WorkerPool]:
    store = StoreAddress(url=str(tmp_path / "store"))
    pool = WorkerPool(store, WorkerSettings(cache=tmp_path / "cache"), make_engines)
    yield pool
    pool.close()


def answer(pool: WorkerPool, role: Role) -> BaseException | None:
    return pool.submit(role, MISSING, 0).exception(timeout=120)


def test_a_new_process_takes_the_place_of_one_that_died_between_two_shards(pool: WorkerPool) -> None:
    assert isinstance(answer(pool, Role.CPU), ports.BadInputError)
    pool.kill()
    # The pool may not have noticed yet; once it has, it refuses work instead of failing it.
    assert isinstance(answer(pool, Role.CPU), ports.BadInputError | BrokenExecutor)
    assert isinstance(answer(pool, Role.CPU), ports.BadInputError)


def test_the_death_of_one_process_leaves_the_other_its_work(pool: WorkerPool) -> None:
    assert isinstance(answer(pool, Role.CPU), ports.BadInputError)
    pool.kill()
    waiting = [pool.submit(Role.GENERATE, MISSING, shard) for shard in range(3)]
    answer(pool, Role.CPU)
    answer(pool, Role.CPU)
    assert all(isinstance(future.exception(timeout=120), ports.BadInputError) for future in waiting)
