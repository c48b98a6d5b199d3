"""What one stage needs next."""

import datetime as dt
from typing import Any

import pytest

from operator_builders import (
    NODE,
    NOW,
    at_work,
    make_committed,
    make_job,
    make_lost,
    make_observed,
    make_pod,
    make_profile,
    make_ready,
    make_run,
    make_stage,
    planned,
    said,
    stage_of,
)
from scalequest_jobs.contract.artifact import Counts
from scalequest_jobs.contract.launch import Termination
from scalequest_jobs.contract.status import (
    MAX_REASONS,
    ConditionType,
    Shards,
    StageProgress,
    StageState,
    StageStatus,
)
from scalequest_operator.planning.model import (
    Action,
    CommitStage,
    Committed,
    ConfirmGone,
    CreateJob,
    DeleteJob,
    FailPod,
    Gone,
    Observed,
    Ordered,
    Plan,
    PrepareStage,
    Question,
    ReadProgress,
    Reported,
    ShardsMissing,
    SuspendJob,
    Unavailable,
)

DOWN = Unavailable(reason="StoreUnreachable", message="no route to s3.example")
MISSING = ShardsMissing(shards=(1,), reason="the bucket holds none")


def actions(plan: Plan, kind: type[Action]) -> list[Any]:
    return [action for action in plan.actions if isinstance(action, kind)]


def waiting(**observed: Any) -> Observed:
    """Return a run of which NODE may start."""
    return make_observed(make_run(*make_ready(), **observed.pop("run", {})), **observed)


def without_job(state: StageState, **stage: Any) -> Observed:
    return at_work(stage={"state": state, **stage}, jobs=[])


# ---- before the Job


def test_the_intent_is_in_the_status_before_the_job_is_created() -> None:
    plan = planned(waiting())
    stage = stage_of(plan)
    (create,) = actions(plan, CreateJob)
    assert (stage.state, stage.attempt, stage.job) == (StageState.STARTING, 1, create.name)
    assert create.body["metadata"]["annotations"]["scalequest.io/order"] == stage.order
    assert stage.shards == Shards(total=2)


def test_a_stage_waits_for_all_its_inputs() -> None:
    run = make_run(*[stage for stage in make_ready() if stage.name != "fetch-model@writer"])
    assert stage_of(planned(make_observed(run))).state is StageState.WAITING


def test_a_cached_stage_succeeds_without_a_job_and_frees_the_next_in_the_same_plan() -> None:
    found = make_committed(rows=9)
    plan = planned(waiting(), (PrepareStage, found))
    assert plan.actions == ()
    stage = stage_of(plan)
    assert (stage.state, stage.cached, stage.rows_out) == (StageState.SUCCEEDED, True, 9)
    assert stage_of(plan, "publish-dataset").state is StageState.SUCCEEDED


def test_an_unpinned_source_is_not_looked_up_in_the_cache_and_a_vouched_one_is() -> None:
    volume = {"name": "models", "claim": "models", "mountPath": "/volumes/models"}
    for version, may_use_cache in (("", False), ("2026-03", True)):
        asked: list[Question] = []
        profile = make_profile(volumes=[{**volume, "version": version}])
        planned(make_observed(make_run(), profile=profile), asked=asked)
        (question,) = [q for q in asked if isinstance(q, PrepareStage) and q.node == "fetch-model@writer"]
        assert question.use_cache is may_use_cache


def test_another_image_makes_another_fingerprint_and_the_same_input_the_same() -> None:
    first, same = (stage_of(planned(waiting())) for _ in range(2))
    assert first == same
    roles = {role: {"image": f"other/{role}"} for role in ("cpu", "train", "generate", "score")}
    other = stage_of(planned(waiting(profile=make_profile(roles=roles))))
    assert other.fingerprint != first.fingerprint


def test_nothing_starts_while_the_store_is_unreachable_and_the_run_says_so() -> None:
    plan = planned(waiting(), (PrepareStage, DOWN))
    assert plan.actions == ()
    assert said(plan, ConditionType.RUNNING) == ("False", "StoreUnreachable")
    assert said(plan, ConditionType.DEGRADED) == ("True", "StoreUnreachable")
    assert plan.again_seconds == 10


def test_nothing_starts_while_the_run_is_suspended() -> None:
    plan = planned(waiting(run={"spec": {"suspend": True}}))
    assert plan.actions == ()
    assert stage_of(plan).state is StageState.WAITING


def test_nothing_new_starts_once_a_stage_failed_and_what_runs_goes_on() -> None:
    stages = [stage for stage in make_ready() if stage.name != "fetch-model@solver"]
    failed = make_stage("fetch-model@solver", StageState.FAILED)
    run = make_run(*stages, failed, make_stage())
    plan = planned(make_observed(run, jobs=[make_job()], pods=[make_pod()]))
    assert plan.actions == ()
    assert stage_of(plan).state is StageState.RUNNING
    assert plan.status.finished is None
    ready = planned(make_observed(make_run(*stages, failed)))
    assert (ready.actions, stage_of(ready).state) == ((), StageState.WAITING)


# ---- a Job that is not seen


def test_a_job_just_written_down_but_never_created_is_created_as_the_same_attempt() -> None:
    before = stage_of(planned(waiting()))
    observed = make_observed(make_run(*make_ready(), before))
    plan = planned(observed, (ConfirmGone, Gone(gone=True)))
    assert stage_of(plan) == before
    assert [create.name for create in actions(plan, CreateJob)] == [before.job]


def test_a_job_that_only_the_informer_misses_is_not_created_again() -> None:
    for state in (StageState.STARTING, StageState.PENDING, StageState.RUNNING):
        plan = planned(without_job(state), (ConfirmGone, Gone(gone=False)))
        assert plan.actions == ()
        assert stage_of(plan).attempt == 1
        assert plan.again_seconds == 5


def test_nothing_is_concluded_from_a_missing_job_while_the_api_server_does_not_answer() -> None:
    down = Unavailable(reason="ApiServerUnreachable", message="no")
    for state in (StageState.STARTING, StageState.RUNNING):
        plan = planned(without_job(state), (ConfirmGone, down))
        assert (plan.actions, stage_of(plan).state) == ((), state)


def test_a_deleted_job_whose_shards_are_all_done_is_committed_not_repeated() -> None:
    plan = planned(without_job(StageState.RUNNING))
    assert stage_of(plan).state is StageState.SUCCEEDED
    assert not [create for create in actions(plan, CreateJob) if "generate-questions" in create.name]


def test_a_deleted_job_with_shards_missing_costs_a_disruption_and_starts_the_next_attempt() -> None:
    plan = planned(without_job(StageState.RUNNING), (CommitStage, MISSING))
    stage = stage_of(plan)
    assert (stage.state, stage.attempt, stage.disruptions) == (StageState.STARTING, 2, 1)
    assert [create.name for create in actions(plan, CreateJob)] == [stage.job]


def test_a_deleted_job_fails_the_stage_where_no_disruption_is_allowed() -> None:
    observed = at_work(run={"spec": {"retries": {"disruptions": 0}}}, jobs=[])
    plan = planned(observed, (CommitStage, MISSING))
    assert stage_of(plan).state is StageState.FAILED
    assert "retries.disruptions" in stage_of(plan).message
    assert plan.actions == ()


def test_a_suspended_job_that_is_gone_is_no_loss() -> None:
    ending = {"state": StageState.SUSPENDED, "shards": Shards(total=2, running=1)}
    observed = at_work(run={"spec": {"suspend": True}}, stage=ending, jobs=[])
    plan = planned(observed, (CommitStage, MISSING))
    stage = stage_of(plan)
    assert (stage.state, stage.disruptions, stage.attempt) == (StageState.WAITING, 0, 1)
    assert said(plan, ConditionType.SUSPENDED) == ("True", "Requested")


def test_a_job_that_the_api_server_refuses_is_told_with_its_words_and_tried_again() -> None:
    before = stage_of(planned(waiting()))
    for gone in (True, False):
        observed = make_observed(
            make_run(*make_ready(), before), refused={before.job: "violates PodSecurity"}
        )
        plan = planned(observed, (ConfirmGone, Gone(gone=gone)))
        assert said(plan, ConditionType.DEGRADED) == ("True", "JobRefused")
        assert bool(actions(plan, CreateJob)) is gone


# ---- at work


def test_a_stage_is_pending_until_a_pod_runs() -> None:
    pods = [make_pod(0, phase="Pending"), make_pod(1, phase="Running")]
    assert stage_of(planned(at_work(pods=pods[:1]))).state is StageState.PENDING
    stage = stage_of(planned(at_work(pods=pods)))
    assert stage.state is StageState.RUNNING
    assert stage.shards == Shards(total=2, running=1)


def test_a_new_job_whose_pods_take_their_time_changes_nothing_in_the_status_at_first() -> None:
    new, old = (make_job(created=NOW - dt.timedelta(seconds=age)) for age in (19, 20))
    starting = make_pod(0, phase="Pending", waiting_reason="ContainerCreating")
    for pods in ([], [starting]):
        seen = at_work(stage={"state": StageState.STARTING}, jobs=[new], pods=pods)
        assert stage_of(planned(seen)) == seen.run.status.stage_of(NODE)
    seen = at_work(stage={"state": StageState.STARTING}, jobs=[old], pods=[starting])
    assert stage_of(planned(seen)).state is StageState.PENDING
    for trouble in ({"unschedulable": "no GPU is free"}, {"waiting_reason": "ErrImagePull"}):
        seen = at_work(
            stage={"state": StageState.STARTING}, jobs=[new], pods=[make_pod(0, phase="Pending", **trouble)]
        )
        assert stage_of(planned(seen)).state is StageState.PENDING


def test_a_stage_whose_pods_have_all_succeeded_is_left_as_it_is_until_its_job_says_so() -> None:
    pods = [make_pod(index, phase="Succeeded", exit_code=0) for index in (0, 1)]
    seen = at_work(pods=pods)
    plan = planned(seen)
    assert stage_of(plan) == seen.run.status.stage_of(NODE)
    assert said(plan, ConditionType.RUNNING) == ("True", "StagesRunning")
    half = planned(at_work(pods=pods[:1]))
    assert stage_of(half).state is StageState.PENDING


def test_done_shards_are_those_that_the_job_or_its_pods_name() -> None:
    done = Termination(manifest="runs/m", sha256="a" * 64).encode()
    pods = [make_pod(0), make_pod(1, phase="Succeeded", exit_code=0, termination=done)]
    for job, committed in ((make_job(), "1"), (make_job(completed="0-1"), "0-1")):
        assert stage_of(planned(at_work(jobs=[job], pods=pods))).shards == Shards(
            total=2, committed=committed, running=1
        )


def test_an_ended_pod_is_counted_and_described_while_the_job_goes_on() -> None:
    plan = planned(at_work(pods=[make_lost(0, 1, termination="CUDA error"), make_pod(1)]))
    stage = stage_of(plan)
    assert (stage.failures, stage.state) == (1, StageState.RUNNING)
    assert "CUDA error" in stage.message
    assert said(plan, ConditionType.DEGRADED) == ("True", "PodsFailed")


def test_pods_of_earlier_attempts_are_counted_and_take_no_part() -> None:
    old = make_pod(0, job_uid="job of attempt 0", phase="Running")
    stage = stage_of(planned(at_work(pods=[old, make_pod(1, phase="Pending")])))
    assert stage.state is StageState.PENDING
    assert stage.shards == Shards(total=2)


def test_a_pod_on_a_lost_machine_is_failed_only_after_its_time() -> None:
    late = make_pod(0, deleted=NOW - dt.timedelta(seconds=16))
    (fail,) = actions(planned(at_work(pods=[late])), FailPod)
    assert (fail.uid, fail.is_marked) == (late.uid, False)
    assert "node-1" in fail.message
    (marked,) = actions(
        planned(at_work(pods=[make_pod(0, deleted=late.deleted, disruption="Taint")])), FailPod
    )
    assert marked.is_marked
    for alive in (
        make_pod(0, deleted=NOW - dt.timedelta(seconds=14)),
        make_pod(0),
        make_lost(0, deleted=NOW - dt.timedelta(seconds=900)),
    ):
        assert actions(planned(at_work(pods=[alive])), FailPod) == []


def test_a_pod_that_should_be_gone_is_looked_at_again_soon() -> None:
    plan = planned(at_work(pods=[make_pod(0, deleted=NOW), make_pod(1)]))
    assert plan.again_seconds == 5


EARLIER = NOW - dt.timedelta(minutes=5)
REPORT = StageProgress(rows_total=60, rows_done=6, updated=NOW)


@pytest.mark.parametrize(
    ("stage", "is_read"),
    [
        ({"started": EARLIER}, True),
        ({"started": NOW}, False),
        ({"started": EARLIER, "progress": REPORT}, False),
        ({"started": EARLIER, "progress": REPORT.model_copy(update={"updated": EARLIER})}, True),
    ],
)
def test_progress_is_read_at_a_bounded_rate(stage: dict[str, Any], *, is_read: bool) -> None:
    asked: list[Question] = []
    new = REPORT.model_copy(update={"rows_done": 30})
    plan = planned(
        at_work(stage=stage, pods=[make_pod()]), (ReadProgress, Reported(progress=new)), asked=asked
    )
    assert any(isinstance(question, ReadProgress) for question in asked) is is_read
    assert stage_of(plan).progress == (new if is_read else stage.get("progress"))


def test_unreadable_progress_disturbs_nothing() -> None:
    stage = {"started": NOW - dt.timedelta(minutes=5)}
    plan = planned(at_work(stage=stage, pods=[make_pod()]), (ReadProgress, DOWN))
    assert said(plan, ConditionType.DEGRADED) == ("False", "AsExpected")


# ---- suspended


def suspended(**observed: Any) -> Observed:
    return at_work(**{"run": {"spec": {"suspend": True}}, **observed})


def test_suspending_a_run_suspends_its_jobs() -> None:
    plan = planned(suspended(pods=[make_pod()]))
    (action,) = actions(plan, SuspendJob)
    assert (action.suspend, action.uid) == (True, make_job().uid)
    assert stage_of(plan).state is StageState.SUSPENDED


def test_a_run_is_suspended_only_when_no_pod_runs_any_more() -> None:
    job = make_job(suspended=True)
    ending = planned(suspended(jobs=[job], pods=[make_pod(0, deleted=NOW)]))
    assert said(ending, ConditionType.SUSPENDED) == ("False", "Suspending")
    ended = make_observed(
        make_run(*ending.status.stages, spec={"suspend": True}),
        jobs=[job],
        pods=[make_lost(0, 75, deleted=NOW)],
    )
    assert said(planned(ended), ConditionType.SUSPENDED) == ("True", "Requested")
    assert planned(ended).actions == ()


def test_what_a_suspension_ends_is_neither_failure_nor_disruption() -> None:
    pods = [make_lost(0, 75, deleted=NOW), make_lost(1, 137, deleted=NOW)]
    plan = planned(suspended(jobs=[make_job(suspended=True)], pods=pods))
    assert (stage_of(plan).failures, stage_of(plan).disruptions) == (0, 0)
    resumed = make_run(*plan.status.stages)
    after = planned(make_observed(resumed, jobs=[make_job(suspended=True)], pods=pods))
    assert (stage_of(after).failures, stage_of(after).disruptions) == (0, 0)


def test_resuming_a_run_resumes_its_jobs_with_what_is_left_of_the_deadline() -> None:
    run = {"spec": {"activeDeadlineSeconds": 600}, "status": {"started": NOW - dt.timedelta(seconds=100)}}
    plan = planned(at_work(run=run, stage={"state": StageState.SUSPENDED}, jobs=[make_job(suspended=True)]))
    (action,) = actions(plan, SuspendJob)
    assert (action.suspend, action.deadline_seconds) == (False, 500)


def test_a_job_under_a_queue_is_never_resumed_by_us_and_suspending_gives_its_place_back() -> None:
    queued = make_job(queued=True, suspended=True)
    plan = planned(at_work(jobs=[queued]))
    assert plan.actions == ()
    assert said(plan, ConditionType.RUNNING) == ("False", "Queued")
    (delete,) = planned(suspended(jobs=[queued])).actions
    assert isinstance(delete, DeleteJob)
    deleting = make_job(queued=True, suspended=True, deleting=True)
    assert planned(suspended(jobs=[deleting])).actions == ()


# ---- ends


def test_a_complete_job_is_committed_with_the_manifests_that_its_pods_named() -> None:
    done = Termination(manifest="runs/m", sha256="a" * 64).encode()
    pods = [make_pod(index, phase="Succeeded", exit_code=0, termination=done) for index in (0, 1)]
    asked: list[Question] = []
    plan = planned(at_work(jobs=[make_job(finished="Complete")], pods=pods), asked=asked)
    (question,) = [question for question in asked if isinstance(question, CommitStage)]
    assert [shard for shard, _ in question.shards] == [0, 1]
    stage = stage_of(plan)
    assert (stage.state, stage.rows_in, stage.counted) == (StageState.SUCCEEDED, 60, ())
    assert stage.artifact is not None
    assert stage.artifact.sha256 == make_committed().artifact.sha256


def test_the_most_frequent_reasons_of_rejection_are_told_and_the_others_added_up() -> None:
    reasons = {f"reason-{number:02d}": number for number in range(1, 21)}
    counts = Counts(rows_in=250, rows_out=40, rejected=reasons)
    found = Committed(artifact=make_committed().artifact, counts=counts)
    rejected = stage_of(planned(at_work(jobs=[make_job(finished="Complete")]), (CommitStage, found))).rejected
    assert list(rejected)[:2] == ["reason-20", "reason-19"]
    assert sum(rejected.values()) == 210
    assert len(rejected) == MAX_REASONS + 1


def test_a_job_that_completed_is_committed_whatever_was_lost_on_the_way() -> None:
    run = {"spec": {"retries": {"disruptions": 0}}}
    pods = [make_lost(0, None, disruption="Preempted")]
    plan = planned(at_work(run=run, jobs=[make_job(finished="Complete")], pods=pods))
    assert stage_of(plan).state is StageState.SUCCEEDED


def test_a_commit_waits_for_the_store_and_names_it() -> None:
    plan = planned(at_work(jobs=[make_job(finished="Complete")]), (CommitStage, DOWN))
    assert stage_of(plan).state is StageState.RUNNING
    assert said(plan, ConditionType.DEGRADED) == ("True", "StoreUnreachable")


def test_a_complete_job_without_a_manifest_is_a_failure_and_tried_again_while_failures_are_left() -> None:
    observed = at_work(jobs=[make_job(finished="Complete")])
    plan = planned(observed, (CommitStage, MISSING))
    stage = stage_of(plan)
    assert (stage.state, stage.failures, stage.attempt) == (StageState.WAITING, 1, 1)
    again = planned(make_observed(make_run(*plan.status.stages), jobs=observed.jobs))
    assert (stage_of(again).state, stage_of(again).attempt) == (StageState.STARTING, 2)
    spent = planned(
        at_work(stage={"failures": 3}, jobs=[make_job(finished="Complete")]), (CommitStage, MISSING)
    )
    assert stage_of(spent).state is StageState.FAILED
    assert "shards 1 have no valid manifest" in stage_of(spent).message


def test_a_failed_job_fails_the_stage_in_the_words_of_the_pod() -> None:
    job = make_job(finished="Failed", reason="PodFailurePolicy", message="exit code 65")
    words = Termination(error="BadInputError", message="seeds.jsonl has no column 'question'").encode()
    plan = planned(
        at_work(jobs=[job], pods=[make_lost(0, 65, termination=words), make_lost(1, 75, deleted=NOW)])
    )
    assert stage_of(plan).state is StageState.FAILED
    assert "has no column 'question'" in stage_of(plan).message
    assert "(PodFailurePolicy)" in stage_of(plan).message
    bare = planned(at_work(jobs=[job]))
    assert "exit code 65" in stage_of(bare).message


def test_too_many_disruptions_fail_the_stage_and_delete_its_job() -> None:
    run = {"spec": {"retries": {"disruptions": 1}}}
    pods = [make_lost(index, None, disruption="Preempted") for index in (0, 1)]
    plan = planned(at_work(run=run, pods=pods))
    assert stage_of(plan).state is StageState.FAILED
    assert [action.uid for action in actions(plan, DeleteJob)] == [make_job().uid]


def test_a_job_that_kept_a_deadline_that_was_moved_is_followed_by_another_attempt() -> None:
    job = make_job(finished="Failed", reason="DeadlineExceeded")
    plan = planned(at_work(run={"spec": {"activeDeadlineSeconds": 86400}}, jobs=[job]))
    stage = stage_of(plan)
    assert (stage.state, stage.failures, stage.disruptions) == (StageState.WAITING, 0, 0)


@pytest.mark.parametrize("state", [StageState.SUCCEEDED, StageState.FAILED])
@pytest.mark.parametrize(
    "job", [None, make_job(), make_job(finished="Failed"), make_job(finished="Complete")]
)
def test_nothing_changes_a_stage_that_ended(state: StageState, job: Any) -> None:
    done = make_stage(NODE, state, artifact=make_stage().artifact, message="as it was")
    observed = make_observed(make_run(*make_ready(), done), jobs=[job] if job else [])
    if state is StageState.SUCCEEDED:
        done = done.model_copy(update={"artifact": make_ready()[0].artifact})
        observed = make_observed(make_run(*make_ready(), done), jobs=[job] if job else [])
    assert stage_of(planned(observed)) == done


def test_the_job_that_exists_says_which_order_its_workers_carry_out() -> None:
    """The profile may have changed between the status write and an earlier writer's Job."""
    stage: StageStatus = stage_of(planned(at_work(jobs=[make_job(order="9" * 64)], pods=[make_pod()])))
    assert stage.order == "9" * 64


def test_an_answer_to_another_question_is_a_defect_and_not_taken() -> None:
    with pytest.raises(TypeError, match="answers another question"):
        planned(without_job(StageState.RUNNING), (ConfirmGone, Ordered()))


def test_a_suspended_run_is_freed_of_pods_on_lost_machines_too() -> None:
    late = make_pod(0, deleted=NOW - dt.timedelta(seconds=16))
    plan = planned(suspended(jobs=[make_job(suspended=True)], pods=[late]))
    assert [fail.uid for fail in actions(plan, FailPod)] == [late.uid]
    assert plan.again_seconds == 5
