"""Processes that outlive their starter, each known by a variable in its environment.

A variable cannot go stale as a file of process ids does: it is found for as long as the process or any of its children lives, also
after the starter was killed, and never names a stranger.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

from . import waiting

_VARIABLE: Final = "SCALEQUEST_LAB_PROCESS"


def start(folder: Path, name: str, command: list[str]) -> int:
    """Start `command` in a session of its own, with its output in `folder`/`name`.log; return its process id."""
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return os.posix_spawnp(
            command[0],
            command,
            {**os.environ, _VARIABLE: f"{folder}:{name}"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE],  # Python ignores it, and a child would inherit that
        )
    finally:
        os.close(log)


def find(folder: Path, name: str = "") -> list[int]:
    """Return the ids of the processes that were started with `folder`: of all, of `name`, or of all of `name`/..."""
    return [pid for pid in _all_pids() if _is_started_as(pid, folder, name)]


def stop(folder: Path, name: str = "") -> None:
    """Kill the processes that `find` finds, and return when they are gone."""

    def kill() -> bool:
        pids = find(folder, name)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        return not pids

    waiting.until(kill, f"the end of {name or 'every process'} of {folder}", seconds=30)


def send(folder: Path, name: str, number: signal.Signals) -> None:
    """Send a signal to the processes of `name`."""
    pids = find(folder, name)
    if not pids:
        raise ProcessLookupError(f"no process of {name} runs; start it first (log: {folder / name}.log)")
    for pid in pids:
        os.kill(pid, number)


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _is_started_as(pid: int, folder: Path, name: str) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:  # gone, or another user's
        return False
    mark = f"{_VARIABLE}={folder}:{name}"
    return any(found == mark or found.startswith(f"{mark}/" if name else mark) for found in variables)
