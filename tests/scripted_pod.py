"""`python -m scripted_pod run STAGE`: a stage in a pod, with scripted engines and the faults that a test asks for.

Faults come from the environment, so that a profile can name them:
SCRIPTED_EXIT `STAGE=CODE[*TIMES]`: the worker ends with this code before it does anything, the first TIMES attempts of a shard.
SCRIPTED_SECONDS: each engine request takes this long, so that a stage can be interrupted.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from scalequest_jobs import pod, ports
from scalequest_jobs.contract.launch import Env, ExitCode, Termination
from scalequest_jobs.contract.stage import Order
from scripted_world import WorldEngines


class SlowGenerator:
    """A generator that takes its time for every answer."""

    def __init__(self, inner: ports.TextGenerator, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    def generate(self, requests: Iterable[ports.Request]) -> Iterator[ports.Completion]:
        for answer in self._inner.generate(requests):
            time.sleep(self._seconds)
            yield answer

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class PodEngines(WorldEngines):
    """The scripted world, as slow as the environment says."""

    def generator(self, model: Path) -> ports.TextGenerator:
        seconds = float(os.environ.get("SCRIPTED_SECONDS", "0"))
        inner = super().generator(model)
        return SlowGenerator(inner, seconds) if seconds else inner


def make_engines(_order: Order) -> ports.Engines:
    return PodEngines()


def _scripted_exit(stage: str) -> int | None:
    """Return the code that this attempt is to end with; earlier attempts of the shard are counted by the Job."""
    named, _, rest = os.environ.get("SCRIPTED_EXIT", "").partition("=")
    if named != stage:
        return None
    code, _, times = rest.partition("*")
    failed_before = int(os.environ.get("JOB_INDEX_FAILURES", "0"))
    return int(code) if failed_before < int(times or 1_000_000) else None


def main() -> int:
    stage = sys.argv[2]
    code = _scripted_exit(stage)
    if code is None:
        return pod.run_stage(stage, dict(os.environ), make_engines)
    words = Termination(
        error=ExitCode(code).name if code in list(ExitCode) else "", message=f"told to end with {code}"
    )
    Path(os.environ.get(Env.TERMINATION_LOG, "/dev/termination-log")).write_text(words.encode())
    if code == 137:
        os.kill(os.getpid(), 9)
    return code


if __name__ == "__main__":
    sys.exit(main())
