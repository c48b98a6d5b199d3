"""Feeding an engine without pause across chunks, and committing each chunk when its last answer lands."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from scalequest_jobs.execution.chunks import Chunk, Outcome
from scalequest_jobs.execution.context import StageContext


class Numbered(Protocol):
    """A request or an answer: which one of which chunk."""

    @property
    def chunk(self) -> int:
        """The chunk's number."""

    @property
    def index(self) -> int:
        """The place in the chunk."""


Q = TypeVar("Q", bound=Numbered)
A = TypeVar("A", bound=Numbered)


def run(
    context: StageContext[Any],
    *,
    engine: Callable[[Iterable[Q]], Iterator[A]],
    requests: Callable[[Chunk], Sequence[Q]],
    finish: Callable[[Chunk, Sequence[A]], Outcome],
    tokens: Callable[[A], tuple[int, int]],
) -> None:
    """Do all pending chunks of a stage.

    `requests(chunk)` is called as the engine asks for work; a chunk without requests is finished at
    once. `finish(chunk, answers)` gets the answers in the requests' order. `tokens(answer)` are its
    prompt and completion tokens. When the worker is asked to stop, the chunks in flight are
    abandoned and StoppedError is raised.
    """
    waiting: dict[int, tuple[Chunk, int]] = {}
    answers: dict[int, list[A]] = {}

    def feed() -> Iterator[Q]:
        for chunk in context.pending():
            batch = requests(chunk)
            if not batch:
                context.commit(chunk, finish(chunk, ()))
                continue
            waiting[chunk.index] = (chunk, len(batch))
            answers[chunk.index] = []
            yield from batch

    stream = engine(feed())
    try:
        for answer in stream:
            context.reporter.answered(*tokens(answer))
            answers[answer.chunk].append(answer)
            chunk, expected = waiting[answer.chunk]
            if len(answers[answer.chunk]) == expected:
                del waiting[answer.chunk]
                done = sorted(answers.pop(answer.chunk), key=lambda item: item.index)
                context.commit(chunk, finish(chunk, done))
            context.check_stop()
    finally:
        # An error's traceback keeps the stream alive, and with it the requests in the engine.
        if isinstance(stream, Generator):
            stream.close()
