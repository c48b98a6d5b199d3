"""One training loop for every model of the tiny world, on one CPU thread."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

IGNORED = -100
_BATCHES_PER_BUCKET = 16
_REPORT_EVERY = 50


class Row(NamedTuple):
    """Token ids and, for each, a label or IGNORED."""

    ids: list[int]
    labels: list[int]


class Batch(NamedTuple):
    """Rows padded on the right: `ids_bt` and `labels_bt`."""

    ids_bt: torch.Tensor
    labels_bt: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train.

    The learning rate rises over `warmup` steps, holds for `hold` of the steps and falls to 3 %.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 50
    hold: float = 0.6
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        falling = self.steps * (1 - self.hold)
        fall = (self.steps - step) / falling if falling else 1.0
        return self.learning_rate * min((step + 1) / self.warmup, 1.0, max(fall, 0.03))


def train(
    model: torch.nn.Module,
    rows: Callable[[random.Random], Row],
    loss: Callable[[Batch], torch.Tensor],
    schedule: Schedule,
    pad_id: int,
) -> None:
    """Train a model in place on an endless source of rows.

    Args: loss: a scalar, the mean over the batch's labelled tokens.
    """
    torch.manual_seed(schedule.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, betas=(0.9, 0.95), weight_decay=0.05
    )
    source = batches(random.Random(schedule.seed), rows, schedule.batch_size, pad_id)
    recent: list[float] = []
    started = time.perf_counter()
    model.train()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        # bfloat16 and eager attention: 1.7 times as fast as float32 with fused attention, whose
        # backward pass is slow on a CPU.
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(next(source))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(value.item())
        if len(recent) == _REPORT_EVERY or step + 1 == schedule.steps:
            _report(step + 1, schedule.steps, recent, started)
            recent.clear()


def batches(
    rng: random.Random, rows: Callable[[random.Random], Row], size: int, pad_id: int
) -> Iterator[Batch]:
    """Yield batches of rows of like length, for ever."""
    while True:
        bucket = sorted((rows(rng) for _ in range(size * _BATCHES_PER_BUCKET)), key=_length)
        starts = list(range(0, len(bucket), size))
        rng.shuffle(starts)
        for start in starts:
            yield padded(bucket[start : start + size], pad_id)


def padded(rows: list[Row], pad_id: int) -> Batch:
    """Return rows as one batch."""
    length = max(map(_length, rows))
    ids_bt = torch.full((len(rows), length), pad_id)
    labels_bt = torch.full((len(rows), length), IGNORED)
    for index, row in enumerate(rows):
        ids_bt[index, : len(row.ids)] = torch.tensor(row.ids)
        labels_bt[index, : len(row.ids)] = torch.tensor(row.labels)
    return Batch(ids_bt, labels_bt)


def _length(row: Row) -> int:
    return len(row.ids)


def _report(step: int, steps: int, losses: list[float], started: float) -> None:
    mean = sum(losses) / len(losses)
    elapsed = time.perf_counter() - started
    print(f"step {step}/{steps} loss {mean:.4f} {elapsed:.0f} s", flush=True)
