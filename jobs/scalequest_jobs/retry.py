"""When a failed call is tried again, and how long to wait before it."""

import datetime as dt
import email.utils
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

from scalequest_jobs import ports

Result = TypeVar("Result")

Kind = Literal["busy", "failed", "unreachable"]
"""busy: asked to slow down. failed: taken and not answered. unreachable: never taken."""

TRANSIENT_STATUSES: Final = frozenset({408, 409, 425, 429, *range(500, 600)})
"""RFC 9110 section 15 and RFC 6585: another attempt may be answered otherwise."""


class Clock(Protocol):
    """Time and sleep, so that a test of waiting does not wait."""

    def monotonic(self) -> float:
        """Return seconds since any fixed moment."""

    def wall(self) -> float:
        """Return seconds since 1970 (UTC)."""

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        """Wait, or return earlier when `stop` is set."""


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return seconds since any fixed moment."""
        return time.monotonic()

    def wall(self) -> float:
        """Return seconds since 1970 (UTC)."""
        return time.time()

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        """Wait, or return earlier when `stop` is set."""
        stop.wait(seconds)


SYSTEM_CLOCK: Final = SystemClock()


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How often and how far apart: attempt n waits up to `first_seconds * 2**n`, at most `max_seconds`.

    The wait is drawn uniformly from zero up ("full jitter": AWS Architecture Blog, "Exponential
    Backoff And Jitter"). A server that asks for more than `longest_wait_seconds` is given up at once.
    """

    retries: int = 8
    first_seconds: float = 1.0
    max_seconds: float = 60.0
    longest_wait_seconds: float = 300.0

    def ceiling(self, retry: int) -> float:
        """Return the longest wait before a retry, counted from 0, in seconds."""
        return float(min(self.max_seconds, self.first_seconds * 2 ** min(retry, 32)))


class TransientError(Exception):
    """One attempt failed in a way that may pass. `progressed` starts the count of retries anew."""

    def __init__(
        self,
        reason: str,
        *,
        kind: Kind = "failed",
        retry_after: float | None = None,
        progressed: bool = False,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.retry_after = retry_after
        self.progressed = progressed


class GaveUpError(Exception):
    """Every attempt failed; `last` is the last failure."""

    def __init__(self, attempts: int, last: TransientError) -> None:
        super().__init__(f"{last} (attempt {attempts}, the last)")
        self.last = last


class Retrier:
    """Repeats calls by one policy. Thread-safe; `stop` ends every wait."""

    def __init__(
        self,
        backoff: Backoff,
        *,
        clock: Clock = SYSTEM_CLOCK,
        draw: Callable[[], float] = random.random,
        stop: threading.Event | None = None,
    ) -> None:
        self._backoff = backoff
        self._clock = clock
        self._draw = draw
        self._stop = stop or threading.Event()

    def call(self, attempt: Callable[[], Result]) -> Result:
        """Return what `attempt` returns, trying again after each TransientError.

        Raises GaveUpError after the last retry, StoppedError when stopped meanwhile; any other
        error of `attempt` passes through.
        """
        failures = 0
        for attempts in itertools.count(1):
            self._check_stop()
            try:
                return attempt()
            except TransientError as error:
                failures = 1 if error.progressed else failures + 1
                self._pause(error, attempts, failures)
        raise AssertionError("unreachable")

    def _pause(self, error: TransientError, attempts: int, failures: int) -> None:
        asked = error.retry_after or 0.0
        if failures > self._backoff.retries or asked > self._backoff.longest_wait_seconds:
            raise GaveUpError(attempts, error) from error
        jitter = self._draw() * self._backoff.ceiling(failures - 1)
        wait = asked + self._draw() * self._backoff.first_seconds if asked else jitter
        self._clock.sleep(wait, self._stop)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise ports.StoppedError("stopped before the next attempt")


def retry_after_seconds(value: str | None, *, now: float) -> float | None:
    """Return a Retry-After header in seconds from `now`, or None when there is none or it is not understood.

    Both forms of RFC 9110 section 10.2.3: a number of seconds, or an HTTP date. `now` is wall time.
    """
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, moment.timestamp() - now)
