"""Progress: rates, time left, and how often sinks hear of it."""

import itertools
import threading

import pytest

from fake_clock import FakeClock
from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import NO_COUNTS, Counts
from scalequest_jobs.contract.progress import Progress, combine, merge
from scalequest_jobs.execution.reporting import RATE_WINDOW_SECONDS, Reporter

CHUNK = Counts(rows_in=10, rows_out=7, rejected={"bad": 2, "worse": 1})


class World:
    """A reporter on a clock that stands still, and all that its sink was told."""

    def __init__(self, interval: float = 0.0) -> None:
        self.clock = FakeClock(wall=1000.0)
        self.told: list[Progress] = []
        self.reporter = Reporter("node", 3, {self.told.append: interval}, self.clock.wall)

    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds, threading.Event())

    @property
    def now(self) -> Progress:
        return self.reporter.progress


@pytest.fixture
def world() -> World:
    return World()


def test_counts_add_up_over_chunks_and_start_from_what_was_adopted(world: World) -> None:
    world.reporter.begin(50, CHUNK)
    world.reporter.committed(CHUNK)
    world.reporter.committed(Counts(rows_in=1, rows_out=0, rejected={"other": 1}))
    assert (world.now.rows_total, world.now.rows_done, world.now.rows_kept) == (50, 21, 14)
    assert world.now.rejected == {"bad": 4, "other": 1, "worse": 2}
    assert (world.now.node, world.now.shard, world.now.updated) == ("node", 3, 1000.0)


def test_there_is_no_rate_before_time_has_passed(world: World) -> None:
    world.reporter.begin(50, NO_COUNTS)
    world.reporter.committed(CHUNK)
    assert (world.now.rows_per_second, world.now.tokens_per_second, world.now.eta_seconds) == (
        None,
        None,
        None,
    )


def test_rates_are_over_the_time_since_the_beginning_and_give_the_time_left(world: World) -> None:
    world.reporter.begin(50, NO_COUNTS)
    world.wait(4)
    world.reporter.answered(300, 100)
    world.wait(1)
    world.reporter.committed(CHUNK)
    assert world.now.rows_per_second == pytest.approx(2.0)
    assert world.now.tokens_per_second == pytest.approx(80.0)
    assert world.now.eta_seconds == pytest.approx(20.0)


def test_what_was_adopted_is_no_work_of_this_attempt(world: World) -> None:
    """Counting it would promise an end that never comes."""
    world.reporter.activity("reading")
    world.wait(1)
    world.reporter.begin(2000, Counts(rows_in=1000, rows_out=1000))
    world.wait(10)
    world.reporter.committed(CHUNK)
    assert world.now.rows_per_second == pytest.approx(1.0)
    assert world.now.eta_seconds == pytest.approx(990.0)


def test_a_rate_forgets_what_was_long_ago(world: World) -> None:
    world.reporter.begin(100_000, NO_COUNTS)
    for _ in range(10):
        world.wait(1)
        world.reporter.committed(Counts(rows_in=1000, rows_out=1000))
    for _ in range(20):
        world.wait(10)
        world.reporter.committed(CHUNK)
    assert world.now.rows_per_second == pytest.approx(1.0)
    assert len(world.reporter._history) <= RATE_WINDOW_SECONDS / 10 + 2


def test_a_stall_makes_the_rate_fall_and_the_end_unknown(world: World) -> None:
    world.reporter.begin(100, NO_COUNTS)
    world.wait(1)
    world.reporter.committed(CHUNK)
    for _ in range(10):
        world.wait(30)
        world.reporter.answered(0, 0)
    assert (world.now.rows_per_second, world.now.eta_seconds) == (None, None)


def test_a_burst_after_a_stall_is_measured_with_the_stall(world: World) -> None:
    world.reporter.begin(100, NO_COUNTS)
    world.wait(130)
    for _ in range(3):
        world.wait(0.01)
        world.reporter.answered(0, 0)
    world.reporter.committed(CHUNK)
    assert world.now.rows_per_second == pytest.approx(10 / 130.03)


def test_the_end_of_all_rows_leaves_no_time(world: World) -> None:
    world.reporter.begin(10, NO_COUNTS)
    world.wait(5)
    world.reporter.committed(CHUNK)
    assert world.now.eta_seconds == 0


def test_a_sink_hears_of_answers_at_most_once_an_interval() -> None:
    world = World(interval=10.0)
    world.reporter.begin(1000, NO_COUNTS)
    told = len(world.told)
    for _ in range(100):
        world.wait(0.5)
        world.reporter.answered(1, 1)
    times = [progress.updated for progress in world.told]
    assert len(world.told) - told == 5
    assert all(later - earlier >= 10.0 for earlier, later in itertools.pairwise(times))
    assert world.now.completion_tokens == 100


def test_a_sink_hears_of_every_chunk_and_activity_at_once_and_of_downloads_not() -> None:
    world = World(interval=10.0)
    world.reporter.activity("loading")
    world.reporter.begin(20, NO_COUNTS)
    world.reporter.fetched("1 of 9 MB")
    world.reporter.committed(CHUNK)
    assert [progress.rows_done for progress in world.told] == [0, 0, 10]
    assert world.now.activity == "1 of 9 MB"


def test_each_sink_has_an_interval_of_its_own() -> None:
    clock = FakeClock()
    often: list[Progress] = []
    seldom: list[Progress] = []
    reporter = Reporter("node", 0, {often.append: 1.0, seldom.append: 60.0}, clock.wall)
    for _ in range(120):
        clock.sleep(1.0, threading.Event())
        reporter.answered(1, 0)
    assert (len(often), len(seldom)) == (120, 2)


def test_training_reports_steps_and_the_time_left_of_them(world: World) -> None:
    world.reporter.begin(500, NO_COUNTS)
    world.reporter.trained(ports.TrainingProgress(step=0, total_steps=100, metrics={}))
    world.wait(20)
    world.reporter.trained(ports.TrainingProgress(step=10, total_steps=100, metrics={"loss": 2.5}))
    assert (world.now.step, world.now.total_steps, world.now.metrics) == (10, 100, {"loss": 2.5})
    assert world.now.eta_seconds == pytest.approx(180.0)
    assert world.now.rows_done == 0
    assert world.now.rows_per_second is None


def test_progress_is_small_json_that_reads_back(world: World) -> None:
    world.reporter.begin(50, CHUNK)
    text = world.now.model_dump_json()
    assert Progress.model_validate_json(text) == world.now
    assert len(text) < 1000


def test_merging_adds_by_key_in_the_order_of_keys() -> None:
    assert list(merge({"b": 1, "a": 2}, {"c": 3, "b": 4}).items()) == [("a", 2), ("b", 5), ("c", 3)]


def test_shards_add_up_to_their_stage_and_the_latest_gives_rate_and_activity() -> None:
    done = Progress(
        node="n",
        shard=0,
        rows_total=50,
        rows_done=50,
        rows_kept=40,
        rejected={"bad": 10},
        rows_per_second=9,
        updated=1.0,
    )
    working = Progress(
        node="n",
        shard=1,
        activity="generating",
        rows_total=50,
        rows_done=20,
        rows_kept=15,
        rejected={"bad": 3, "worse": 2},
        completion_tokens=7,
        rows_per_second=2,
        updated=2.0,
    )
    stage = combine([working, done])
    assert (stage.rows_total, stage.rows_done, stage.rows_kept) == (100, 70, 55)
    assert stage.rejected == {"bad": 13, "worse": 2}
    assert (stage.activity, stage.rows_per_second, stage.completion_tokens) == ("generating", 2, 7)
    assert stage.eta_seconds == pytest.approx(15.0)
