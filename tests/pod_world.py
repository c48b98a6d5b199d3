"""`python tests/pod_world.py STAGE`: a pod's worker with scripted engines.

With POD_PAUSE_AFTER=N it makes the file POD_PAUSED and waits for a signal before the Nth answer of its generator;
with POD_DEFECT set its engines raise an error that no stage raises on purpose.
"""

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples")]

from fakes import ScriptedGenerator  # noqa: E402 - the test folders come first
from scalequest_jobs import pod, ports  # noqa: E402
from scripted_world import WorldEngines, reply  # noqa: E402


class PausingEngines(WorldEngines):
    """The world's engines, whose generator waits for a signal once."""

    answers = 0

    def generator(self, model: Path) -> ports.TextGenerator:
        if "POD_DEFECT" in os.environ:
            raise ZeroDivisionError("nobody thought of this")
        return ScriptedGenerator(self._reply, max_length=100_000)

    def _reply(self, request: ports.Request, sample: int) -> str:
        self.answers += 1
        if self.answers == int(os.environ.get("POD_PAUSE_AFTER", "0")):
            Path(os.environ["POD_PAUSED"]).touch()
            signal.pause()
        return reply(request, sample)


if __name__ == "__main__":
    sys.exit(pod.run_stage(sys.argv[1], dict(os.environ), lambda _order: PausingEngines()))
