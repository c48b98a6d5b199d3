"""What became of a pod, by its conditions and exit code, never by the text of a message; and the two budgets."""

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import pydantic

from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.compute import Retries
from scalequest_jobs.contract.launch import ExitCode, Termination
from scalequest_jobs.contract.status import MAX_COUNTED, StageStatus, message
from scalequest_operator.planning.model import JobView, PodView

_STOPPED: Final = frozenset({None, ExitCode.TRY_AGAIN, 128 + signal.SIGKILL, 128 + signal.SIGTERM})
"""Exit codes of a worker that was told to end."""

UID_PREFIX: Final = 12
"""Characters of a pod's UID that tell it apart from the other pods of a stage."""


class Fate(StrEnum):
    """What became of a pod."""

    ALIVE = "alive"
    SUCCEEDED = "succeeded"
    DISRUPTED = "disrupted"
    """Lost to preemption, eviction, a drain, a lost node or a deletion: spends no failures."""
    FAILED = "failed"
    """Failed by itself; another attempt may succeed."""
    HOPELESS = "hopeless"
    """Bad parameters or bad input: another attempt would fail the same way."""


def fate(pod: PodView) -> Fate:
    """Return what became of a pod."""
    if pod.phase == "Succeeded":
        return Fate.SUCCEEDED
    if pod.phase != "Failed":
        return Fate.ALIVE
    if pod.exit_code in (ExitCode.BAD_PARAMETERS, ExitCode.BAD_INPUT):
        return Fate.HOPELESS
    if pod.disruption or (pod.deleted is not None and pod.exit_code in _STOPPED):
        return Fate.DISRUPTED
    return Fate.FAILED


@dataclass(frozen=True, kw_only=True)
class Losses:
    """How many pods of a stage were lost, and which of them are counted."""

    failures: int
    disruptions: int
    counted: tuple[str, ...] = ()
    counted_more: int = 0


def losses(status: StageStatus, pods: Sequence[PodView], *, suspended: bool = False) -> Losses:
    """Return the stage's losses with those of `pods` that are not counted yet.

    A pod is counted once however often it is seen, also across restarts and by an operator that has not heard
    of it yet: the start of its UID stays in the status. Where there are too many to name, the oldest are known
    by their number. A pod that ends because its user suspended the run is no loss.
    """
    lost = [pod for pod in pods if fate(pod) not in (Fate.ALIVE, Fate.SUCCEEDED)]
    lost.sort(key=lambda pod: (pod.created, pod.uid))
    unnamed = [pod for pod in lost if pod.uid[:UID_PREFIX] not in status.counted]
    new = unnamed[status.counted_more :]
    fates = [fate(pod) for pod in new if not (suspended and pod.deleted)]
    disruptions = fates.count(Fate.DISRUPTED)
    uids = [pod.uid[:UID_PREFIX] for pod in lost]
    counted = _bounded([*status.counted, *(pod.uid[:UID_PREFIX] for pod in new)], uids)
    return Losses(
        failures=status.failures + len(fates) - disruptions,
        disruptions=status.disruptions + disruptions,
        counted=tuple(counted),
        counted_more=len(set(uids) - set(counted)),
    )


def _bounded(counted: Sequence[str], seen: Sequence[str]) -> list[str]:
    """Return as many UIDs as there is room for: those that are not seen go first, then the oldest."""
    excess = max(0, len(counted) - MAX_COUNTED)
    gone = set([uid for uid in counted if uid not in set(seen)][:excess])
    return [uid for uid in counted if uid not in gone][-MAX_COUNTED:]


def spent(retries: Retries, losses: Losses) -> str:
    """Return why the stage may lose no more pods to disruptions; empty while it may.

    Failures by themselves are counted by the Job, shard by shard (`backoffLimitPerIndex`).
    """
    if retries.disruptions == "unlimited" or losses.disruptions <= retries.disruptions:
        return ""
    return (
        f"{losses.disruptions} pods were lost to disruptions, {retries.disruptions} are allowed; "
        "raise retries.disruptions in a new run, which reuses every finished stage"
    )


def last_words(pod: PodView) -> Termination:
    """Return what a worker left; what is no termination message of ours becomes its message."""
    try:
        return Termination.model_validate_json(pod.termination)
    except pydantic.ValidationError:
        return Termination(message=pod.termination)


def manifests(job: JobView, pods: Iterable[PodView]) -> tuple[tuple[int, ArtifactRef], ...]:
    """Return the shard manifests that a Job's succeeded pods named, by shard."""
    found: dict[int, ArtifactRef] = {}
    for pod in sorted(pods, key=lambda pod: (pod.created, pod.name)):
        words = last_words(pod)
        if pod.job_uid == job.uid and fate(pod) is Fate.SUCCEEDED and words.manifest and words.sha256:
            found.setdefault(pod.index, ArtifactRef(key=words.manifest, sha256=words.sha256))
    return tuple(sorted(found.items()))


def describe(pod: PodView) -> str:
    """Return what a lost pod says of its end, in one line."""
    words = last_words(pod)
    said = message(words.message) or pod.ended_reason or "no message"
    code = "" if pod.exit_code is None else f", exit code {pod.exit_code}"
    why = f" ({pod.disruption})" if pod.disruption else ""
    return f"pod {pod.name}{code}{why}: {said}"


def newest_loss(pods: Iterable[PodView]) -> PodView | None:
    """Return the lost pod that was created last; one that failed by itself comes before those that were told to end."""
    order = (Fate.DISRUPTED, Fate.FAILED, Fate.HOPELESS)
    lost = [pod for pod in pods if fate(pod) in order]
    return max(lost, key=lambda pod: (order.index(fate(pod)), pod.created, pod.name), default=None)
