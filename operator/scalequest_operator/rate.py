"""A token bucket: how many requests the operator sends in a second."""

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Lets `burst` calls through at once and `per_second` in the long run, in the order in which they came."""

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 1 / per_second
        self._lead = (burst - 1) * self._interval
        self._monotonic = monotonic
        self._sleep = sleep
        self._guard = threading.Lock()
        self._next = monotonic()

    def take(self) -> None:
        """Wait for this call's turn."""
        with self._guard:
            now = self._monotonic()
            evenly = max(self._next, now)
            self._next = evenly + self._interval
        wait = evenly - self._lead - now
        if wait > 0:
            self._sleep(wait)
