"""Why a stage's pods do not run, in one word and the words of whoever knows."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scalequest_jobs.contract.status import message
from scalequest_operator.planning.model import Explain, Explained, Facts, JobView, PodView

EXPLAIN_AFTER: Final = dt.timedelta(seconds=20)
"""How long a Job may have no pods, or a pod no container, before its events are read."""

STARTING: Final = "Starting"
"""The reason where nothing is wrong."""

_PULL: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CREATING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Why something does not move. `reason` is a condition's reason; `is_fault` when somebody must act."""

    reason: str
    message: str
    is_fault: bool = True


def why(
    job: JobView, pods: Sequence[PodView], facts: Facts, now: dt.datetime
) -> tuple[Wait, tuple[Explain, ...]]:
    """Return why no pod of an unfinished Job runs, and what must be asked to know it better."""
    if job.suspended and job.queued:
        return Wait(reason="Queued", message="waits for the queue to admit it", is_fault=False), ()
    waiting = [pod for pod in pods if pod.job_uid == job.uid and not pod.is_over]
    if not waiting:
        return _without_pods(job, facts, now)
    if all(pod.deleted for pod in waiting):
        words = f"{waiting[0].name} on {waiting[0].machine or 'no machine'} was told to end"
        return Wait(reason="Terminating", message=words, is_fault=False), ()
    waiting = [pod for pod in waiting if not pod.deleted]
    for pod in waiting:
        if pod.unschedulable:
            return Wait(reason="Unschedulable", message=f"{pod.name}: {message(pod.unschedulable)}"), ()
        if pod.waiting_reason in _PULL:
            return Wait(reason="ImagePullFailed", message=_words(pod)), ()
        if pod.waiting_reason not in _CREATING:
            return Wait(reason="ContainerNotStarted", message=_words(pod)), ()
    return _starting(waiting[0], facts, now)


def _words(pod: PodView) -> str:
    return message(f"{pod.name}: {pod.waiting_reason}: {pod.waiting_message}")


def _without_pods(job: JobView, facts: Facts, now: dt.datetime) -> tuple[Wait, tuple[Explain, ...]]:
    starting = Wait(reason=STARTING, message="the Job has no pods yet", is_fault=False)
    if now - job.created < EXPLAIN_AFTER:
        return starting, ()
    question = Explain(kind="Job", name=job.name, uid=job.uid)
    match facts.get(question):
        case None:
            return starting, (question,)
        case Explained(message=words) if words:
            reason = "QuotaExceeded" if "exceeded quota" in words else "PodsNotCreated"
            return Wait(reason=reason, message=message(words)), ()
        case _:
            return starting, ()


def _starting(pod: PodView, facts: Facts, now: dt.datetime) -> tuple[Wait, tuple[Explain, ...]]:
    starting = Wait(reason=STARTING, message=f"{pod.name} starts", is_fault=False)
    if now - pod.created < EXPLAIN_AFTER:
        return starting, ()
    question = Explain(kind="Pod", name=pod.name, uid=pod.uid)
    match facts.get(question):
        case None:
            return starting, (question,)
        case Explained(reason=reason, message=words) if words:
            return Wait(reason="ContainerNotStarted", message=message(f"{pod.name}: {reason}: {words}")), ()
        case _:
            return starting, ()
