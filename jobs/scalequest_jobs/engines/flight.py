"""Keeps a bounded number of chat requests on their way, within a spend limit."""

import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from typing import Final

from scalequest_jobs import ports
from scalequest_jobs.engines import spend

_POLL_SECONDS: Final = 0.2

Answerer = Callable[[ports.ChatRequest, spend.Bill, threading.Event], ports.ChatReply]


class Flight:
    """One pass over `requests`: at most `size` are on their way, and no more are pulled than that.

    `answer` runs in a thread of its own for each; when its event is set it should end soon. It is set
    after a failure, and when `asked_to_stop` is.
    """

    def __init__(
        self,
        requests: Iterator[ports.ChatRequest],
        answer: Answerer,
        *,
        size: int,
        prices: spend.Prices,
        ledger: spend.Ledger,
        asked_to_stop: threading.Event,
    ) -> None:
        self._requests = requests
        self._answer = answer
        self._size = size
        self._prices = prices
        self._ledger = ledger
        self._asked_to_stop = asked_to_stop
        self._stop = threading.Event()
        self._under_way: set[concurrent.futures.Future[ports.ChatReply]] = set()
        self._waiting: ports.ChatRequest | None = None
        self._failure: ports.StageError | None = None

    def replies(self) -> Iterator[ports.ChatReply]:
        """Yield replies as they arrive; raise the first failure after all that was on its way arrived."""
        with concurrent.futures.ThreadPoolExecutor(self._size) as pool:
            try:
                while self._fill(pool):
                    yield from self._landed()
            finally:
                self._stop.set()
        if self._failure is not None:
            raise self._failure

    def _fill(self, pool: concurrent.futures.ThreadPoolExecutor) -> bool:
        """Send while there is room, requests and money; say whether anything is on its way."""
        while len(self._under_way) < self._size and (request := self._next()) is not None:
            worst_case = self._prices.worst_case(request)
            if not self._ledger.reserve(worst_case):
                self._postpone(request, worst_case)
                break
            bill = spend.Bill(self._ledger, worst_case)
            self._under_way.add(pool.submit(self._answer, request, bill, self._stop))
        return bool(self._under_way)

    def _next(self) -> ports.ChatRequest | None:
        if self._failure is not None:
            return None
        request, self._waiting = self._waiting, None
        try:
            return request or next(self._requests, None)
        except ports.StageError as error:
            self._failure = error
            return None

    def _postpone(self, request: ports.ChatRequest, worst_case: int) -> None:
        """Keep a request until others cost less than was set aside for them, or fail when none are left."""
        self._waiting = request
        if not self._under_way:
            self._failure = self._ledger.refusal(worst_case)

    def _heed_stop(self) -> None:
        if self._asked_to_stop.is_set() and self._failure is None:
            self._failure = ports.StoppedError("stopped as asked; no further request was sent")
            self._stop.set()

    def _landed(self) -> Iterator[ports.ChatReply]:
        done: set[concurrent.futures.Future[ports.ChatReply]] = set()
        while not done:
            self._heed_stop()
            done, self._under_way = concurrent.futures.wait(
                self._under_way, timeout=_POLL_SECONDS, return_when=concurrent.futures.FIRST_COMPLETED
            )
        for future in done:
            try:
                reply = future.result()
            except ports.StageError as error:
                self._failure = self._failure or error
                self._stop.set()
            else:
                yield reply
