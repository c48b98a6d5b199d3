"""A clock that moves when someone sleeps."""

import threading


class FakeClock:
    """Time stands still but for `sleep`, which returns at once and moves it on. Thread-safe."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._elapsed = 0.0
        self._wall = wall
        self._guard = threading.Lock()
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self._elapsed

    def wall(self) -> float:
        return self._wall + self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._guard:
            self._elapsed += seconds

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        with self._guard:
            self.slept.append(seconds)
            self._elapsed += seconds
