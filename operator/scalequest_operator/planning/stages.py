"""What one stage of a run needs next: nothing, an answer, a Job, or its end."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scalequest_jobs import catalog
from scalequest_jobs.contract import orders
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Order, RunIdentity
from scalequest_jobs.contract.status import (
    Artifact,
    Shards,
    StageState,
    StageStatus,
    message,
    ranges,
    rejected_by_reason,
)
from scalequest_operator.configuration import Profile, StoreConfiguration
from scalequest_operator.planning import failure, job_body, pinning, waiting
from scalequest_operator.planning.model import (
    Action,
    CommitStage,
    Committed,
    ConfirmGone,
    CreateJob,
    DeleteJob,
    Facts,
    FailPod,
    Gone,
    JobView,
    Observed,
    Ordered,
    PodView,
    PrepareStage,
    Question,
    ReadProgress,
    Reported,
    RunView,
    ShardsMissing,
    SuspendJob,
    Unavailable,
)
from scalequest_operator.planning.waiting import Wait

CREATE_GRACE: Final = dt.timedelta(seconds=5)
"""How long a Job just created may take to be seen before it is created (or adopted) again."""

PROGRESS_INTERVAL: Final = dt.timedelta(seconds=15)
"""Least time between two readings of a stage's progress."""

STUCK_AFTER: Final = dt.timedelta(seconds=15)
"""How long after a pod was to be gone it is taken for lost with its machine."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is the same for all stages of a run in one plan."""

    observed: Observed
    facts: Facts
    now: dt.datetime
    spec: Spec
    profile: Profile
    store: StoreConfiguration
    may_start: bool
    """False once a stage failed: what runs goes on, nothing new begins."""
    deadline_seconds: int | None = None
    """What is left of the run's deadline."""

    @property
    def run(self) -> RunView:
        """The run."""
        return self.observed.run

    @property
    def suspended(self) -> bool:
        """Whether the user wants nothing to run."""
        return self.spec.suspend


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """What one stage needs: `wait` says why it does not move, `again` when to look without being told."""

    status: StageStatus
    questions: tuple[Question, ...] = ()
    actions: tuple[Action, ...] = ()
    wait: Wait | None = None
    again: dt.timedelta | None = None


def plan_stage(setup: Setup, node: Node, status: StageStatus, inputs: Mapping[str, ArtifactRef]) -> StagePlan:
    """Return what a stage whose inputs are committed needs next. Same input, same plan."""
    if status.state.is_final:
        return StagePlan(status=status)
    if status.state is StageState.WAITING:
        return _start(setup, node, status, inputs)
    job = setup.observed.job(status.job)
    status = _with_losses(setup, status, setup.observed.pods_of(node.name))
    if job is None:
        return _without_job(setup, node, status, inputs)
    # What its workers do is told by the Job, even if the profile changed while it was created.
    status = _changed(status, order=job.order or status.order)
    if job.finished == "Complete":
        return _commit(setup, node, status, job)
    if why := failure.spent(setup.spec.retries, _losses(status)):
        return _failed(setup, status, why, DeleteJob(name=job.name, uid=job.uid))
    if job.finished == "Failed":
        return _given_up(setup, node, status, job)
    plan = _suspended if job.suspended or setup.suspended else _working
    return _freed(setup, plan(setup, node, status, job), job)


# ---- before the Job


def _order(setup: Setup, node: Node, inputs: Mapping[str, ArtifactRef]) -> Order:
    stage = catalog.stage(node.stage)
    role = node.role or stage.role
    run = RunIdentity(name=setup.run.name, namespace=setup.run.namespace, uid=setup.run.uid)
    image = setup.profile.roles[role].image
    return orders.make(stage, node, setup.spec, run=run, inputs=inputs, engine_identity=image)


def _start(setup: Setup, node: Node, status: StageStatus, inputs: Mapping[str, ArtifactRef]) -> StagePlan:
    """Take the stage from the cache, or begin its next attempt."""
    if not setup.may_start:
        return StagePlan(status=status)
    node = pinning.pin(node, setup.profile)
    order = _order(setup, node, inputs)
    ref, _ = orders.stored(order)
    question = PrepareStage(node=node.name, sha256=ref.sha256, order=order, use_cache=node.cacheable)
    match setup.facts.get(question):
        case None:
            return StagePlan(status=status, questions=(question,))
        case Committed() as found:
            done = _succeeded(setup, status, found, cached=True)
            return StagePlan(status=done.model_copy(update={"fingerprint": order.fingerprint}))
        case Ordered() if setup.suspended:
            return StagePlan(status=status)
        case Ordered():
            return _begin(setup, node, status, order)
        case answer:
            return _blocked(status, answer)


def _begin(setup: Setup, node: Node, status: StageStatus, order: Order) -> StagePlan:
    ref, _ = orders.stored(order)
    attempt = job_body.Attempt(
        run=setup.run,
        spec=setup.spec,
        profile=setup.profile,
        store=setup.store,
        order=order,
        order_key=ref.key,
        order_sha256=ref.sha256,
        role=node.role or catalog.stage(node.stage).role,
        number=status.attempt + 1,
        deadline_seconds=setup.deadline_seconds,
    )
    name = job_body.name_of(attempt)
    begun = _changed(
        status,
        state=StageState.STARTING,
        attempt=attempt.number,
        job=name,
        fingerprint=order.fingerprint,
        order=ref.sha256,
        shards=Shards(total=order.shards),
        started=status.started or setup.now,
    )
    create = CreateJob(name=name, body=job_body.job_body(attempt))
    return StagePlan(status=begun, actions=(create,), again=CREATE_GRACE)


def _without_job(
    setup: Setup, node: Node, status: StageStatus, inputs: Mapping[str, ArtifactRef]
) -> StagePlan:
    """A Job that the status names is not seen: not created yet, not seen yet, or gone."""
    question = ConfirmGone(job=status.job)
    match setup.facts.get(question):
        case None:
            return StagePlan(status=status, questions=(question,))
        case Gone(gone=False):
            return _with_refusal(setup, status.job, StagePlan(status=status, again=CREATE_GRACE))
        case Gone() if status.state is StageState.STARTING:
            # The same attempt again: a second writer that is still about to create it meets its name.
            again = _changed(_back_to_waiting(status, lost=False), attempt=status.attempt - 1)
            return _with_refusal(setup, status.job, _start(setup, node, again, inputs))
        case Gone():
            return _after_loss(setup, node, status, inputs)
        case answer:
            return _blocked(status, answer)


def _with_refusal(setup: Setup, job: str, plan: StagePlan) -> StagePlan:
    words = setup.observed.refused.get(job)
    if not words or plan.wait:
        return plan
    return replace(plan, wait=Wait(reason="JobRefused", message=message(words)), again=PROGRESS_INTERVAL)


def _after_loss(
    setup: Setup, node: Node, status: StageStatus, inputs: Mapping[str, ArtifactRef]
) -> StagePlan:
    """Go on without a Job that was deleted: its shards may all be done; if not, another attempt adopts its chunks."""
    question = CommitStage(node=node.name, sha256=status.order, kind=catalog.stage(node.stage).output)
    match setup.facts.get(question):
        case None:
            return StagePlan(status=status, questions=(question,))
        case Committed() as found:
            return StagePlan(status=_succeeded(setup, status, found))
        case ShardsMissing():
            lost = status.state is not StageState.SUSPENDED
            status = _back_to_waiting(status, lost=lost)
            if why := failure.spent(setup.spec.retries, _losses(status)):
                return _failed(setup, status, why)
            return _start(setup, node, status, inputs)
        case answer:
            return _blocked(status, answer)


def _back_to_waiting(status: StageStatus, *, lost: bool) -> StageStatus:
    words = f"the Job {status.job} is gone; the next attempt adopts its finished chunks" if lost else ""
    return _changed(
        status,
        state=StageState.WAITING,
        job="",
        disruptions=status.disruptions + lost,
        progress=None,
        message=words,
    )


# ---- with a Job


def _working(setup: Setup, node: Node, status: StageStatus, job: JobView) -> StagePlan:
    """The Job is at work: say how far it is, or why it does not move."""
    pods = [pod for pod in setup.observed.pods_of(node.name) if pod.job_uid == job.uid]
    shards = _shards(setup, status, job)
    running = any(pod.phase == "Running" and pod.deleted is None for pod in pods)
    status = _changed(
        status,
        state=StageState.RUNNING if running else StageState.PENDING,
        shards=shards,
        message=_trouble(pods),
    )
    if not running:
        wait, questions = waiting.why(job, pods, setup.facts, setup.now)
        # What an event says may change without one of ours, so it is read again.
        again = dt.timedelta(seconds=20)
        return StagePlan(status=status, questions=questions, wait=wait, again=again)
    return _with_progress(setup, StagePlan(status=status, again=PROGRESS_INTERVAL), node)


def _shards(setup: Setup, status: StageStatus, job: JobView) -> Shards:
    """Return what the Job and its pods say of the shards; a pod that is told to end still runs until it ended."""
    pods = [pod for pod in setup.observed.pods_of(job.node) if pod.job_uid == job.uid]
    done = frozenset(index for index, _ in failure.manifests(job, pods))
    return Shards(
        total=status.shards.total if status.shards else 1,
        committed=job.completed or ranges(done),
        running=sum(pod.phase == "Running" for pod in pods),
    )


def _trouble(pods: Sequence[PodView]) -> str:
    lost = failure.newest_loss(pods)
    return message(failure.describe(lost)) if lost else ""


def _freed(setup: Setup, plan: StagePlan, job: JobView) -> StagePlan:
    """Return the plan with an end for pods on lost machines.

    A kubelet that is gone never reports the end of its pods, and a Job waits for that before it replaces one.
    """
    ending = [
        pod
        for pod in setup.observed.pods_of(job.node)
        if pod.job_uid == job.uid and pod.deleted and not pod.is_over
    ]
    if not ending:
        return plan
    fails = _fail_lost_pods(setup, ending)
    return replace(plan, actions=(*plan.actions, *fails), again=dt.timedelta(seconds=5))


def _fail_lost_pods(setup: Setup, pods: Sequence[PodView]) -> tuple[Action, ...]:
    return tuple(
        FailPod(
            name=pod.name,
            uid=pod.uid,
            message=f"the machine {pod.machine} did not confirm the end of the pod by {pod.deleted:%H:%M:%S}",
            is_marked=bool(pod.disruption),
        )
        for pod in pods
        if pod.deleted is not None and setup.now > pod.deleted + STUCK_AFTER
    )


def _with_progress(setup: Setup, plan: StagePlan, node: Node) -> StagePlan:
    seen = plan.status.progress
    if seen is not None and setup.now - seen.updated < PROGRESS_INTERVAL:
        return plan
    if plan.status.started and setup.now - plan.status.started < PROGRESS_INTERVAL:
        return plan
    question = ReadProgress(node=node.name, sha256=plan.status.order)
    match setup.facts.get(question):
        case None:
            return replace(plan, questions=(*plan.questions, question))
        case Reported(progress=progress) if progress is not None:
            # The time of reading, not of writing: it paces the readings.
            return replace(plan, status=_changed(plan.status, progress=progress))
        case _:
            return plan


def _suspended(setup: Setup, _: Node, status: StageStatus, job: JobView) -> StagePlan:
    """Bring the Job to what the user wants; under a queue only the queue resumes a Job."""
    if setup.suspended:
        status = _changed(
            status, state=StageState.SUSPENDED, progress=None, shards=_shards(setup, status, job)
        )
        if job.queued and not job.deleting:
            # The queue would resume a Job that it admitted; without it the next attempt queues anew.
            return StagePlan(status=status, actions=(DeleteJob(name=job.name, uid=job.uid),))
        if job.suspended:
            return StagePlan(status=status)
        return StagePlan(status=status, actions=(SuspendJob(name=job.name, uid=job.uid, suspend=True),))
    status = _changed(status, state=StageState.PENDING, progress=None, shards=_shards(setup, status, job))
    if job.queued:
        wait, questions = waiting.why(job, (), setup.facts, setup.now)
        return StagePlan(status=status, questions=questions, wait=wait)
    resume = SuspendJob(name=job.name, uid=job.uid, suspend=False, deadline_seconds=setup.deadline_seconds)
    return StagePlan(status=status, actions=(resume,))


def _commit(setup: Setup, node: Node, status: StageStatus, job: JobView) -> StagePlan:
    """All shards are done: make the artifact."""
    named = failure.manifests(job, setup.observed.pods_of(node.name))
    kind = catalog.stage(node.stage).output
    question = CommitStage(node=node.name, sha256=status.order, kind=kind, shards=named)
    match setup.facts.get(question):
        case None:
            return StagePlan(status=status, questions=(question,))
        case Committed() as found:
            return StagePlan(status=_succeeded(setup, status, found))
        case ShardsMissing(shards=shards, reason=reason):
            words = f"the Job is complete, but shards {ranges(set(shards))} have no valid manifest: {reason}"
            if status.failures >= setup.spec.retries.failures:
                return _failed(setup, status, words)
            again = _back_to_waiting(status, lost=False)
            again = _changed(again, failures=status.failures + 1, message=message(words))
            return StagePlan(status=again, again=dt.timedelta(seconds=1))
        case answer:
            return _blocked(status, answer)


# ---- ends


def _succeeded(setup: Setup, status: StageStatus, found: Committed, *, cached: bool = False) -> StageStatus:
    artifact, counts = found.artifact, found.counts
    shards = status.shards.total if status.shards else 0
    return _changed(
        status,
        state=StageState.SUCCEEDED,
        cached=cached,
        artifact=Artifact(key=artifact.key, sha256=artifact.sha256, content=artifact.content),
        shards=Shards(total=shards, committed=ranges(set(range(shards)))) if shards else None,
        rows_in=counts.rows_in,
        rows_out=counts.rows_out,
        rejected=rejected_by_reason(counts.rejected),
        counted=(),
        counted_more=0,
        progress=None,
        finished=setup.now,
        message="",
    )


def _failed(setup: Setup, status: StageStatus, words: str, *actions: Action) -> StagePlan:
    failed = _changed(
        status, state=StageState.FAILED, finished=setup.now, progress=None, message=message(words)
    )
    return StagePlan(status=failed, actions=actions)


def _given_up(setup: Setup, node: Node, status: StageStatus, job: JobView) -> StagePlan:
    """The Job failed. One that had a deadline of its own is tried again: the run, which is asked first, has time left."""
    if job.reason == "DeadlineExceeded":
        again = _changed(
            _back_to_waiting(status, lost=False), message=f"the deadline was moved; {job.name} kept it"
        )
        return StagePlan(status=again, again=dt.timedelta(seconds=1))
    return _failed(setup, status, _failure_words(setup, node, job))


def _failure_words(setup: Setup, node: Node, job: JobView) -> str:
    pods = [pod for pod in setup.observed.pods_of(node.name) if pod.job_uid == job.uid]
    lost = failure.newest_loss(pods)
    said = failure.describe(lost) if lost else job.message
    return f"{said} ({job.reason})"


def _blocked(status: StageStatus, answer: object) -> StagePlan:
    """Nobody answered: try again later, or fail where that is useless."""
    if not isinstance(answer, Unavailable):
        raise TypeError(f"{status.name}: {answer!r} answers another question")
    if answer.final:
        failed = _changed(status, state=StageState.FAILED, message=message(answer.message))
        return StagePlan(status=failed)
    wait = Wait(reason=answer.reason, message=message(answer.message))
    return StagePlan(status=status, wait=wait, again=dt.timedelta(seconds=10))


# ---- parts


def _losses(status: StageStatus) -> failure.Losses:
    return failure.Losses(failures=status.failures, disruptions=status.disruptions, counted=status.counted)


def _with_losses(setup: Setup, status: StageStatus, pods: Sequence[PodView]) -> StageStatus:
    lost = failure.losses(status, pods, suspended=setup.suspended)
    return _changed(
        status,
        failures=lost.failures,
        disruptions=lost.disruptions,
        counted=lost.counted,
        counted_more=lost.counted_more,
    )


def _changed(status: StageStatus, **fields: Any) -> StageStatus:
    return status.model_copy(update=fields)
