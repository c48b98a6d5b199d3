"""Many schedules in several processes; a failing one names its seed and how to see it again."""

import logging
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from scalequest_jobs import catalog
from schedules import graph
from schedules.schedule import Schedule

STEPS: Final = 60
"""Things that happen before the faults stop, besides those in the middle of an operator's work."""

REPLAY: Final = "PYTHONPATH=tests:examples .venv/bin/python -m schedules {seed}"


def prepare() -> None:
    """Give a process that runs nothing else the tiny graph, and let it keep to itself what operators log."""
    catalog.STAGES = graph.STAGES
    logging.disable(logging.CRITICAL)


def attempt(seeds: Iterable[int]) -> tuple[list[str], Counter[str]]:
    """Run schedules; return a line for each that breaks an invariant, and how the others ended."""
    broken: list[str] = []
    ends: Counter[str] = Counter()
    for seed in seeds:
        try:
            ends[run(seed)] += 1
        except Exception as error:  # noqa: BLE001 - a defect of the operator is what is looked for
            broken.append(
                f"seed {seed}: {type(error).__name__}: {str(error)[:300]}; {REPLAY.format(seed=seed)}"
            )
    return broken, ends


def run(seed: int) -> str:
    """Run one schedule and return how it ended."""
    schedule = Schedule(seed)
    schedule.run(STEPS)
    status = schedule.status()
    return "Gone" if status is None else str(status.phase)


def attempt_all(seeds: range, *, block: int = 100) -> tuple[list[str], Counter[str]]:
    """Run schedules in as many processes as there are cores."""
    blocks = [seeds[start : start + block] for start in range(0, len(seeds), block)]
    context = multiprocessing.get_context("spawn")
    broken: list[str] = []
    ends: Counter[str] = Counter()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=prepare) as pool:
        for some_broken, some_ends in pool.map(attempt, blocks):
            broken += some_broken
            ends += some_ends
    return broken, ends
