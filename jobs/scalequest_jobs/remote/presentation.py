"""Runs on a cluster for people and for programs: a table of stages, a list of runs, JSON."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scalequest_jobs.contract.status import StageState, StageStatus, indexes, rfc3339
from scalequest_jobs.local import stage_table
from scalequest_jobs.remote import remote_run
from scalequest_jobs.remote.remote_run import RemoteRun

_PHASE_STYLES: Final = {
    "Running": "yellow",
    "Succeeded": "green",
    "Failed": "bold red",
    "Failing": "bold red",
}


def overview(run: RemoteRun, now: dt.datetime) -> RenderableType:
    """Return all that the status says of a run: a headline, the reason where there is one, the stages."""
    parts: list[RenderableType] = [_headline(run, now)]
    # Above the table: a terminal that is too low for it cuts off its end.
    if words := remote_run.reason(run, now):
        parts.append(Text(words, style="red" if run.is_finished and not run.is_published else "default"))
    if run.status.stages:
        parts.append(stage_table.table(row(stage, now) for stage in run.status.stages))
    return Group(*parts)


def _headline(run: RemoteRun, now: dt.datetime) -> Text:
    line = Text(f"{run.name}  ").append(run.phase, style=_PHASE_STYLES.get(run.phase, "white"))
    if seconds := run.seconds(now):
        line.append(f"  {stage_table.duration(seconds)}")
    if cost := run.status.cost:
        line.append(f"  {cost.gpu_hours} GPU-h" if cost.gpu_hours else "")
        line.append(f"  {cost.usd} USD" if cost.usd else "")
    return line


def state(stage: StageStatus) -> str:
    """Return a stage's state in the word that a run on this machine has for it."""
    if stage.state is StageState.SUCCEEDED:
        return "cached" if stage.cached else "done"
    return stage.state.value.lower()


def row(stage: StageStatus, now: dt.datetime) -> stage_table.Row:
    """Return a stage's line of the table."""
    progress = stage.progress if stage.state is StageState.RUNNING else None
    if progress is not None:
        rows_in = f"{progress.rows_done:,}/{progress.rows_total:,}"
    else:
        rows_in = "" if stage.rows_in is None else f"{stage.rows_in:,}"
    return stage_table.Row(
        stage=stage.name,
        state=state(stage),
        seconds=((stage.finished or now) - stage.started).total_seconds() if stage.started else 0.0,
        rows_in=rows_in,
        kept="" if stage.rows_out is None else f"{stage.rows_out:,}",
        rejected=stage_table.reasons(stage.rejected),
        rows_per_second=_rate(progress.rows_per_second) if progress else "",
        tokens_per_second=_rate(progress.tokens_per_second) if progress else "",
        left=stage_table.duration(progress.eta_seconds) if progress and progress.eta_seconds else "",
        note=_note(stage),
    )


def _rate(text: str) -> str:
    return f"{float(text):,.4g}" if text and float(text) < 1000 else f"{float(text):,.0f}" if text else ""


def _note(stage: StageStatus) -> str:
    parts = []
    shards = stage.shards
    if shards is not None and shards.total > 1 and not stage.state.is_final:
        done = len(indexes(shards.committed))
        parts.append(f"{done}/{shards.total} shards, {shards.running} running")
    if stage.failures and not stage.state.is_final:
        parts.append(f"{stage.failures} failed")
    if stage.disruptions and not stage.state.is_final:
        parts.append(f"{stage.disruptions} disrupted")
    if stage.message:
        parts.append(stage.message)
    elif stage.progress is not None and stage.progress.activity and not stage.state.is_final:
        parts.append(stage.progress.activity)
    return "; ".join(parts)


def listing(runs: Sequence[RemoteRun], now: dt.datetime) -> Table:
    """Return a table with a line for each run, newest first."""
    table = Table(box=None, pad_edge=False)
    for name in ("name", "phase", "stage", "accepted", "GPU-h", "cost", "age"):
        table.add_column(name, justify="right" if name in ("accepted", "GPU-h", "cost", "age") else "left")
    for run in sorted(runs, key=lambda run: run.created, reverse=True):
        dataset, cost = run.status.dataset, run.status.cost
        cells = (
            run.status.stage,
            f"{dataset.rows:,}" if dataset else "",
            cost.gpu_hours if cost else "",
            cost.usd if cost else "",
            stage_table.duration((now - run.created).total_seconds()),
        )
        phase = Text(run.phase, style=_PHASE_STYLES.get(run.phase, "white"))
        table.add_row(Text(run.name), phase, *(Text(cell) for cell in cells))
    return table


def as_json(run: RemoteRun) -> dict[str, Any]:
    """Return a run's state for programs: who it is, what it is asked, and its status as Kubernetes has it."""
    return {
        "namespace": run.namespace,
        "name": run.name,
        "uid": run.uid,
        "created": rfc3339(run.created),
        "phase": run.phase,
        "suspend": run.is_suspended,
        "cancel": run.is_cancelled,
        "finished": run.is_finished,
        "published": run.is_published,
        "status": run.status.body(),
    }
