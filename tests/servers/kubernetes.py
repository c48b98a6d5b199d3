"""An API server that answers as it is told: for what only a broken connection or a strange answer shows."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from servers import loopback


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request gets.

    reset, cut: the body breaks off half-way. silent: nothing is sent until the test ends. `lines`: a watch, one chunk
    for each, that goes on until the test ends when `open`.
    """

    kind: Literal["whole", "reset", "cut", "silent", "stream"] = "whole"
    status: int = 200
    body: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    lines: tuple[bytes, ...] = ()
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedApiServer(loopback.LoopbackServer):
    """Gives the answers in turn, then 200 with an empty object, and keeps every request."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.answers: deque[Answer] = deque()
        self.requests: list[Request] = []
        self.guard_requests = threading.Lock()


@contextlib.contextmanager
def running() -> Iterator[ScriptedApiServer]:
    with loopback.serving(ScriptedApiServer()) as server:
        yield server


class _Handler(loopback.Handler):
    server: ScriptedApiServer

    def do_GET(self) -> None:  # noqa: N802 - the base class calls it so
        body = self.body()
        with self.server.guard_requests:
            seen = Request(method=self.command, path=self.path, headers=dict(self.headers.items()), body=body)
            self.server.requests.append(seen)
            answer = self.server.answers.popleft() if self.server.answers else Answer(body={})
        getattr(self, f"_{answer.kind}")(answer)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as above

    def _whole(self, answer: Answer) -> None:
        self.answer(answer.status, _content(answer), {"Content-Type": "application/json", **answer.headers})

    def _reset(self, answer: Answer) -> None:
        self._half(answer)
        self.reset()

    def _cut(self, answer: Answer) -> None:
        self._half(answer)
        self.cut()

    def _half(self, answer: Answer) -> None:
        content = _content(answer)
        self.start(answer.status, len(content), answer.headers)
        self.wfile.write(content[: len(content) // 2])

    def _silent(self, answer: Answer) -> None:
        self.server.stopping.wait()
        self.cut()

    def _stream(self, answer: Answer) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in answer.lines:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        if answer.open:
            self.server.stopping.wait()
            self.cut()
        else:
            self.wfile.write(b"0\r\n\r\n")


def _content(answer: Answer) -> bytes:
    return json.dumps(answer.body).encode() if answer.raw is None else answer.raw
