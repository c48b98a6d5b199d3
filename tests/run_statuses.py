"""Statuses of runs as the operator writes them, for those who read them."""

import datetime as dt
from typing import Any

from scalequest_jobs.contract.status import (
    Artifact,
    Condition,
    ConditionType,
    Cost,
    Dataset,
    Phase,
    RunStatus,
    Shards,
    StageProgress,
    StageState,
    StageStatus,
)

START = dt.datetime(2026, 1, 1, 12, 0, tzinfo=dt.UTC)


def at(minutes: float) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


def condition(kind: ConditionType, status: str, reason: str, message: str = "") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=START)


def artifact(node: str) -> Artifact:
    return Artifact(key=f"runs/uid/{node}/stage-1.json", sha256="a" * 64, content=f"content of {node}")


IMPORTED = StageStatus(
    name="import-questions@seeds",
    state=StageState.SUCCEEDED,
    cached=True,
    fingerprint="1" * 64,
    artifact=artifact("import-questions@seeds"),
    rows_in=60,
    rows_out=58,
    rejected={"empty": 2},
    finished=at(0),
)

WRITING = StageStatus(
    name="generate-questions@a",
    state=StageState.RUNNING,
    attempt=1,
    job="run-generate-questions-a-1",
    shards=Shards(total=3, committed="0", running=2),
    failures=1,
    progress=StageProgress(
        rows_total=1500,
        rows_done=600,
        rows_per_second="12.34",
        tokens_per_second="4321",
        eta_seconds=754,
        activity="writing [questions]",
        updated=at(2),
    ),
    started=at(1),
)

WAITING = StageStatus(name="publish-dataset", state=StageState.WAITING)


def running(**fields: Any) -> RunStatus:
    """Return the status of a run that is on its way."""
    return RunStatus(
        observed_generation=1,
        phase=Phase.RUNNING,
        stage="generate-questions@a",
        conditions=(
            condition(ConditionType.ACCEPTED, "True", "Valid"),
            condition(ConditionType.RUNNING, "True", "StagesRunning", "generate-questions@a"),
            condition(ConditionType.DEGRADED, "False", "AsExpected"),
        ),
        stages=(IMPORTED, WRITING, WAITING),
        started=START,
        cost=Cost(gpu_hours="1.5"),
    ).model_copy(update=fields)


def published() -> RunStatus:
    """Return the status of a run that ended in a dataset."""
    done = {"state": StageState.SUCCEEDED, "progress": None, "finished": at(9), "rows_in": 40, "rows_out": 31}
    return running(
        phase=Phase.SUCCEEDED,
        stage="",
        conditions=(
            condition(ConditionType.COMPLETED, "True", "Published", "the dataset tiny has 31 rows"),
            condition(ConditionType.RUNNING, "False", "Finished"),
        ),
        stages=(
            IMPORTED,
            WRITING.model_copy(update=done | {"rejected": {"truncated": 9}}),
            WAITING.model_copy(update=done),
        ),
        dataset=Dataset(name="tiny", rows=31, artifact=artifact("publish-dataset")),
        finished=at(10),
    )


def failed() -> RunStatus:
    """Return the status of a run whose stage failed for good."""
    words = "pod x exited 65: row 7 has no [question] column"
    lost = WRITING.model_copy(
        update={"state": StageState.FAILED, "message": words, "finished": at(5), "progress": None}
    )
    return running(
        phase=Phase.FAILED,
        stage="",
        conditions=(
            condition(ConditionType.COMPLETED, "False", "StageFailed"),
            condition(ConditionType.FAILED, "True", "StageFailed", f"generate-questions@a: {words}"),
        ),
        stages=(IMPORTED, lost, WAITING),
        finished=at(6),
    )
