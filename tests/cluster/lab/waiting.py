"""Wait for a condition, and say which one did not come."""

import threading
import time
from collections.abc import Callable
from pathlib import Path


class NotInTimeError(Exception):
    """A condition did not hold in time; the message has the end of the log that may tell why."""


def until(condition: Callable[[], bool], what: str, *, seconds: float = 60, log: Path | None = None) -> None:
    """Return as soon as `condition` holds; raise NotInTimeError when it has not after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTimeError(f"{what}: not within {seconds:.0f} s{_end_of(log)}")
        pause.wait(0.05)


def _end_of(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    return f"; the end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
