"""A published dataset on a terminal: funnel, accepted rows, rejected rows by reason."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from scalequest_jobs import ports
from scalequest_jobs.publishing.funnel import FunnelRow, reasons


def summary(console: Console, dataset: Path) -> None:
    """Print what a run ended with: the funnel, three rows, and where everything is."""
    show(console, dataset, rows=3, rejected=0)
    console.print(f"dataset  {dataset}", soft_wrap=True, highlight=False)
    console.print(f"card     {dataset / 'README.md'}", soft_wrap=True, highlight=False)


def show(console: Console, dataset: Path, *, rows: int, rejected: int, stage: str | None = None) -> None:
    """Print the funnel, some accepted rows and some rejected rows.

    Raises:
        BadInputError: the folder holds no published dataset.
    """
    try:
        report = json.loads((dataset / "report.json").read_text(encoding="utf-8"))
        shards = sorted((dataset / "data").glob("*.parquet"))
        accepted = pq.read_table(shards[0]).slice(0, rows).to_pylist()
    except (OSError, ValueError, IndexError) as error:
        raise ports.BadInputError(f"{dataset} holds no published dataset: {error}") from error
    console.print(_funnel([FunnelRow(**row) for row in report["stages"]]))
    console.print(f"{report['rows']:,} accepted rows", highlight=False)
    for row in accepted:
        console.print(_accepted(row))
    if rejected:
        _show_rejects(console, dataset, rejected, stage)


def _funnel(stages: list[FunnelRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "in", "out", "rejected", "seconds"):
        table.add_column(
            name, justify="left" if name in ("stage", "rejected") else "right", no_wrap=name == "stage"
        )
    for row in stages:
        table.add_row(
            row.node, f"{row.rows_in:,}", f"{row.rows_out:,}", reasons(row), f"{row.worker_seconds:,.1f}"
        )
    return table


def _accepted(row: Mapping[str, Any]) -> Panel:
    score = f"score {row['score']:.3f}, " if row["score"] is not None else ""
    title = (
        f"{row['question_id']}  {row['generator']}  {score}agreement {row['agreement']}/{row['candidates']}"
    )
    return Panel(Text(f"{row['query']}\n\n{row['response']}"), title=title, title_align="left")


def _show_rejects(console: Console, dataset: Path, count: int, stage: str | None) -> None:
    files = sorted((dataset / "rejects").glob(f"{stage or '*'}.parquet"))
    if stage and not files:
        raise ports.BadInputError(f"{dataset} has no rejects of a stage {stage!r}")
    for path in files:
        table = pq.read_table(path)
        for reason in sorted(set(table.column("reason").to_pylist())):
            matching = table.filter(pc.equal(table.column("reason"), reason))
            console.print(f"\n{path.stem}: {reason} ({matching.num_rows:,})", style="bold", highlight=False)
            for row in matching.slice(0, count).to_pylist():
                console.print(Text(f"  {_measure(row)}{row['text'][:500]}"))


def _measure(row: Mapping[str, Any]) -> str:
    if row["score"] is None:
        return ""
    limit = f", limit {row['limit']:.4g}" if row["limit"] is not None else ""
    return f"[score {row['score']:.4g}{limit}] "
