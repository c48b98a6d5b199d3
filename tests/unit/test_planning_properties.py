"""What holds of every plan, whatever was observed and answered."""

import datetime as dt
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operator_builders import (
    NOW,
    make_committed,
    make_done,
    make_job,
    make_observed,
    make_pod,
    make_profile,
    make_run,
    make_spec,
    make_stage,
    planned,
)
from scalequest_jobs import catalog
from scalequest_jobs.contract.status import ConditionType, RunStatus, StageState, StageStatus
from scalequest_operator.planning.model import (
    Answer,
    CommitStage,
    ConfirmGone,
    CreateJob,
    DeleteJob,
    Explain,
    Explained,
    FailPod,
    Gone,
    Observed,
    Ordered,
    PrepareStage,
    Question,
    ReadProgress,
    Reported,
    Setting,
    ShardsMissing,
    SuspendJob,
    Unavailable,
)

SPECS = [
    make_spec(**more)
    for more in (
        {},
        {"suspend": True},
        {"cancel": True},
        {"activeDeadlineSeconds": 600},
        {"retries": {"failures": 0, "disruptions": 0}},
        {"ttlSecondsAfterFinished": 60},
    )
]
NODES = [node.name for node in catalog.plan(SPECS[0]).nodes]
SETTINGS = [
    make_observed().setting,
    make_observed(profile=make_profile(queue="gpus")).setting,
    Setting(problem="no"),
]
MOMENTS = st.integers(-900, 0).map(lambda seconds: NOW + dt.timedelta(seconds=seconds))

slow = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def stages(draw: Any, node: str) -> StageStatus:
    state = draw(st.sampled_from(StageState))
    if state is StageState.SUCCEEDED:
        return make_done(node, cached=draw(st.booleans()))
    if state is StageState.WAITING:
        attempt = draw(st.integers(0, 3))
        return StageStatus(name=node, state=state, attempt=attempt, failures=draw(st.integers(0, 3)))
    return make_stage(
        node,
        state,
        attempt=draw(st.integers(1, 3)),
        disruptions=draw(st.integers(0, 2)),
        started=draw(MOMENTS),
    )


@st.composite
def jobs(draw: Any, node: str) -> Any:
    return make_job(
        node,
        attempt=draw(st.integers(1, 3)),
        finished=draw(st.sampled_from(["", "", "", "Complete", "Failed"])),
        reason=draw(st.sampled_from(["", "DeadlineExceeded", "PodFailurePolicy"])),
        suspended=draw(st.booleans()),
        queued=draw(st.booleans()),
        deleting=draw(st.booleans()),
        created=draw(MOMENTS),
    )


@st.composite
def pods(draw: Any, node: str, index: int) -> Any:
    phase = draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]))
    return make_pod(
        index,
        node=node,
        attempt=draw(st.integers(1, 3)),
        name=f"{node}-{index}",
        phase=phase,
        exit_code=draw(st.sampled_from([None, 1, 64, 65, 75, 137])) if phase == "Failed" else None,
        disruption=draw(st.sampled_from(["", "", "Evicted"])),
        deleted=draw(st.none() | MOMENTS),
        unschedulable=draw(st.sampled_from(["", "no node"])) if phase == "Pending" else "",
        created=draw(MOMENTS),
    )


@st.composite
def worlds(draw: Any) -> Observed:
    chosen = draw(st.lists(st.sampled_from(NODES), unique=True, max_size=6))
    run = make_run(
        *[draw(stages(node)) for node in NODES if node in chosen or draw(st.booleans())],
        spec=draw(st.sampled_from(SPECS)),
        status={
            "started": draw(st.none() | MOMENTS),
            "finished": draw(st.none() | st.none() | MOMENTS),
        },
        deleted=draw(st.none() | st.none() | MOMENTS),
        generation=draw(st.integers(1, 3)),
        finalizers=draw(st.sampled_from([(), ("scalequest.io/release",)])),
    )
    seen = {job.name: job for node in chosen for job in draw(st.lists(jobs(node), max_size=3))}
    return make_observed(
        run,
        jobs=tuple(seen.values()),
        pods=[draw(pods(node, index)) for node in chosen for index in range(draw(st.integers(0, 3)))],
        setting=draw(st.sampled_from(SETTINGS)),
        refused=dict.fromkeys(draw(st.lists(st.sampled_from(sorted(seen) or ["x"]), max_size=1)), "quota"),
    )


DOWN = Unavailable(reason="StoreUnreachable", message="no answer")

ANSWERS: dict[type[Any], list[Answer]] = {
    PrepareStage: [Ordered(), Ordered(), make_committed(), DOWN],
    CommitStage: [make_committed(), ShardsMissing(shards=(0,), reason="none"), DOWN],
    ConfirmGone: [Gone(gone=True), Gone(gone=False), DOWN],
    ReadProgress: [Reported(progress=None), DOWN],
    Explain: [Explained(), Explained(reason="FailedCreate", message="exceeded quota"), DOWN],
}


@st.composite
def answerers(draw: Any) -> Any:
    """Return a function that answers each question, the same question always the same way."""
    salt = draw(st.integers(0, 1000))

    def answer(question: Question) -> Answer:
        options = ANSWERS[type(question)]
        name = getattr(question, "node", "") or getattr(question, "job", "") or getattr(question, "name", "")
        return options[(salt + sum(map(ord, name))) % len(options)]

    return answer


@slow
@given(worlds(), answerers())
def test_the_same_input_makes_the_same_plan(observed: Observed, answer: Any) -> None:
    assert planned(observed, answer=answer) == planned(observed, answer=answer)


@slow
@given(worlds(), answerers())
def test_a_stage_gets_at_most_one_job_the_one_its_status_names(observed: Observed, answer: Any) -> None:
    plan = planned(observed, answer=answer)
    created = [action for action in plan.actions if isinstance(action, CreateJob)]
    nodes = [action.body["metadata"]["annotations"]["scalequest.io/node"] for action in created]
    assert len(set(nodes)) == len(nodes)
    for node, action in zip(nodes, created, strict=True):
        stage = plan.status.stage_of(node)
        assert (stage.state, stage.job) == (StageState.STARTING, action.name)
        job = observed.job(observed.run.status.stage_of(node).job)
        assert job is None or job.finished or not observed.run.status.stage_of(node).state.is_active


@slow
@given(worlds(), answerers())
def test_nothing_is_created_for_a_run_that_is_suspended_cancelled_ended_deleted_or_refused(
    observed: Observed, answer: Any
) -> None:
    run, spec = observed.run, observed.run.spec
    assert spec is not None
    over = run.deleted or run.status.finished or spec.suspend or spec.cancel or not observed.setting.profile
    if over:
        actions = planned(observed, answer=answer).actions
        assert not [action for action in actions if isinstance(action, CreateJob)]


@slow
@given(worlds(), answerers())
def test_what_ended_stays_as_it_is(observed: Observed, answer: Any) -> None:
    plan = planned(observed, answer=answer)
    before = observed.run.status
    for stage in before.stages:
        if stage.state.is_final:
            after = plan.status.stage_of(stage.name)
            assert (after.state, after.artifact, after.attempt) == (
                stage.state,
                stage.artifact,
                stage.attempt,
            )
    if before.finished is not None:
        changed = {"observed_generation": 0, "phase": None}
        assert plan.status.model_copy(update=changed) == before.model_copy(update=changed)


@slow
@given(worlds(), answerers())
def test_a_plan_that_was_carried_out_is_not_carried_out_again(observed: Observed, answer: Any) -> None:
    """The status is read back as it was written; Jobs are there, though no informer has seen them yet."""
    plan = planned(observed, answer=answer)
    created = {action.name for action in plan.actions if isinstance(action, CreateJob)}
    status = RunStatus.model_validate(plan.status.body())
    again = make_observed(
        make_run(**vars(observed.run) | {"status": dict(status)}),
        jobs=observed.jobs,
        pods=observed.pods,
        setting=observed.setting,
        refused=observed.refused,
    )

    def later(question: Question) -> Answer:
        if isinstance(question, ConfirmGone) and question.job in created:
            return Gone(gone=False)
        return answer(question)

    second = planned(again, answer=later)
    recreated = {action.name for action in second.actions if isinstance(action, CreateJob)}
    assert not created & recreated
    for stage in status.stages:
        assert second.status.stage_of(stage.name).failures >= stage.failures
        if stage.job in created:
            assert second.status.stage_of(stage.name).attempt == stage.attempt


@slow
@given(worlds(), answerers())
def test_losses_are_never_forgotten_and_attempts_are_numbered_in_order(
    observed: Observed, answer: Any
) -> None:
    after = planned(observed, answer=answer).status
    for before in observed.run.status.stages:
        stage = after.stage_of(before.name)
        assert stage.failures >= before.failures
        assert stage.disruptions >= before.disruptions
        taken_back = before.state is StageState.STARTING and stage.attempt == before.attempt - 1
        assert stage.attempt in (before.attempt, before.attempt + 1) or taken_back


@slow
@given(worlds(), answerers())
def test_only_the_runs_own_objects_are_touched(observed: Observed, answer: Any) -> None:
    own = {job.uid for job in observed.jobs} | {pod.uid for pod in observed.pods}
    for action in planned(observed, answer=answer).actions:
        if isinstance(action, DeleteJob | SuspendJob | FailPod):
            assert action.uid in own
        if isinstance(action, CreateJob):
            assert action.body["metadata"]["ownerReferences"][0]["uid"] == observed.run.uid


@slow
@given(worlds(), answerers())
def test_a_run_that_does_not_move_says_why(observed: Observed, answer: Any) -> None:
    plan = planned(observed, answer=answer)
    if observed.run.deleted is not None or observed.run.status.finished is not None:
        return
    said = {kind: plan.status.condition(kind) for kind in ConditionType}
    running = said[ConditionType.RUNNING]
    assert running is not None
    moves = any(stage.state is StageState.RUNNING for stage in plan.status.stages)
    assert (running.status == "True") is (moves and plan.status.finished is None and not _refused(observed))
    assert running.reason
    # A run that waits is looked at again without being told to, or its user must act.
    waits = running.status == "False" and plan.status.finished is None
    suspended = observed.run.spec is not None and observed.run.spec.suspend
    queued = any(job.queued for job in observed.jobs)
    assert not waits or plan.again_seconds is not None or plan.actions or suspended or queued


def _refused(observed: Observed) -> bool:
    return observed.setting.profile is None


@slow
@given(worlds(), answerers())
def test_every_status_that_is_written_can_be_read(observed: Observed, answer: Any) -> None:
    status = planned(observed, answer=answer).status
    assert RunStatus.model_validate(status.body()).body() == status.body()
