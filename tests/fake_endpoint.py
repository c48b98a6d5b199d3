"""A chat endpoint without a network."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from scalequest_jobs import ports


def echo(request: ports.ChatRequest) -> str:
    """Answer with "echo: " and the last message."""
    return f"echo: {request.messages[-1].content}"


class ScriptedEndpoint:
    """Answers from a function; replies come in reverse within each window of requests in flight.

    `refuse` returns why a request is refused, or "". After `failure_after` replies `failure` is raised,
    as a real endpoint raises when it is unreachable, refuses the key or passes its spend limit.
    `requests` records what was asked.
    """

    def __init__(
        self,
        answer: Callable[[ports.ChatRequest], str] = echo,
        *,
        refuse: Callable[[ports.ChatRequest], str] = lambda _request: "",
        failure: ports.StageError | None = None,
        failure_after: int = 0,
        cost_micro_usd: int = 0,
        window: int = 4,
    ) -> None:
        self._answer = answer
        self._refuse = refuse
        self._failure = failure
        self._left = failure_after
        self._cost = cost_micro_usd
        self._window = window
        self.requests: list[ports.ChatRequest] = []
        self.is_closed = False

    @property
    def identity(self) -> Mapping[str, str]:
        return {"engine": "scripted-endpoint", "model": "scripted"}

    def complete(self, requests: Iterable[ports.ChatRequest]) -> Iterator[ports.ChatReply]:
        source = iter(requests)
        while window := self._pulled(source):
            yield from (self._reply(request) for request in reversed(window))
        if self._failure is not None and self._left == 0:
            raise self._failure

    def close(self) -> None:
        self.is_closed = True

    def _pulled(self, source: Iterator[ports.ChatRequest]) -> list[ports.ChatRequest]:
        room = self._window if self._failure is None else min(self._window, self._left)
        window = [request for _, request in zip(range(room), source, strict=False)]
        self._left -= len(window) if self._failure else 0
        self.requests.extend(window)
        return window

    def _reply(self, request: ports.ChatRequest) -> ports.ChatReply:
        error = self._refuse(request)
        text = None if error else self._answer(request)
        return ports.ChatReply(
            chunk=request.chunk,
            index=request.index,
            text=text,
            finish_reason="" if error else "stop",
            prompt_tokens=sum(len(message.content.split()) for message in request.messages),
            completion_tokens=len((text or "").split()),
            cost_micro_usd=0 if error else self._cost,
            error=error,
        )
