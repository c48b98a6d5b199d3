"""Feeding an engine continuously: a bounded window of requests, refilled as answers come out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

RequestT = TypeVar("RequestT")


class Feedable(Protocol):
    """The part of an engine that feeding needs."""

    def add(self, name: str, ids: tuple[int, ...], params: object) -> None:
        """Queue a request."""

    def step(self) -> list[Any]:
        """Return the outputs that finished, each with the `request_id` it was queued under."""

    def abort(self, names: list[str]) -> None:
        """Drop requests."""


@dataclass(frozen=True, kw_only=True)
class Work(Generic[RequestT]):
    """A request as an engine takes it; `params` None is one that it refuses without running it."""

    request: RequestT
    chunk: int
    ids: tuple[int, ...]
    params: object | None


class Feeder(Generic[RequestT]):
    """Keeps up to `window` requests in an engine until the source is dry.

    Requests of neighbouring chunks overlap, so that the engine is never drained at a chunk's end, unless
    `before_chunk` is given: then the engine is empty when it is called with a chunk's first request.
    """

    def __init__(
        self,
        engine: Feedable,
        *,
        window: int,
        before_chunk: Callable[[RequestT], None] | None = None,
    ) -> None:
        self._engine = engine
        self._window = window
        self._before_chunk = before_chunk
        self._chunk: int | None = None
        self._queued = 0
        self._running: dict[str, RequestT] = {}

    def run(self, works: Iterable[Work[RequestT]]) -> Iterator[tuple[RequestT, Any]]:
        """Yield each request with its output, None for a refused one; any order.

        At most one request more than the window is taken from `works` ahead of the answers. Closing the
        iterator early drops what is still in the engine.
        """
        source = iter(works)
        try:
            held = next(source, None)
            while held is not None or self._running:
                while held is not None and self._has_room_for(held):
                    if held.params is None:
                        yield held.request, None
                    else:
                        self._add(held)
                    held = next(source, None)
                if self._running:
                    yield from self._finished()
        finally:
            self._engine.abort(list(self._running))
            self._running.clear()

    def _has_room_for(self, work: Work[RequestT]) -> bool:
        if self._before_chunk is not None and self._running and work.chunk != self._chunk:
            return False
        return work.params is None or len(self._running) < self._window

    def _add(self, work: Work[RequestT]) -> None:
        if self._before_chunk is not None and work.chunk != self._chunk:
            self._before_chunk(work.request)
        self._chunk = work.chunk
        name = str(self._queued)
        self._queued += 1
        self._engine.add(name, work.ids, work.params)
        self._running[name] = work.request

    def _finished(self) -> Iterator[tuple[RequestT, Any]]:
        for output in self._engine.step():
            yield self._running.pop(output.request_id), output
