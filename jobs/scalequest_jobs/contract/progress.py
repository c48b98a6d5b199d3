"""What a running worker reports: counts with units, as one small JSON record."""

from collections.abc import Collection
from typing import Annotated

import pydantic


class Progress(pydantic.BaseModel):
    """Where one shard stands. Rates are over the last minute or so of work, None before there is one."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    node: str
    shard: int
    activity: str = ""
    rows_total: int = 0
    rows_done: int = 0
    rows_kept: int = 0
    rejected: dict[str, int] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0
    rows_per_second: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    step: int = 0
    total_steps: int = 0
    metrics: dict[str, float] = {}
    updated: Annotated[float, pydantic.Field(description="Unix time, seconds")] = 0.0


def merge(counts: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    """Return the sums of two count maps, keys sorted."""
    return {key: counts.get(key, 0) + more.get(key, 0) for key in sorted({*counts, *more})}


def combine(shards: Collection[Progress]) -> Progress:
    """Return where a stage stands: the rows and tokens of its shards so far, the rest as the latest of them says."""
    latest = max(shards, key=lambda progress: progress.updated)
    total, done = (sum(getattr(shard, name) for shard in shards) for name in ("rows_total", "rows_done"))
    rejected: dict[str, int] = {}
    for shard in shards:
        rejected = merge(rejected, shard.rejected)
    rate = latest.rows_per_second
    return latest.model_copy(
        update={
            "rows_total": total,
            "rows_done": done,
            "rows_kept": sum(shard.rows_kept for shard in shards),
            "rejected": rejected,
            "prompt_tokens": sum(shard.prompt_tokens for shard in shards),
            "completion_tokens": sum(shard.completion_tokens for shard in shards),
            "eta_seconds": (total - done) / rate if rate else latest.eta_seconds,
        }
    )
