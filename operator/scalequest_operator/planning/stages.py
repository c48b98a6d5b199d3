"""What one stage of a run needs next: nothing, an answer, a Job, or its end."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

from scalequest_jobs import catalog
from scalequest_jobs.contract import orders
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.stage import Node, Order, RunIdentity
from scalequest_jobs.contract.status import Shards, StageState, StageStatus, message, ranges
from scalequest_operator.planning import at_work, failure, job_body, pinning, stage_plan
from scalequest_operator.planning.model import (
    CommitStage,
    Committed,
    ConfirmGone,
    CreateJob,
    DeleteJob,
    Gone,
    JobView,
    Ordered,
    PrepareStage,
    ShardsMissing,
)
from scalequest_operator.planning.stage_plan import Setup, StagePlan
from scalequest_operator.planning.waiting import Wait


def plan_stage(setup: Setup, node: Node, status: StageStatus, inputs: Mapping[str, ArtifactRef]) -> StagePlan:
    """Return what a stage whose inputs are committed needs next. Same input, same plan."""
    if status.state.is_final:
        return StagePlan(status=status)
    if status.state is StageState.WAITING:
        return _start(setup, node, status, inputs)
    job = setup.observed.job(status.job)
    status = stage_plan.with_losses(setup, status, setup.observed.pods_of(node.name))
    if job is None:
        return _without_job(setup, node, status, inputs)
    # What its workers do is told by the Job, even if the profile changed while it was created.
    status = stage_plan.changed(status, order=job.order or status.order)
    if job.finished == "Complete":
        return _commit(setup, node, status, job)
    if why := failure.spent(setup.spec.retries, stage_plan.losses(status)):
        return stage_plan.failed(setup, status, why, DeleteJob(name=job.name, uid=job.uid))
    if job.finished == "Failed":
        return _given_up(setup, status, job)
    plan = at_work.suspended if job.suspended or setup.suspended else at_work.working
    return at_work.freed(setup, plan(setup, node, status, job), job)


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
            done = stage_plan.succeeded(setup, status, found, cached=True)
            return StagePlan(status=done.model_copy(update={"fingerprint": order.fingerprint}))
        case Ordered() if setup.suspended:
            return StagePlan(status=status)
        case Ordered():
            return _begin(setup, node, status, order)
        case answer:
            return stage_plan.blocked(status, answer)


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
    begun = stage_plan.changed(
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
    return StagePlan(status=begun, actions=(create,), again=stage_plan.CREATE_GRACE)


def _without_job(
    setup: Setup, node: Node, status: StageStatus, inputs: Mapping[str, ArtifactRef]
) -> StagePlan:
    """A Job that the status names is not seen: not created yet, not seen yet, or gone."""
    question = ConfirmGone(job=status.job)
    match setup.facts.get(question):
        case None:
            return StagePlan(status=status, questions=(question,))
        case Gone(gone=False):
            return _with_refusal(setup, status.job, StagePlan(status=status, again=stage_plan.CREATE_GRACE))
        case Gone() if status.state is StageState.STARTING:
            # The same attempt again: a second writer that is still about to create it meets its name.
            again = stage_plan.changed(
                stage_plan.back_to_waiting(status, lost=False), attempt=status.attempt - 1
            )
            return _with_refusal(setup, status.job, _start(setup, node, again, inputs))
        case Gone():
            return _after_loss(setup, node, status, inputs)
        case answer:
            return stage_plan.blocked(status, answer)


def _with_refusal(setup: Setup, job: str, plan: StagePlan) -> StagePlan:
    words = setup.observed.refused.get(job)
    if not words or plan.wait:
        return plan
    return replace(
        plan, wait=Wait(reason="JobRefused", message=message(words)), again=stage_plan.PROGRESS_INTERVAL
    )


def _after_loss(
    setup: Setup, node: Node, status: StageStatus, inputs: Mapping[str, ArtifactRef]
) -> StagePlan:
    """Go on without a Job that was deleted: its shards may all be done; if not, another attempt adopts its chunks."""
    question = CommitStage(node=node.name, sha256=status.order, kind=catalog.stage(node.stage).output)
    match setup.facts.get(question):
        case None:
            return StagePlan(status=status, questions=(question,))
        case Committed() as found:
            return StagePlan(status=stage_plan.succeeded(setup, status, found))
        case ShardsMissing():
            lost = status.state is not StageState.SUSPENDED
            status = stage_plan.back_to_waiting(status, lost=lost)
            if why := failure.spent(setup.spec.retries, stage_plan.losses(status)):
                return stage_plan.failed(setup, status, why)
            return _start(setup, node, status, inputs)
        case answer:
            return stage_plan.blocked(status, answer)


# ---- after the Job


def _commit(setup: Setup, node: Node, status: StageStatus, job: JobView) -> StagePlan:
    """All shards are done: make the artifact."""
    named = failure.manifests(job, setup.observed.pods_of(node.name))
    kind = catalog.stage(node.stage).output
    question = CommitStage(node=node.name, sha256=status.order, kind=kind, shards=named)
    match setup.facts.get(question):
        case None:
            return StagePlan(status=status, questions=(question,))
        case Committed() as found:
            return StagePlan(status=stage_plan.succeeded(setup, status, found))
        case ShardsMissing(shards=shards, reason=reason):
            words = f"the Job is complete, but shards {ranges(set(shards))} have no valid manifest: {reason}"
            if status.failures >= setup.spec.retries.failures:
                return stage_plan.failed(setup, status, words)
            again = stage_plan.back_to_waiting(status, lost=False)
            again = stage_plan.changed(again, failures=status.failures + 1, message=message(words))
            return StagePlan(status=again, again=dt.timedelta(seconds=1))
        case answer:
            return stage_plan.blocked(status, answer)


def _given_up(setup: Setup, status: StageStatus, job: JobView) -> StagePlan:
    """The Job failed. One that had a deadline of its own is tried again: the run, which is asked first, has time left."""
    if job.reason == "DeadlineExceeded":
        again = stage_plan.changed(
            stage_plan.back_to_waiting(status, lost=False),
            message=f"the deadline was moved; {job.name} kept it",
        )
        return StagePlan(status=again, again=dt.timedelta(seconds=1))
    return stage_plan.failed(setup, status, _failure_words(setup, job))


def _failure_words(setup: Setup, job: JobView) -> str:
    lost = failure.newest_loss(setup.observed.pods_of_job(job))
    said = failure.describe(lost) if lost else job.message
    return f"{said} ({job.reason})"
