"""A run's conditions, phase and summary, computed from its stages and from what keeps them waiting."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scalequest_jobs.contract.status import (
    Condition,
    ConditionType,
    Phase,
    RunStatus,
    StageState,
    StageStatus,
    message,
)
from scalequest_operator.planning.waiting import Wait


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a condition says now, before it is compared with what it said."""

    holds: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the conditions are computed from."""

    stages: Sequence[StageStatus]
    waits: Mapping[str, Wait]
    """By stage name: why it does not move."""
    suspended: bool = False
    problem: Verdict | None = None
    """Why the run is not accepted."""
    ended: Verdict | None = None
    """How the run ended: `holds` when it succeeded."""


def with_conditions(
    status: RunStatus, situation: Situation, *, generation: int, now: dt.datetime
) -> RunStatus:
    """Return the status with conditions, phase and summary; transition times move only when a status flips."""
    said = _verdicts(situation)
    before = {condition.type: condition for condition in status.conditions}
    conditions = tuple(
        _condition(kind, verdict, before.get(kind), generation, now) for kind, verdict in said.items()
    )
    return status.model_copy(
        update={
            "conditions": conditions,
            "phase": phase(situation),
            "stage": summary(situation.stages),
            "observed_generation": generation,
        }
    )


def _condition(
    kind: ConditionType, verdict: Verdict, before: Condition | None, generation: int, now: dt.datetime
) -> Condition:
    status = "True" if verdict.holds else "False"
    unchanged = before is not None and before.status == status
    return Condition(
        type=kind.value,
        status=status,
        reason=verdict.reason,
        message=message(verdict.message),
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None and unchanged else now,
    )


def _verdicts(situation: Situation) -> dict[ConditionType, Verdict]:
    ended = situation.ended
    verdicts = {
        ConditionType.ACCEPTED: situation.problem or Verdict(holds=True, reason="Valid"),
        ConditionType.RUNNING: _running(situation),
        ConditionType.SUSPENDED: _suspended(situation),
        ConditionType.DEGRADED: _degraded(situation),
        ConditionType.COMPLETED: ended
        if ended and ended.holds
        else Verdict(holds=False, reason=_open(ended)),
    }
    if ended and not ended.holds:
        verdicts[ConditionType.FAILED] = Verdict(holds=True, reason=ended.reason, message=ended.message)
    return verdicts


def _open(ended: Verdict | None) -> str:
    return ended.reason if ended else "InProgress"


def _suspended(situation: Situation) -> Verdict:
    if not situation.suspended or situation.ended:
        return Verdict(holds=False, reason="NotSuspended")
    if any(stage.shards and stage.shards.running for stage in situation.stages):
        return Verdict(holds=False, reason="Suspending", message="the workers finish or abandon their chunks")
    return Verdict(holds=True, reason="Requested", message="set spec.suspend to false to go on")


def _running(situation: Situation) -> Verdict:
    if situation.ended:
        return Verdict(holds=False, reason="Finished")
    if situation.problem:
        return Verdict(holds=False, reason=situation.problem.reason, message=situation.problem.message)
    at_work = [stage.name for stage in situation.stages if stage.state is StageState.RUNNING]
    if at_work:
        return Verdict(holds=True, reason="StagesRunning", message=", ".join(at_work))
    if situation.suspended:
        return Verdict(holds=False, reason="Suspended", message="set spec.suspend to false to go on")
    if situation.waits:
        name, wait = _worst(situation.waits)
        return Verdict(holds=False, reason=wait.reason, message=f"{name}: {wait.message}")
    return Verdict(holds=False, reason="Starting")


def _worst(waits: Mapping[str, Wait]) -> tuple[str, Wait]:
    return min(waits.items(), key=lambda item: (not item[1].is_fault, item[0]))


def _degraded(situation: Situation) -> Verdict:
    """True while something is wrong that somebody may have to mend, though the run may still go on."""
    failed = [stage for stage in situation.stages if stage.state is StageState.FAILED]
    if failed:
        said = "; ".join(f"{stage.name}: {stage.message}" for stage in failed)
        return Verdict(holds=True, reason="StageFailed", message=said)
    faults = {name: wait for name, wait in situation.waits.items() if wait.is_fault}
    if faults:
        name, wait = _worst(faults)
        return Verdict(holds=True, reason=wait.reason, message=f"{name}: {wait.message}")
    retried = [stage for stage in situation.stages if stage.failures and not stage.state.is_final]
    if retried:
        said = "; ".join(f"{stage.name}: {stage.failures} failed, {stage.message}" for stage in retried)
        return Verdict(holds=True, reason="PodsFailed", message=said)
    return Verdict(holds=False, reason="AsExpected")


def phase(situation: Situation) -> Phase:
    """Return the run in one word."""
    if situation.ended:
        return Phase.SUCCEEDED if situation.ended.holds else Phase.FAILED
    if any(stage.state is StageState.FAILED for stage in situation.stages):
        return Phase.FAILING
    if situation.suspended:
        return Phase.SUSPENDED
    if any(stage.state is StageState.RUNNING for stage in situation.stages):
        return Phase.RUNNING
    moved = any(stage.state is not StageState.WAITING for stage in situation.stages)
    return Phase.RUNNING if moved and not situation.waits else Phase.PENDING


def summary(stages: Sequence[StageStatus]) -> str:
    """Return the stages at work, for the printer column."""
    active = [stage.name for stage in stages if stage.state.is_active]
    text = ", ".join(active[:2]) + (f" +{len(active) - 2}" if len(active) > 2 else "")
    return message(text, 200)
