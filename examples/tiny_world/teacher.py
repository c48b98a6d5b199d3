"""A rule-based teacher behind the chat completions API, in place of a paid one.

Usage: `python examples/tiny_world/teacher.py --port 0 --port-file /tmp/teacher.port`.

It answers the two rewriting prompts, those of solvability and of difficulty, in the sections
that the prompts ask for. The question is what follows the last line `ORIGINAL QUESTION:`.
"""

import argparse
import json
import re
import signal
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_world import grammar, rewriting, truth

MODEL = "tiny-teacher"
HOST = "127.0.0.1"
DIFFICULTY_MARK = "#Finally Rewritten Problem#"

_ORIGINAL = re.compile(r"^ORIGINAL QUESTION:", re.MULTILINE)
_METHODS = "Add one more step to what happens; ask for something that takes one more step."


class BadRequestError(Exception):
    """A request that does not keep the contract; its text goes to the client."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many completions were asked for and how many were refused with 429."""

    requests: int
    refused: int


class TeacherServer:
    """The teacher on a loopback port, for as long as the context lasts."""

    def __init__(self, *, port: int = 0, fail_every: int = 0) -> None:
        """Bind the port; 0 takes a free one.

        Args: fail_every: refuse every nth completion with 429 and `Retry-After: 0`; 0 refuses none.
        """
        self._server = _Server((HOST, port), fail_every)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def counts(self) -> Counts:
        """What the server was asked so far."""
        return self._server.counts

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def answer(message: str) -> str:
    """Return the teacher's answer to the last user message of a conversation."""
    marks = list(_ORIGINAL.finditer(message))
    if not marks:
        msg = "no line 'ORIGINAL QUESTION:'; end the message with it and the question"
        raise BadRequestError(msg)
    question = message[marks[-1].end() :].strip()
    if DIFFICULTY_MARK in message:
        return _difficulty_answer(question)
    return _solvability_answer(question)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--port-file", type=Path, help="where to write the port once it answers")
    parser.add_argument("--fail-every", type=int, default=0, help="429 for every nth request")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with TeacherServer(port=arguments.port, fail_every=arguments.fail_every) as teacher:
        if arguments.port_file is not None:
            # Written aside and renamed: who waits for the file never reads half a number.
            partial = arguments.port_file.with_suffix(".partial")
            partial.write_text(f"{teacher.port}\n")
            partial.replace(arguments.port_file)
        print(f"{MODEL} answers at {teacher.url}", flush=True)
        stop.wait()


def _solvability_answer(question: str) -> str:
    final = rewriting.solvable(question)
    return _sections(
        [
            ("CREATED QUESTION:", question),
            ("VERIFICATION AND MODIFICATION:", truth.judgement(question)),
            ("FINAL QUESTION:", final),
        ]
    )


def _difficulty_answer(question: str) -> str:
    final = rewriting.harder(question)
    problem = grammar.parse(final)
    assert problem is not None, f"the rewrite is not well formed: {final}"
    plan = f"The new problem takes {problem.num_operations} operations."
    return _sections(
        [
            ("Step 1 #Methods List#:", _METHODS),
            ("Step 2 #Plan#:", plan),
            ("Step 3 #Rewritten Problem#:", final),
            ("Step 4 #Finally Rewritten Problem#:", final),
        ]
    )


def _sections(sections: Iterable[tuple[str, str]]) -> str:
    return "\n\n".join(f"{title}\n{text}" for title, text in sections)


class _Server(ThreadingHTTPServer):
    """The listening socket and what its handlers share."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], fail_every: int) -> None:
        super().__init__(address, _Handler)
        self._fail_every = fail_every
        self._lock = threading.Lock()
        self.counts = Counts(requests=0, refused=0)

    def refuses(self) -> bool:
        """Count one completion and return whether it is to be refused."""
        with self._lock:
            number = self.counts.requests + 1
            refused = self._fail_every > 0 and number % self._fail_every == 0
            self.counts = Counts(requests=number, refused=self.counts.refused + refused)
        return refused


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body are two writes; with Nagle's algorithm each answer would wait 40 ms.
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer `/v1/models`, which also tells that the server is ready."""
        if self.path != "/v1/models":
            self._refuse(HTTPStatus.NOT_FOUND, f"no {self.path}; there is /v1/models")
            return
        self._send(HTTPStatus.OK, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        """Answer one chat completion."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            self._refuse(HTTPStatus.NOT_FOUND, f"no {self.path}; there is /v1/chat/completions")
        elif self.server.refuses():
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS, "refused as --fail-every asks; try again")
        else:
            try:
                self._send(HTTPStatus.OK, _completion(body))
            except BadRequestError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def log_message(self, *_: object) -> None:
        """Write no access log."""

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": status.name.lower()}})

    def _send(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)


def _completion(body: bytes) -> dict[str, Any]:
    """Return the chat completion object that answers a request body."""
    message = _last_user_message(body)
    text = answer(message)
    num_prompt, num_completion = len(message.split()), len(text.split())
    return {
        "id": "chatcmpl-tiny",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_completion,
            "total_tokens": num_prompt + num_completion,
        },
    }


def _last_user_message(body: bytes) -> str:
    try:
        messages = json.loads(body)["messages"]
        return next(
            message["content"]
            for message in reversed(messages)
            if message["role"] == "user" and isinstance(message["content"], str)
        )
    except (ValueError, LookupError, TypeError, StopIteration) as error:
        msg = "no user message with text; send {'messages': [{'role': 'user', 'content': ...}]}"
        raise BadRequestError(msg) from error


if __name__ == "__main__":
    main()
