"""The table of stages that people watch: of a run on this machine, and of one on a cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rich.table import Table
from rich.text import Text

_LEFT_ALIGNED: Final = frozenset({"stage", "state", "rejected", ""})
_COLUMNS: Final = ("stage", "state", "in", "kept", "rejected", "rows/s", "tokens/s", "left", "")

_STYLES: Final = {
    "running": "yellow",
    "done": "green",
    "cached": "cyan",
    "failed": "bold red",
    "waiting": "dim",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One stage. Texts are shown as they are; an empty one leaves its place empty."""

    stage: str
    state: str
    seconds: float = 0.0
    """How long it has been at work, or was."""
    rows_in: str = ""
    kept: str = ""
    rejected: str = ""
    rows_per_second: str = ""
    tokens_per_second: str = ""
    left: str = ""
    note: str = ""


def table(rows: Iterable[Row]) -> Table:
    """Return the table of some stages, in their order."""
    drawn = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        drawn.add_column(name, justify="left" if name in _LEFT_ALIGNED else "right")
    for row in rows:
        cells = (
            row.rows_in,
            row.kept,
            row.rejected,
            row.rows_per_second,
            row.tokens_per_second,
            row.left,
            row.note,
        )
        # As text, since a message may hold what rich takes for markup.
        drawn.add_row(Text(row.stage), _state(row), *(Text(cell) for cell in cells))
    return drawn


def _state(row: Row) -> Text:
    state = Text(row.state, style=_STYLES.get(row.state, "white"))
    return state.append(f" {duration(row.seconds)}", style="default") if row.seconds >= 1 else state


def duration(seconds: float) -> str:
    """Return a time span for people: 95s, 12m05s, 3h04m, 2d05h."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole}s"
    if whole < 2 * 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def reasons(rejected: Mapping[str, int]) -> str:
    """Return the three most frequent reasons with their counts."""
    ordered = sorted(rejected.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{reason} {count:,}" for reason, count in ordered[:3])
    return shown + (" ..." if len(ordered) > 3 else "")
