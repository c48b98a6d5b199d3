"""Whole runs on a fake cluster under seeded schedules of faults.

Crashes between any two calls, lost and repeated events, lost answers, refused calls, a second operator, evictions, lost
machines, hand-deleted Jobs and pods, a bucket that is down, a changing configuration, users who change their minds. What
must hold is in `schedules/invariants.py`; what can happen in `schedules/schedule.py`.

Seen to fail when broken: the resourceVersion guard of the status write, the write of the intent before the Job, the
stickiness of an ended run, the list of counted pods, and the question whether a Job that is not seen is really gone, each
within 100 schedules. The deletion of strays is too rarely needed for that and has a schedule of its own.
"""

import pytest

from fake_kubernetes.api import Call
from scalequest_jobs.contract.status import Phase
from scalequest_operator import cluster
from schedules import batch, graph
from schedules.operator_process import Operator
from schedules.schedule import Risks, Schedule

NUM_SCHEDULES = 10_000


def test_the_same_seed_makes_the_same_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    graph.install(monkeypatch)
    pairs = []
    for _ in range(2):
        schedule = Schedule(7)
        schedule.run(batch.STEPS)
        history = [(change.version, change.place, change.body) for change in schedule.world.store.history]
        pairs.append((schedule.trace, history))
    assert pairs[0] == pairs[1]


def test_a_hundred_schedules_end_well_or_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    graph.install(monkeypatch)
    broken, ends = batch.attempt(range(100_000, 100_100))
    assert not broken, "\n".join(broken)
    assert ends["Succeeded"] > 30


def test_jobs_that_a_stalled_operator_creates_late_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It wrote its intent and stalled; another took the stages back, because the user suspended the run."""
    graph.install(monkeypatch)
    schedule = Schedule(0, risks=Risks(), num_operators=2)
    stalled, other = schedule.operators

    def look(operator: Operator) -> None:
        operator.follow_runs()
        for informer in operator.informers:
            informer.step()
        while operator.work():
            pass

    def stall(call: Call) -> None:
        if (call.verb, call.resource) == ("create", cluster.JOBS):
            stalled.api.before = lambda _: None
            schedule.suspend()
            look(other)

    stalled.api.before = stall
    look(stalled)
    assert len(schedule.unfinished()) == 2
    look(other)
    assert schedule.unfinished() == []
    schedule.resume()
    schedule.run(0)
    status = schedule.status()
    assert status is not None
    assert status.phase is Phase.SUCCEEDED


@pytest.mark.schedules
@pytest.mark.timeout(1800)
def test_ten_thousand_schedules_end_well_or_with_a_reason() -> None:
    broken, ends = batch.attempt_all(range(NUM_SCHEDULES))
    assert not broken, f"{len(broken)} of {NUM_SCHEDULES}:\n" + "\n".join(broken[:20])
    assert ends.total() == NUM_SCHEDULES
    for end in ("Succeeded", "Failed", "Suspended", "Gone"):
        assert ends[end] > NUM_SCHEDULES // 100, ends
