"""Which run is worked on next: each key once, never by two threads, with a back-off of its own."""

import collections
import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

SETTLE_SECONDS = 0.5
"""How long changes of a run are gathered, so that a Job and its pod that start are looked at once."""

FIRST_SECONDS = 1.0
MAX_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, order=True)
class RunKey:
    """A run by its place. A run that is deleted and made anew has the same key, and another uid."""

    namespace: str
    name: str


class WorkQueue:
    """Keys that wait, are due later, or are worked on.

    A key that is added while a thread works on it waits until that thread is `done` and is then handed out
    again. Namespaces take turns, so a thousand runs of one tenant do not hold up another's. Thread-safe;
    a simulator uses `take_ready` and `next_due` from one thread with a clock of its own.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._monotonic = monotonic
        self._draw = draw
        self._changed = threading.Condition()
        self._ready: collections.OrderedDict[str, collections.OrderedDict[RunKey, None]] = (
            collections.OrderedDict()
        )
        self._due: dict[RunKey, float] = {}
        self._timers: list[tuple[float, int, RunKey]] = []
        self._order = itertools.count()
        self._active: set[RunKey] = set()
        self._again: set[RunKey] = set()
        self._failures: collections.Counter[RunKey] = collections.Counter()
        self._closed = False

    def __len__(self) -> int:
        """Return how many keys are ready."""
        with self._changed:
            return sum(map(len, self._ready.values()))

    def add(self, key: RunKey) -> None:
        """Make a key ready; one that is ready already stays where it is."""
        with self._changed:
            self._due.pop(key, None)
            self._make_ready(key)

    def add_soon(self, key: RunKey) -> None:
        """Make a key ready in a moment, together with what is added meanwhile; one that is ready stays where it is."""
        with self._changed:
            if key not in self._ready.get(key.namespace, ()):
                self.add_after(key, SETTLE_SECONDS)

    def add_after(self, key: RunKey, seconds: float) -> None:
        """Make a key ready in `seconds`, or earlier when something else does so. The earliest time holds."""
        with self._changed:
            due = self._monotonic() + max(0.0, seconds)
            if due < self._due.get(key, float("inf")):
                self._due[key] = due
                heapq.heappush(self._timers, (due, next(self._order), key))
                self._changed.notify()

    def back_off(self, key: RunKey) -> float:
        """Make a key ready after a wait that doubles with each failure in a row; return the seconds.

        Waits are 1 to 300 s, of which the upper half is drawn at random.
        """
        with self._changed:
            ceiling = min(MAX_SECONDS, FIRST_SECONDS * 2.0 ** min(self._failures[key], 16))
            self._failures[key] += 1
            seconds = max(FIRST_SECONDS, ceiling * (0.5 + self._draw() / 2))
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: RunKey) -> None:
        """Start a key's back-off anew: its work succeeded."""
        with self._changed:
            del self._failures[key]

    def failures(self, key: RunKey) -> int:
        """Return how often in a row a key's work failed."""
        with self._changed:
            return self._failures.get(key, 0)

    def take(self, timeout_seconds: float | None = None) -> RunKey | None:
        """Wait for a key and hand it out; None when the queue is closed or the time is over."""
        deadline = None if timeout_seconds is None else self._monotonic() + timeout_seconds
        with self._changed:
            while not self._closed:
                now = self._monotonic()
                if (key := self._pop(now)) is not None:
                    return key
                if deadline is not None and now >= deadline:
                    return None
                ends = [moment for moment in (deadline, self._next_due()) if moment is not None]
                self._changed.wait(min(ends) - now if ends else None)
            return None

    def take_ready(self, now: float) -> RunKey | None:
        """Hand out a key that is ready at `now` without waiting; None when there is none."""
        with self._changed:
            return None if self._closed else self._pop(now)

    def next_due(self) -> float | None:
        """Return the moment at which the next delayed key becomes ready; None when there is none."""
        with self._changed:
            return self._next_due()

    def done(self, key: RunKey) -> None:
        """End the work on a key; it becomes ready at once when it was added meanwhile."""
        with self._changed:
            self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._make_ready(key)

    def close(self) -> None:
        """Hand out no more keys; every waiting `take` returns None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _make_ready(self, key: RunKey) -> None:
        if key in self._active:
            self._again.add(key)
        else:
            self._ready.setdefault(key.namespace, collections.OrderedDict()).setdefault(key)
            self._changed.notify()

    def _pop(self, now: float) -> RunKey | None:
        self._ripen(now)
        if not self._ready:
            return None
        namespace, keys = self._ready.popitem(last=False)
        key, _ = keys.popitem(last=False)
        if keys:
            self._ready[namespace] = keys
        self._active.add(key)
        return key

    def _ripen(self, now: float) -> None:
        while (due := self._next_due()) is not None and due <= now:
            _, _, key = heapq.heappop(self._timers)
            del self._due[key]
            self._make_ready(key)

    def _next_due(self) -> float | None:
        # A key that was moved forward leaves its old timer behind.
        while self._timers and self._due.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None
