"""What a stage's plan is made of, and the ways in which a stage's status moves on."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from scalequest_jobs.contract.run import Spec
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
from scalequest_operator.planning import failure
from scalequest_operator.planning.model import (
    Action,
    Committed,
    Facts,
    Observed,
    PodView,
    Question,
    RunView,
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


def succeeded(setup: Setup, status: StageStatus, found: Committed, *, cached: bool = False) -> StageStatus:
    """Return the status of a stage whose artifact is committed."""
    artifact, counts = found.artifact, found.counts
    shards = status.shards.total if status.shards else 0
    return changed(
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


def failed(setup: Setup, status: StageStatus, words: str, *actions: Action) -> StagePlan:
    """Return the plan of a stage that failed for good."""
    failed = changed(
        without_pods(status), state=StageState.FAILED, finished=setup.now, message=message(words)
    )
    return StagePlan(status=failed, actions=actions)


def blocked(status: StageStatus, answer: object) -> StagePlan:
    """Nobody answered: try again later, or fail where that is useless."""
    if not isinstance(answer, Unavailable):
        raise TypeError(f"{status.name}: {answer!r} answers another question")
    if answer.final:
        failed = changed(status, state=StageState.FAILED, message=message(answer.message))
        return StagePlan(status=failed)
    wait = Wait(reason=answer.reason, message=message(answer.message))
    return StagePlan(status=status, wait=wait, again=dt.timedelta(seconds=10))


def back_to_waiting(status: StageStatus, *, lost: bool) -> StageStatus:
    """Return the status of a stage that needs another attempt; a Job that was `lost` counts as a disruption."""
    words = f"the Job {status.job} is gone; the next attempt adopts its finished chunks" if lost else ""
    return changed(
        without_pods(status),
        state=StageState.WAITING,
        job="",
        disruptions=status.disruptions + lost,
        message=words,
    )


def without_pods(status: StageStatus) -> StageStatus:
    """Return the status of a stage that no pod works on: a run is suspended only when none of its stages has one."""
    shards = status.shards and status.shards.model_copy(update={"running": 0})
    return changed(status, shards=shards, progress=None)


def losses(status: StageStatus) -> failure.Losses:
    """Return the losses that the status counts already."""
    return failure.Losses(failures=status.failures, disruptions=status.disruptions, counted=status.counted)


def with_losses(setup: Setup, status: StageStatus, pods: Sequence[PodView]) -> StageStatus:
    """Return the status with the losses among `pods` that it does not count yet."""
    lost = failure.losses(status, pods, suspended=setup.suspended)
    return changed(
        status,
        failures=lost.failures,
        disruptions=lost.disruptions,
        counted=lost.counted,
        counted_more=lost.counted_more,
    )


def changed(status: StageStatus, **fields: Any) -> StageStatus:
    """Return the status with other values of some fields."""
    return status.model_copy(update=fields)
