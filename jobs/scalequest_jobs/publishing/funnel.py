"""The funnel of a run: what went into each stage, what came out, and why the rest did not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scalequest_jobs.contract.artifact import StageManifest


@dataclass(frozen=True, kw_only=True)
class FunnelRow:
    """One stage. Seconds are of workers, added up over shards."""

    node: str
    rows_in: int
    rows_out: int
    rejected: Mapping[str, int]
    prompt_tokens: int
    completion_tokens: int
    cost_micro_usd: int
    worker_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def funnel(manifests: Mapping[str, StageManifest]) -> tuple[FunnelRow, ...]:
    """Return the stages, given by node, in the order in which they began."""
    ordered = sorted(manifests.items(), key=lambda item: (item[1].started, item[0]))
    return tuple(
        FunnelRow(
            node=node,
            rows_in=manifest.counts.rows_in,
            rows_out=manifest.counts.rows_out,
            rejected=dict(sorted(manifest.counts.rejected.items(), key=lambda item: -item[1])),
            prompt_tokens=manifest.counts.prompt_tokens,
            completion_tokens=manifest.counts.completion_tokens,
            cost_micro_usd=manifest.counts.cost_micro_usd,
            worker_seconds=round(manifest.worker_seconds, 3),
        )
        for node, manifest in ordered
    )


def reasons(row: FunnelRow, most: int = 6) -> str:
    """Return a row's rejections in words, the most frequent first."""
    parts = [f"{reason} {count:,}" for reason, count in row.rejected.items()]
    return ", ".join(parts[:most]) + (", ..." if len(parts) > most else "")


def markdown(rows: Sequence[FunnelRow]) -> str:
    """Return the funnel as a Markdown table."""
    lines = ["| stage | in | out | rejected | worker seconds |", "|---|---:|---:|---|---:|"]
    lines += [
        f"| {row.node} | {row.rows_in:,} | {row.rows_out:,} | {reasons(row)} | {row.worker_seconds:,.1f} |"
        for row in rows
    ]
    return "\n".join(lines)
