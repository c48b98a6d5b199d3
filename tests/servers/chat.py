"""An OpenAI-compatible chat server on the loopback interface that does what a script says."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from servers import loopback


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens to one request. answer: `status`, `body`, `headers`. hang: nothing, until the test ends.

    reset: a TCP reset before any answer. cut: the answer ends in the middle. wait: a normal answer
    once the server's `gate` is set.
    """

    kind: Literal["answer", "hang", "reset", "cut", "wait"] = "answer"
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, message: str = "no", code: str = "", **headers: str) -> Step:
    """Return a step that answers with an error body."""
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return Step(
        status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def completion(
    text: Any,
    *,
    prompt_tokens: int = 10,
    completion_tokens: int = 5,
    finish_reason: str = "stop",
    **message: Any,
) -> bytes:
    """Return the body of a normal answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": finish_reason,
    }
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


class ChatServer(loopback.LoopbackServer):
    """Answers "echo: " and the last message, or as `script` says, one step a request.

    `for_text` holds steps for requests whose last message is that text, each as often as it stands there.
    """

    def __init__(self) -> None:
        super().__init__(_Chat)
        self.script: deque[Step] = deque()
        self.for_text: dict[str, deque[Step]] = {}
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.gate = threading.Event()
        self.busiest = 0
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def texts(self) -> list[str]:
        """The last message of each request, in the order of arrival."""
        return [request["messages"][-1]["content"] for request in self.requests]

    @property
    def busy(self) -> int:
        """How many requests are being answered now."""
        return self._busy

    @contextlib.contextmanager
    def arrived(self, path: str, headers: dict[str, str], request: dict[str, Any]) -> Iterator[Step]:
        """Note a request and yield what to do about it."""
        with self._lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
            self.paths.append(path)
            self.headers.append(headers)
            self.requests.append(request)
            text = request["messages"][-1]["content"]
            steps = self.for_text.get(text) or self.script
            step = steps.popleft() if steps else Step(body=completion(f"echo: {text}"))
        try:
            yield step
        finally:
            with self._lock:
                self._busy -= 1


@contextlib.contextmanager
def running_chat() -> Iterator[ChatServer]:
    """Run a server until the block ends."""
    with loopback.serving(ChatServer()) as server:
        yield server


class _Chat(loopback.Handler):
    server: ChatServer

    def do_POST(self) -> None:  # noqa: N802 - the base class calls it so
        request = json.loads(self.body())
        with self.server.arrived(self.path, dict(self.headers.items()), request) as step:
            self._act(step, request)

    def _act(self, step: Step, request: dict[str, Any]) -> None:
        match step.kind:
            case "hang":
                self.server.stopping.wait()
                self.close_connection = True
            case "reset":
                self.reset()
            case "cut":
                self.start(200, 1000)
                self.wfile.write(b'{"choices"')
                self.cut()
            case "wait":
                self.server.gate.wait()
                self.answer(200, completion(f"echo: {request['messages'][-1]['content']}"))
            case _:
                self.answer(step.status, step.body, step.headers)
