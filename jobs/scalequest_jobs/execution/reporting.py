"""Progress of one shard: counted here, handed to sinks at a bounded rate."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import Counts
from scalequest_jobs.contract.progress import Progress, merge

logger = logging.getLogger(__name__)

Sink = Callable[[Progress], None]

RATE_WINDOW_SECONDS: Final = 60.0


class Reporter:
    """Counts what a worker does. `sinks` maps each sink to the least seconds between two calls."""

    def __init__(
        self, node: str, shard: int, sinks: Mapping[Sink, float], clock: Callable[[], float] = time.time
    ) -> None:
        self._sinks = dict(sinks)
        self._last_sent = dict.fromkeys(self._sinks, float("-inf"))
        self._clock = clock
        self._progress = Progress(node=node, shard=shard)
        self._history: deque[tuple[float, int, int]] = deque()

    @property
    def progress(self) -> Progress:
        """The latest record."""
        return self._progress

    def activity(self, text: str) -> None:
        """Say what the worker does now, for example that it loads a model."""
        logger.info("%s: %s", self._progress.node, text)
        self._update(force=True, activity=text)

    def fetched(self, text: str) -> None:
        """Say how far a download is; unlike `activity` this comes often and is not logged."""
        self._update(activity=text)

    def begin(self, total: int, adopted: Counts) -> None:
        """Set the rows to do and those that earlier attempts did; rates start here."""
        self._history.clear()
        self._update(
            force=True,
            rows_total=total,
            rows_done=adopted.rows_in,
            rows_kept=adopted.rows_out,
            rejected=adopted.rejected,
        )

    def answered(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one engine answer."""
        self._update(
            prompt_tokens=self._progress.prompt_tokens + prompt_tokens,
            completion_tokens=self._progress.completion_tokens + completion_tokens,
        )

    def committed(self, counts: Counts) -> None:
        """Count one committed chunk."""
        self._update(
            force=True,
            rows_done=self._progress.rows_done + counts.rows_in,
            rows_kept=self._progress.rows_kept + counts.rows_out,
            rejected=merge(self._progress.rejected, counts.rejected),
        )

    def trained(self, progress: ports.TrainingProgress) -> None:
        """Record where training is."""
        self._update(step=progress.step, total_steps=progress.total_steps, metrics=dict(progress.metrics))

    def _update(self, *, force: bool = False, **fields: object) -> None:
        now = self._clock()
        changed = self._progress.model_copy(update={**fields, "updated": now})
        self._progress = changed.model_copy(update=self._rates(changed, now))
        for sink, interval in self._sinks.items():
            if force or now - self._last_sent[sink] >= interval:
                self._last_sent[sink] = now
                sink(self._progress)

    def _rates(self, progress: Progress, now: float) -> dict[str, float | None]:
        done = progress.step if progress.total_steps else progress.rows_done
        total = progress.total_steps or progress.rows_total
        self._history.append((now, done, progress.prompt_tokens + progress.completion_tokens))
        # One record older than the window stays: after a stall a burst of records says nothing by itself.
        while len(self._history) > 1 and now - self._history[1][0] >= RATE_WINDOW_SECONDS:
            self._history.popleft()
        start, done_then, tokens_then = self._history[0]
        seconds = now - start
        if seconds <= 0:
            return {"rows_per_second": None, "tokens_per_second": None, "eta_seconds": None}
        rate = (done - done_then) / seconds
        tokens = (self._history[-1][2] - tokens_then) / seconds
        return {
            "rows_per_second": None if progress.total_steps else rate or None,
            "tokens_per_second": tokens or None,
            "eta_seconds": (total - done) / rate if rate > 0 else None,
        }
