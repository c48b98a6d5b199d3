"""A stage whose Job is at work or suspended: how far it is, why it does not move, what it must be freed of."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from scalequest_jobs.contract.stage import Node
from scalequest_jobs.contract.status import Shards, StageState, StageStatus, message, ranges
from scalequest_operator.planning import failure, stage_plan, waiting
from scalequest_operator.planning.model import (
    Action,
    DeleteJob,
    FailPod,
    JobView,
    PodView,
    ReadProgress,
    Reported,
    SuspendJob,
)
from scalequest_operator.planning.stage_plan import Setup, StagePlan


def working(setup: Setup, node: Node, status: StageStatus, job: JobView) -> StagePlan:
    """The Job is at work: say how far it is, or why it does not move."""
    pods = setup.observed.pods_of_job(job)
    shards = _shards(setup, status, job)
    if len({pod.index for pod in pods if pod.phase == "Succeeded"}) == shards.total:
        # The Job says so in a moment, and then the stage is committed.
        return StagePlan(status=status, again=dt.timedelta(seconds=20))
    if not any(pod.phase == "Running" and pod.deleted is None for pod in pods):
        return _not_running(setup, status, job, shards)
    status = stage_plan.changed(status, state=StageState.RUNNING, shards=shards, message=_trouble(pods))
    return _with_progress(setup, StagePlan(status=status, again=stage_plan.PROGRESS_INTERVAL), node)


def _not_running(setup: Setup, status: StageStatus, job: JobView, shards: Shards) -> StagePlan:
    """Say why no pod runs; that a new Job's pods just take their time is not worth a write of its own."""
    pods = setup.observed.pods_of_job(job)
    wait, questions = waiting.why(job, pods, setup.facts, setup.now)
    trouble = _trouble(pods)
    # What an event says may change without one of ours, so it is read again.
    again = dt.timedelta(seconds=20)
    is_new = status.state is StageState.STARTING and setup.now - job.created < waiting.EXPLAIN_AFTER
    if is_new and wait.reason == waiting.STARTING and not questions and not trouble:
        return StagePlan(status=status, again=again)
    status = stage_plan.changed(status, state=StageState.PENDING, shards=shards, message=trouble)
    return StagePlan(status=status, questions=questions, wait=wait, again=again)


def _shards(setup: Setup, status: StageStatus, job: JobView) -> Shards:
    """Return what the Job and its pods say of the shards; a pod that is told to end still runs until it ended."""
    pods = setup.observed.pods_of_job(job)
    done = frozenset(index for index, _ in failure.manifests(job, pods))
    return Shards(
        total=status.shards.total if status.shards else 1,
        committed=job.completed or ranges(done),
        running=sum(pod.phase == "Running" for pod in pods),
    )


def _trouble(pods: Sequence[PodView]) -> str:
    lost = failure.newest_loss(pods)
    return message(failure.describe(lost)) if lost else ""


def freed(setup: Setup, plan: StagePlan, job: JobView) -> StagePlan:
    """Return the plan with an end for pods on lost machines.

    A kubelet that is gone never reports the end of its pods, and a Job waits for that before it replaces one.
    """
    ending = [pod for pod in setup.observed.pods_of_job(job) if pod.deleted and not pod.is_over]
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
        if pod.deleted is not None and setup.now > pod.deleted + stage_plan.STUCK_AFTER
    )


def _with_progress(setup: Setup, plan: StagePlan, node: Node) -> StagePlan:
    seen = plan.status.progress
    if seen is not None and setup.now - seen.updated < stage_plan.PROGRESS_INTERVAL:
        return plan
    if plan.status.started and setup.now - plan.status.started < stage_plan.PROGRESS_INTERVAL:
        return plan
    question = ReadProgress(node=node.name, sha256=plan.status.order)
    match setup.facts.get(question):
        case None:
            return replace(plan, questions=(*plan.questions, question))
        case Reported(progress=progress) if progress is not None:
            # The time of reading, not of writing: it paces the readings.
            return replace(plan, status=stage_plan.changed(plan.status, progress=progress))
        case _:
            return plan


def suspended(setup: Setup, _: Node, status: StageStatus, job: JobView) -> StagePlan:
    """Bring the Job to what the user wants; under a queue only the queue resumes a Job."""
    if setup.suspended:
        status = stage_plan.changed(
            status, state=StageState.SUSPENDED, progress=None, shards=_shards(setup, status, job)
        )
        if job.queued and not job.deleting:
            # The queue would resume a Job that it admitted; without it the next attempt queues anew.
            return StagePlan(status=status, actions=(DeleteJob(name=job.name, uid=job.uid),))
        if job.suspended:
            return StagePlan(status=status)
        return StagePlan(status=status, actions=(SuspendJob(name=job.name, uid=job.uid, suspend=True),))
    status = stage_plan.changed(
        status, state=StageState.PENDING, progress=None, shards=_shards(setup, status, job)
    )
    if job.queued:
        wait, questions = waiting.why(job, (), setup.facts, setup.now)
        return StagePlan(status=status, questions=questions, wait=wait)
    resume = SuspendJob(name=job.name, uid=job.uid, suspend=False, deadline_seconds=setup.deadline_seconds)
    return StagePlan(status=status, actions=(resume,))
