"""Which Kubernetes Events are told of a change."""

from typing import Any

import pytest

from operator_builders import NOW, make_done, make_stage
from scalequest_jobs.contract.status import Condition, ConditionType, RunStatus, StageState, StageStatus
from scalequest_operator.planning import notices

WAITING = StageStatus(name="clean-questions", state=StageState.WAITING)


def stage(state: StageState = StageState.RUNNING, **status: Any) -> StageStatus:
    return make_stage("clean-questions", state, **status)


def told(before: Any, after: Any) -> list[tuple[str, str]]:
    statuses = [RunStatus(stages=(each,)) for each in (before, after)]
    return [(notice.kind, notice.reason) for notice in notices.notices(*statuses)]


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (WAITING, stage(StageState.STARTING), [("Normal", "StageStarted")]),
        (WAITING, make_done("clean-questions"), [("Normal", "StageCommitted")]),
        (WAITING, make_done("clean-questions", cached=True), [("Normal", "StageCached")]),
        (stage(), stage(StageState.FAILED), [("Warning", "StageFailed")]),
        (stage(), stage(StageState.FAILED, failures=1), [("Warning", "StageFailed")]),
        (stage(), stage(failures=1), [("Warning", "PodFailed")]),
        (stage(), stage(disruptions=1), [("Warning", "PodDisrupted")]),
        (stage(), stage(failures=1, disruptions=1), [("Warning", "PodFailed")]),
        (stage(), stage(StageState.SUSPENDED), [("Normal", "StageSuspended")]),
        (stage(StageState.STARTING), stage(StageState.PENDING), []),
        (stage(StageState.PENDING), stage(), []),
        (stage(), stage(StageState.WAITING), []),
        (stage(), stage(message="other words"), []),
        (stage(), stage(), []),
    ],
)
def test_a_stage_tells_each_change_that_people_care_about_once(
    before: StageStatus, after: StageStatus, events: list[tuple[str, str]]
) -> None:
    assert told(before, after) == events


def test_stages_that_come_from_the_cache_together_are_told_together() -> None:
    names = ("clean-questions", "judge-solvability")
    after = RunStatus(
        stages=(*(make_done(name, cached=True) for name in names), make_done("select-questions"))
    )
    told = notices.notices(RunStatus(), after)
    assert [notice.reason for notice in told] == ["StagesCached", "StageCommitted"]
    assert told[0].message == "2 stages are taken from the cache: clean-questions, judge-solvability"
    assert notices.notices(after, after) == ()


def test_a_success_tells_what_went_in_came_out_and_was_rejected() -> None:
    done = make_done("clean-questions", rows_in=60, rows_out=50, rejected={"duplicate": 7, "language": 3})
    (notice,) = notices.notices(RunStatus(), RunStatus(stages=(done,)))
    assert notice.message == "clean-questions: 60 in, 50 out; rejected: duplicate 7, language 3"


def test_the_end_of_a_stage_tells_what_begins_after_it_in_the_same_event() -> None:
    before = RunStatus(stages=(stage(), make_stage("judge-solvability", StageState.WAITING)))
    judged = make_stage("judge-solvability", StageState.STARTING, job="judge-1")
    done = make_done("clean-questions", rows_in=9, rows_out=9)
    (notice,) = notices.notices(before, RunStatus(stages=(done, judged)))
    assert notice.reason == "StageCommitted"
    assert notice.message == "clean-questions: 9 in, 9 out; started: judge-solvability (Job judge-1)"


def condition(kind: ConditionType, status: str, reason: str) -> Condition:
    return Condition(type=kind.value, status=status, reason=reason, last_transition_time=NOW)


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (None, (ConditionType.DEGRADED, "True", "Unschedulable"), ["Unschedulable"]),
        (("False", "AsExpected"), (ConditionType.DEGRADED, "True", "Unschedulable"), ["Unschedulable"]),
        (("True", "Unschedulable"), (ConditionType.DEGRADED, "True", "ImagePullFailed"), ["ImagePullFailed"]),
        (("True", "Unschedulable"), (ConditionType.DEGRADED, "True", "Unschedulable"), []),
        (("True", "Unschedulable"), (ConditionType.DEGRADED, "False", "AsExpected"), []),
        (("False", "AsExpected"), (ConditionType.DEGRADED, "True", "PodsFailed"), []),
        (None, (ConditionType.ACCEPTED, "False", "NotConfigured"), ["NotConfigured"]),
        (None, (ConditionType.ACCEPTED, "True", "Valid"), []),
        (("False", "InProgress"), (ConditionType.COMPLETED, "True", "Published"), ["RunCompleted"]),
        (None, (ConditionType.COMPLETED, "False", "InProgress"), []),
        (None, (ConditionType.FAILED, "True", "Cancelled"), ["Cancelled"]),
        (None, (ConditionType.FAILED, "True", "StageFailed"), []),
    ],
)
def test_a_condition_is_told_when_it_turns_bad_or_bad_in_another_way(
    before: tuple[str, str] | None, after: tuple[ConditionType, str, str], events: list[str]
) -> None:
    kind = after[0]
    old = RunStatus(conditions=(condition(kind, *before),) if before else ())
    new = RunStatus(conditions=(condition(*after),))
    assert [notice.reason for notice in notices.notices(old, new)] == events
