"""An HTTP proxy in front of a server that spoils chosen requests."""

import contextlib
import http.client
import socket
import threading
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from servers import loopback

XML = {"Content-Type": "application/xml"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request instead of being passed on.

    status: answered with it. reset, cut: the answer's body breaks off after `after` bytes, with a
    TCP reset or an ordinary close.
    corrupt: one bit of the request's body is flipped. lost: it is passed on, and the answer thrown away.
    whole: the last whole answer, instead of the range that was asked for. `on_fault` of the proxy is called before a fault is felt.
    """

    kind: Literal["status", "reset", "cut", "corrupt", "lost", "whole"]
    status: int = 503
    code: str = "SlowDown"
    after: int = 0
    method: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class FaultyProxy(loopback.LoopbackServer):
    """Passes requests on to `target`; the next fault whose method fits spoils the request."""

    def __init__(self, target: str) -> None:
        super().__init__(_Proxy)
        self.target = urllib.parse.urlsplit(target).netloc
        self.faults: deque[Fault] = deque()
        self.last_whole: tuple[dict[str, str], bytes] = ({}, b"")
        self.seen: list[tuple[str, str]] = []
        self.on_fault: Callable[[], object] = lambda: None
        self._guard_faults = threading.Lock()

    def next_fault(self, method: str, path: str) -> Fault | None:
        """Note a request and return its fault, if one is due."""
        with self._guard_faults:
            self.seen.append((method, path))
            if self.faults and self.faults[0].method in {"", method}:
                return self.faults.popleft()
            return None


@contextlib.contextmanager
def running_proxy(target: str) -> Iterator[FaultyProxy]:
    """Run a proxy in front of `target`, an address such as http://127.0.0.1:8333."""
    with loopback.serving(FaultyProxy(target)) as proxy:
        yield proxy


@contextlib.contextmanager
def running_silence() -> Iterator[str]:
    """Listen and take connections but never answer; yields the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class _Proxy(loopback.Handler):
    server: FaultyProxy

    def do_GET(self) -> None:  # noqa: N802 - the base class calls it so
        fault = self.server.next_fault(self.command, self.path)
        body = self.body()
        if fault and fault.kind == "status":
            self.server.on_fault()
            text = f"<Error><Code>{fault.code}</Code><Message>by the proxy</Message></Error>"
            self.answer(fault.status, text.encode(), XML | dict(fault.headers))
            return
        if fault and fault.kind == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        status, headers, answer = self._forward(body)
        if fault and fault.kind == "lost":
            self.reset()
            return
        if status == 200:
            self.server.last_whole = (headers, answer)
        if fault and fault.kind == "whole":
            status, (headers, answer) = 200, self.server.last_whole
        self._reply(status, headers, answer, fault)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - as above

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(http.client.HTTPConnection(self.server.target, timeout=30)) as connection:
            # Host stays as the client signed it.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, dict(response.headers.items()), response.read()

    def _reply(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        kept = {
            k: v for k, v in headers.items() if k.lower() not in {"transfer-encoding", "connection", "date"}
        }
        kept.setdefault("Content-Length", str(len(body)))
        self.send_response_only(status)
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if fault and fault.kind in {"reset", "cut"}:
            self.server.on_fault()
            self.wfile.write(body[: fault.after])
            self.reset() if fault.kind == "reset" else self.cut()
        elif self.command != "HEAD":
            self.wfile.write(body)
