"""How fast requests may leave."""

import threading

from scalequest_jobs import retry


class Pace:
    """Spaces requests evenly: no window of a minute starts more than `per_minute` of them, plus one.

    0 is no limit. A server's wish to wait holds back all requests, not only the one that heard it.
    Thread-safe.
    """

    def __init__(self, per_minute: int, clock: retry.Clock) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = 0.0
        self._guard = threading.Lock()

    def turn(self, stop: threading.Event) -> None:
        """Wait for one's turn to send; returns earlier when `stop` is set."""
        with self._guard:
            now = self._clock.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._interval
        if mine > now:
            self._clock.sleep(mine - now, stop)

    def hold(self, seconds: float) -> None:
        """Let nobody send for this long."""
        with self._guard:
            self._next = max(self._next, self._clock.monotonic() + seconds)
