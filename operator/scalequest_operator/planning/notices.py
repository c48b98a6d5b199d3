"""Which Kubernetes Events to tell: one for each change of a stage or of what is wrong with a run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from scalequest_jobs.contract.status import ConditionType, RunStatus, StageState, StageStatus
from scalequest_operator.planning.model import Notice

STARTED: Final = "StageStarted"
COMMITTED: Final = "StageCommitted"

_QUIET: Final = frozenset({StageState.WAITING, StageState.PENDING})


def notices(before: RunStatus, after: RunStatus) -> tuple[Notice, ...]:
    """Return what to tell of the difference between two statuses; nothing when there is none.

    Every event stands for a status write that already happened, so a repeated plan repeats no event.
    """
    changes = [(before.stage_of(stage.name), stage) for stage in after.stages]
    cached = [new for old, new in changes if new.cached and old.state is not new.state]
    if len(cached) > 1:
        changes = [(old, new) for old, new in changes if new not in cached]
    told = [notice for old, new in changes if (notice := _of_stage(old, new))]
    return (*_of_cached(cached), *_in_one(told), *_of_conditions(before, after))


def _in_one(told: Sequence[Notice]) -> list[Notice]:
    """Let the end of a stage tell which ones begin after it: one event where there would be a pair for every stage."""
    ends = [notice for notice in told if notice.reason == COMMITTED]
    starts = [notice for notice in told if notice.reason == STARTED]
    if not ends or not starts:
        return list(told)
    begun = ", ".join(notice.message for notice in starts)
    last = replace(ends[-1], message=f"{ends[-1].message}; started: {begun}")
    return [last if notice is ends[-1] else notice for notice in told if notice not in starts]


def _of_cached(stages: Sequence[StageStatus]) -> tuple[Notice, ...]:
    """Tell of many stages at once: a run that repeats another may have all of them from the cache."""
    if len(stages) < 2:
        return ()
    found = ", ".join(stage.name for stage in stages)
    words = f"{len(stages)} stages are taken from the cache: {found}"
    return (Notice(kind="Normal", reason="StagesCached", message=words),)


def _of_stage(before: StageStatus, after: StageStatus) -> Notice | None:
    if after.failures > before.failures and not after.state.is_final:
        return Notice(kind="Warning", reason="PodFailed", message=f"{after.name}: {after.message}")
    if after.disruptions > before.disruptions and not after.state.is_final:
        words = after.message or "a pod was disrupted; its finished chunks stay"
        return Notice(kind="Warning", reason="PodDisrupted", message=f"{after.name}: {words}")
    if before.state is after.state or after.state in _QUIET:
        return None
    match after.state:
        case StageState.FAILED:
            return Notice(kind="Warning", reason="StageFailed", message=f"{after.name}: {after.message}")
        case StageState.SUCCEEDED:
            return Notice(kind="Normal", reason=_success(after), message=_result(after))
        case StageState.STARTING:
            return Notice(kind="Normal", reason=STARTED, message=f"{after.name} (Job {after.job})")
        case StageState.SUSPENDED:
            return Notice(kind="Normal", reason="StageSuspended", message=after.name)
        case _:
            return None


def _success(stage: StageStatus) -> str:
    return "StageCached" if stage.cached else COMMITTED


def _result(stage: StageStatus) -> str:
    rejected = ", ".join(f"{reason} {count}" for reason, count in stage.rejected.items())
    return f"{stage.name}: {stage.rows_in} in, {stage.rows_out} out" + (
        f"; rejected: {rejected}" if rejected else ""
    )


def _of_conditions(before: RunStatus, after: RunStatus) -> tuple[Notice, ...]:
    told = []
    for kind in (
        ConditionType.ACCEPTED,
        ConditionType.DEGRADED,
        ConditionType.COMPLETED,
        ConditionType.FAILED,
    ):
        old, new = before.condition(kind), after.condition(kind)
        changed = new is not None and (old is None or (old.status, old.reason) != (new.status, new.reason))
        if new is None or not changed or new.reason in ("StageFailed", "PodsFailed"):
            continue
        good = kind in (ConditionType.ACCEPTED, ConditionType.COMPLETED)
        if (new.status == "True") is good:
            if kind is ConditionType.COMPLETED:
                told.append(Notice(kind="Normal", reason="RunCompleted", message=new.message))
        elif kind is not ConditionType.COMPLETED:
            told.append(Notice(kind="Warning", reason=new.reason, message=new.message))
    return tuple(told)
