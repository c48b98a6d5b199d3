"""What is said of a run, and when its words change."""

import datetime as dt
from typing import Any

import pytest

from operator_builders import NOW, make_done, make_run, make_stage
from scalequest_jobs.contract.status import ConditionType, Phase, RunStatus, Shards, StageState
from scalequest_operator.planning import conditions
from scalequest_operator.planning.conditions import Situation, Verdict
from scalequest_operator.planning.waiting import Wait

LATER = NOW + dt.timedelta(minutes=5)
FULL = Wait(reason="Unschedulable", message="no node")
STARTS = Wait(reason="Starting", message="starts", is_fault=False)
SUCCESS = Verdict(holds=True, reason="Published", message="60 rows")
CANCELLED = Verdict(holds=False, reason="Cancelled", message="spec.cancel is true")


def situation(*stages: Any, **more: Any) -> Situation:
    return Situation(stages=stages, waits=more.pop("waits", {}), **more)


def conditions_of(what: Situation, before: RunStatus | None = None, now: dt.datetime = NOW) -> RunStatus:
    return conditions.with_conditions(before or RunStatus(), what, generation=3, now=now)


@pytest.mark.parametrize(
    ("what", "kind", "status", "reason"),
    [
        (situation(make_stage()), ConditionType.RUNNING, "True", "StagesRunning"),
        (situation(make_stage(state=StageState.STARTING)), ConditionType.RUNNING, "False", "Starting"),
        (situation(waits={"b": STARTS, "c": FULL}), ConditionType.RUNNING, "False", "Unschedulable"),
        (situation(waits={"b": FULL}), ConditionType.DEGRADED, "True", "Unschedulable"),
        (situation(waits={"b": STARTS}), ConditionType.DEGRADED, "False", "AsExpected"),
        (situation(make_stage(), waits={"b": FULL}), ConditionType.DEGRADED, "True", "Unschedulable"),
        (situation(make_stage(failures=1)), ConditionType.DEGRADED, "True", "PodsFailed"),
        (situation(make_stage(disruptions=9)), ConditionType.DEGRADED, "False", "AsExpected"),
        (situation(make_done("x", failures=1)), ConditionType.DEGRADED, "False", "AsExpected"),
        (situation(make_stage(state=StageState.FAILED)), ConditionType.DEGRADED, "True", "StageFailed"),
        (situation(suspended=True), ConditionType.SUSPENDED, "True", "Requested"),
        (situation(suspended=True), ConditionType.RUNNING, "False", "Suspended"),
        (
            situation(make_stage(shards=Shards(total=2, running=1)), suspended=True),
            ConditionType.SUSPENDED,
            "False",
            "Suspending",
        ),
        (situation(make_stage()), ConditionType.COMPLETED, "False", "InProgress"),
        (situation(ended=SUCCESS), ConditionType.COMPLETED, "True", "Published"),
        (situation(ended=SUCCESS), ConditionType.RUNNING, "False", "Finished"),
        (situation(ended=CANCELLED), ConditionType.COMPLETED, "False", "Cancelled"),
        (situation(ended=CANCELLED), ConditionType.FAILED, "True", "Cancelled"),
        (situation(suspended=True, ended=CANCELLED), ConditionType.SUSPENDED, "False", "NotSuspended"),
    ],
)
def test_a_condition_says_what_holds_and_why(
    what: Situation, kind: ConditionType, status: str, reason: str
) -> None:
    condition = conditions_of(what).condition(kind)
    assert condition is not None
    assert (condition.status, condition.reason, condition.observed_generation) == (status, reason, 3)


@pytest.mark.parametrize(
    ("what", "phase"),
    [
        (situation(make_stage(state=StageState.WAITING)), Phase.PENDING),
        (situation(make_stage(state=StageState.PENDING), waits={"x": FULL}), Phase.PENDING),
        (situation(make_stage()), Phase.RUNNING),
        (situation(make_stage(), make_stage("b", StageState.PENDING), waits={"b": FULL}), Phase.RUNNING),
        (situation(make_done("a"), make_stage("b", StageState.STARTING)), Phase.RUNNING),
        (situation(make_stage(), suspended=True), Phase.SUSPENDED),
        (situation(make_stage(), make_stage("b", StageState.FAILED)), Phase.FAILING),
        (situation(ended=SUCCESS), Phase.SUCCEEDED),
        (situation(ended=CANCELLED, suspended=True), Phase.FAILED),
    ],
)
def test_the_phase_is_the_run_in_one_word(what: Situation, phase: Phase) -> None:
    assert conditions.phase(what) is phase


def test_a_run_that_did_not_fail_has_no_failed_condition() -> None:
    assert conditions_of(situation(make_stage())).condition(ConditionType.FAILED) is None


def test_a_transition_time_moves_only_when_the_status_flips() -> None:
    first = conditions_of(situation(waits={"a": STARTS}))
    other_reason = conditions_of(situation(waits={"a": FULL}), first, LATER)
    flipped = conditions_of(situation(make_stage()), other_reason, LATER)
    times = [
        status.condition(ConditionType.RUNNING).last_transition_time  # type: ignore[union-attr]
        for status in (first, other_reason, flipped)
    ]
    assert times == [NOW, NOW, LATER]


def test_the_same_situation_later_changes_nothing() -> None:
    first = conditions_of(situation(make_stage()))
    assert conditions_of(situation(make_stage()), first, LATER) == first


def test_messages_are_bounded_whatever_stages_say() -> None:
    failed = [make_stage(f"s{number}", StageState.FAILED, message="x" * 1024) for number in range(50)]
    status = conditions_of(situation(*failed))
    assert RunStatus.model_validate(status.body()).conditions == status.conditions


def test_the_summary_names_two_stages_and_counts_the_others() -> None:
    stages = [make_stage(name) for name in ("a", "b", "c", "d")]
    assert conditions.summary(stages) == "a, b +2"
    assert conditions.summary([make_done("a")]) == ""
    assert len(conditions.summary([make_stage("x" * 80), make_stage("y" * 80)])) <= 200


def test_a_refused_run_says_so_in_two_conditions() -> None:
    what = situation(problem=Verdict(holds=False, reason="NotConfigured", message="no profile"))
    status = conditions_of(what, make_run().status)
    for kind in (ConditionType.ACCEPTED, ConditionType.RUNNING):
        condition = status.condition(kind)
        assert condition is not None
        assert (condition.status, condition.reason, condition.message) == (
            "False",
            "NotConfigured",
            "no profile",
        )
