"""Locks between processes, which end with their holder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class HeldError(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of `path` until the block ends; with `wait` off raise HeldError when another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise HeldError(f"another process holds {path}") from None
    try:
        yield
    finally:
        os.close(handle)
