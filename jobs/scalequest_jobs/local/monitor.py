"""What a person sees of a local run: a live table on a terminal, log lines elsewhere."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from scalequest_jobs.contract.artifact import Counts
from scalequest_jobs.contract.progress import Progress
from scalequest_jobs.local import stage_table


class Monitor(Protocol):
    """Told of everything that happens in a local run."""

    def planned(self, nodes: Sequence[str]) -> None:
        """The run has these stages, in this order."""

    def changed(self, node: str, state: str, *, counts: Counts | None = None, message: str = "") -> None:
        """A stage is now running, cached, done, failed, retrying or stopped."""

    def progressed(self, progress: Progress) -> None:
        """A worker reported."""

    def close(self) -> None:
        """The run ended."""


class LogMonitor:
    """One JSON line an event; progress of a stage at most every ten seconds."""

    INTERVAL_SECONDS = 10.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: dict[str, float] = {}

    def planned(self, nodes: Sequence[str]) -> None:
        """Print the stages."""
        self._print(event="planned", stages=list(nodes))

    def changed(self, node: str, state: str, *, counts: Counts | None = None, message: str = "") -> None:
        """Print a stage's new state, with its counts once it has any."""
        fields = counts.model_dump(exclude_defaults=True) if counts else {}
        self._print(
            event="stage", stage=node, state=state, **fields, **({"message": message} if message else {})
        )

    def progressed(self, progress: Progress) -> None:
        """Print a worker's record, unless one was printed just before."""
        if time.monotonic() - self._last.get(progress.node, float("-inf")) < self.INTERVAL_SECONDS:
            return
        self._last[progress.node] = time.monotonic()
        fields = progress.model_dump(exclude_defaults=True, exclude={"node", "updated"})
        self._print(event="progress", stage=progress.node, **_rounded(fields))

    def close(self) -> None:
        """Nothing is left to do."""

    def _print(self, **fields: object) -> None:
        log_line(self._stream, **fields)


def log_line(stream: TextIO, **fields: object) -> None:
    """Print an event as one line of JSON with the time."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(json.dumps({"time": stamp, **fields}), file=stream, flush=True)


def _rounded(fields: dict[str, object]) -> dict[str, object]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}


@dataclass(frozen=True, kw_only=True)
class _Line:
    """What the table shows of one stage."""

    state: str = "waiting"
    message: str = ""
    counts: Counts | None = None
    progress: Progress | None = None
    started: float = 0.0
    ended: float = 0.0


class TableMonitor:
    """A live table of the stages."""

    def __init__(self, console: Console) -> None:
        self._lines: dict[str, _Line] = {}
        self._live = Live(console=console, refresh_per_second=2, get_renderable=self._table)
        self._live.start()

    def planned(self, nodes: Sequence[str]) -> None:
        """Show the stages as waiting."""
        self._lines = {node: _Line() for node in nodes}

    def changed(self, node: str, state: str, *, counts: Counts | None = None, message: str = "") -> None:
        """Show a stage's new state."""
        line, now = self._lines[node], time.monotonic()
        started = now if state == "running" and not line.started else line.started
        self._lines[node] = replace(
            line, state=state, message=message, counts=counts, started=started, ended=now
        )

    def progressed(self, progress: Progress) -> None:
        """Show a worker's record."""
        self._lines[progress.node] = replace(self._lines[progress.node], progress=progress)

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()

    def _table(self) -> Table:
        return stage_table.table(_row(node, line) for node, line in self._lines.items())


def _row(node: str, line: _Line) -> stage_table.Row:
    until = line.ended if line.counts else time.monotonic()
    row = stage_table.Row(
        stage=node, state=line.state, seconds=until - line.started if line.started else 0, note=line.message
    )
    if line.counts is not None:
        counts = line.counts
        return replace(
            row,
            rows_in=f"{counts.rows_in:,}",
            kept=f"{counts.rows_out:,}",
            rejected=stage_table.reasons(counts.rejected),
        )
    return _at_work(row, line.progress) if line.progress and line.state == "running" else row


def _at_work(row: stage_table.Row, progress: Progress) -> stage_table.Row:
    steps = f"step {progress.step}/{progress.total_steps} " if progress.total_steps else ""
    loss = f"loss {progress.metrics['loss']:.3f}" if "loss" in progress.metrics else ""
    return replace(
        row,
        rows_in=f"{progress.rows_done:,}/{progress.rows_total:,}",
        kept=f"{progress.rows_kept:,}",
        rejected=stage_table.reasons(progress.rejected),
        rows_per_second=f"{progress.rows_per_second:,.1f}" if progress.rows_per_second and not steps else "",
        tokens_per_second=f"{progress.tokens_per_second:,.0f}" if progress.tokens_per_second else "",
        left=stage_table.duration(progress.eta_seconds) if progress.eta_seconds else "",
        note=(steps + loss) or progress.activity,
    )
