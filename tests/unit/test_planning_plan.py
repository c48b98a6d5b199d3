"""What a whole run needs: its beginning, its end, what stops it, and what it leaves."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from operator_builders import (
    NODE,
    NOW,
    at_work,
    make_committed,
    make_done,
    make_job,
    make_lost,
    make_observed,
    make_pod,
    make_ready,
    make_run,
    make_spec,
    make_stage,
    planned,
    said,
    stage_of,
)
from scalequest_jobs import catalog
from scalequest_jobs.contract import names
from scalequest_jobs.contract.status import ConditionType, Phase, StageState
from scalequest_operator.planning.model import (
    CreateJob,
    DeleteJob,
    DeleteRun,
    Observed,
    Plan,
    PrepareStage,
    SetFinalizer,
    Setting,
)

AGO = NOW - dt.timedelta(seconds=100)
NOT_CONFIGURED = Setting(problem="spec.compute.profile: seen 'h100', the operator has ['default']")


def deleted(plan: Plan) -> list[str]:
    return [action.name for action in plan.actions if isinstance(action, DeleteJob)]


def all_done(**run: Any) -> Observed:
    return make_observed(make_run(*(make_done(node.name) for node in catalog.plan(make_spec()).nodes), **run))


# ---- beginning


def test_a_new_run_starts_every_stage_that_waits_for_nothing() -> None:
    plan = planned(make_observed(make_run(status={"started": None})))
    created = [
        action.body["metadata"]["annotations"][names.Annotation.NODE]
        for action in plan.actions
        if isinstance(action, CreateJob)
    ]
    assert created == [
        "import-questions@seeds",
        "fetch-model@writer",
        "fetch-model@solver",
        "fetch-model@reward",
    ]
    assert plan.status.started == NOW
    assert said(plan, ConditionType.ACCEPTED) == ("True", "Valid")


def test_the_status_lists_every_stage_of_the_graph() -> None:
    listed = [stage.name for stage in planned(make_observed()).status.stages]
    assert listed == [node.name for node in catalog.plan(make_spec()).nodes]


def test_the_finalizer_is_set_before_any_job_is_created() -> None:
    plan = planned(make_observed(make_run(finalizers=())))
    assert plan.actions[0] == SetFinalizer(present=True)
    assert not [action for action in planned(make_observed()).actions if isinstance(action, SetFinalizer)]


# ---- refused


def test_a_run_whose_spec_is_not_valid_says_so_and_does_nothing() -> None:
    run = replace(make_run(), spec=None, problem="the spec is not valid: models: Field required")
    plan = planned(make_observed(run))
    assert plan.actions == ()
    assert said(plan, ConditionType.ACCEPTED) == ("False", "InvalidSpec")
    assert said(plan, ConditionType.RUNNING) == ("False", "InvalidSpec")
    assert plan.again_seconds == 60


def test_a_run_that_is_not_configured_for_says_what_is() -> None:
    plan = planned(make_observed(setting=NOT_CONFIGURED))
    assert plan.actions == ()
    assert said(plan, ConditionType.ACCEPTED) == ("False", "NotConfigured")
    condition = plan.status.condition(ConditionType.ACCEPTED)
    assert condition is not None
    assert "['default']" in condition.message


def test_a_profile_that_vanishes_ends_nothing_that_runs() -> None:
    plan = planned(at_work(pods=[make_pod()], setting=NOT_CONFIGURED))
    assert plan.actions == ()
    assert stage_of(plan).state is StageState.RUNNING


@pytest.mark.parametrize("spec", [{"cancel": True}, {"activeDeadlineSeconds": 60}])
def test_a_run_that_is_not_configured_can_be_cancelled_and_keeps_its_deadline(spec: dict[str, Any]) -> None:
    plan = planned(at_work(run={"spec": spec, "status": {"started": AGO}}, setting=NOT_CONFIGURED))
    assert plan.status.finished == NOW
    assert deleted(plan) == [make_job().name]


def test_a_status_of_another_version_is_not_written_over() -> None:
    run = make_run(unreadable=True, problem="the status was written by another version of the operator")
    plan = planned(make_observed(run, jobs=[make_job()]))
    assert plan.keeps_status
    assert plan.actions == ()
    assert [notice.reason for notice in plan.notices] == ["StatusUnreadable"]
    gone = planned(make_observed(make_run(unreadable=True, deleted=NOW), jobs=[make_job()]))
    assert gone.keeps_status
    assert deleted(gone) == [make_job().name]


# ---- ends


def test_a_run_succeeds_with_its_last_stage_and_names_its_dataset() -> None:
    plan = planned(all_done(spec={"publish": {"name": "math-1"}}))
    assert (plan.status.phase, plan.status.finished) == (Phase.SUCCEEDED, NOW)
    assert said(plan, ConditionType.COMPLETED) == ("True", "Published")
    assert plan.status.condition(ConditionType.FAILED) is None
    assert plan.status.dataset is not None
    assert (plan.status.dataset.name, plan.status.dataset.rows) == ("math-1", 60)
    assert planned(all_done()).status.dataset.name == "run"  # type: ignore[union-attr]


def test_a_run_that_is_cached_as_a_whole_ends_in_one_plan_without_a_job() -> None:
    plan = planned(make_observed(), (PrepareStage, make_committed()))
    assert plan.status.finished == NOW
    assert plan.actions == ()


def test_a_run_fails_when_a_stage_failed_and_nothing_is_at_work() -> None:
    failed = make_stage(NODE, StageState.FAILED, message="no GPU")
    plan = planned(make_observed(make_run(*make_ready(), failed)))
    assert (plan.status.phase, plan.status.finished) == (Phase.FAILED, NOW)
    assert said(plan, ConditionType.FAILED) == ("True", "StageFailed")
    assert said(plan, ConditionType.COMPLETED) == ("False", "StageFailed")
    assert plan.status.dataset is None


@pytest.mark.parametrize("finished", [AGO, NOW])
@pytest.mark.parametrize("job", [make_job(), make_job(finished="Complete"), make_job(finished="Failed")])
def test_a_run_that_ended_stays_as_it_is(finished: dt.datetime, job: Any) -> None:
    ended = planned(all_done()).status.model_copy(update={"finished": finished})
    plan = planned(make_observed(make_run(status=dict(ended)), jobs=[job], pods=[make_lost()]))
    assert plan.status == ended
    assert deleted(plan) == ([] if job.finished else [job.name])


@pytest.mark.parametrize("suspend", [False, True])
def test_nothing_revives_a_cancelled_run(*, suspend: bool) -> None:
    ended = planned(at_work(run={"spec": {"cancel": True}})).status
    revived = make_run(status=dict(ended), spec={"suspend": suspend}, generation=9)
    plan = planned(make_observed(revived))
    assert plan.actions == ()
    assert plan.status.finished == ended.finished
    assert plan.status.observed_generation == 9


def test_an_ended_run_is_deleted_after_its_time_to_live() -> None:
    ended = planned(all_done()).status.model_copy(update={"finished": AGO})
    for ttl, is_deleted in ((100, True), (101, False)):
        run = make_run(status=dict(ended), spec={"ttlSecondsAfterFinished": ttl})
        plan = planned(make_observed(run))
        assert (DeleteRun() in plan.actions) is is_deleted
        assert is_deleted or plan.again_seconds == 1


# ---- stops


def test_cancelling_ends_the_run_and_deletes_its_jobs() -> None:
    finished = make_job("fetch-model@writer", finished="Complete")
    plan = planned(at_work(run={"spec": {"cancel": True}}, jobs=[make_job(), finished]))
    assert deleted(plan) == [make_job().name]
    assert said(plan, ConditionType.FAILED) == ("True", "Cancelled")
    assert stage_of(plan).state is StageState.FAILED
    assert stage_of(plan, "fetch-model@writer").state is StageState.SUCCEEDED
    assert stage_of(plan, "publish-dataset").state is StageState.WAITING


def test_a_deadline_ends_the_run_when_it_has_passed_and_not_before() -> None:
    for seconds, is_over in ((99, True), (100, True), (101, False)):
        run = {"spec": {"activeDeadlineSeconds": seconds}, "status": {"started": AGO}}
        plan = planned(at_work(run=run, pods=[make_pod()]))
        assert (plan.status.finished is not None) is is_over
        if is_over:
            assert said(plan, ConditionType.FAILED) == ("True", "DeadlineExceeded")
        else:
            assert plan.again_seconds == 1


def test_a_job_gets_what_is_left_of_the_deadline_and_never_less() -> None:
    started = NOW - dt.timedelta(seconds=100, milliseconds=300)
    run = make_run(status={"started": started}, spec={"activeDeadlineSeconds": 600})
    plan = planned(make_observed(run))
    (first, *_) = [action for action in plan.actions if isinstance(action, CreateJob)]
    assert first.body["spec"]["activeDeadlineSeconds"] == 500
    bodies = [action.body for action in planned(make_observed()).actions if isinstance(action, CreateJob)]
    assert all("activeDeadlineSeconds" not in body["spec"] for body in bodies)


# ---- strays


def test_jobs_that_no_stage_names_are_deleted_and_finished_ones_keep_their_logs() -> None:
    stray = make_job(attempt=7)
    of_done = make_job("fetch-model@writer")
    unknown = make_job("train-student")
    kept = make_job(attempt=8, finished="Failed")
    going = make_job(attempt=9, deleting=True)
    plan = planned(at_work(jobs=[make_job(), stray, of_done, unknown, kept, going], pods=[make_pod()]))
    assert sorted(deleted(plan)) == sorted([stray.name, of_done.name, unknown.name])


# ---- deletion


@pytest.mark.parametrize(
    ("jobs", "pods", "waited", "is_released"),
    [
        ([], [], 0, True),
        ([make_job()], [], 0, False),
        ([], [make_pod()], 0, False),
        ([], [make_lost()], 0, True),
        ([make_job()], [make_pod()], 120, False),
        ([make_job()], [make_pod()], 121, True),
    ],
)
def test_a_deleted_run_is_released_when_it_holds_nothing_or_after_a_bounded_time(
    jobs: Any, pods: Any, waited: int, *, is_released: bool
) -> None:
    run = make_run(deleted=NOW - dt.timedelta(seconds=waited))
    plan = planned(make_observed(run, jobs=jobs, pods=pods))
    assert (SetFinalizer(present=False) in plan.actions) is is_released
    assert is_released or deleted(plan) == [job.name for job in jobs]
    assert plan.status.phase is Phase.DELETING


def test_a_deleted_run_without_our_finalizer_is_none_of_our_business() -> None:
    plan = planned(make_observed(make_run(deleted=NOW, finalizers=("other/hold",)), jobs=[make_job()]))
    assert plan.actions == ()


def test_a_deleted_run_starts_nothing_and_asks_nothing() -> None:
    asked: list[Any] = []
    planned(make_observed(make_run(deleted=NOW)), asked=asked)
    assert asked == []
