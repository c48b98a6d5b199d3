"""A chat model behind an OpenAI-compatible HTTP API."""

import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import httpx

from scalequest_jobs import http_exchange, ports, retry, secret_files
from scalequest_jobs.engines import flight, openai_answer, pace, spend

_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_MAX_UNUSABLE: Final = 3
"""How many answers without text are paid for before a request is refused."""
_MAYBE_CHARGED: Final = frozenset({408, 504, 524})
"""A gateway gave up waiting; the model behind it may have answered, and charged."""


class OpenAiEndpoint:
    """Speaks `POST {url}/chat/completions`; see `ports.ChatEndpoint`. Thread-safe.

    408, 409, 425, 429, 5xx and broken connections are retried `settings.retries` times, with full
    jitter or as Retry-After says. A request that keeps failing while others are answered is refused,
    so that one poisonous row cannot end a stage. The key is read at the start and again on a 401.
    """

    def __init__(
        self,
        settings: ports.EndpointSettings,
        *,
        stop: threading.Event | None = None,
        clock: retry.Clock = retry.SYSTEM_CLOCK,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        base = http_exchange.checked_url(settings.url, field="endpoint.url")
        self._url = f"{base}/chat/completions"
        self._stop = stop or threading.Event()
        self._clock = clock
        self._draw = draw
        self._prices = _prices(settings)
        self._ledger = spend.Ledger(settings.spend_limit_micro_usd)
        self._pace = pace.Pace(settings.requests_per_minute, clock)
        self._key = self._read_key()
        self._answered = 0
        self._client = _client(settings)

    @property
    def identity(self) -> Mapping[str, str]:
        """Model name and API kind."""
        return {"engine": "openai-endpoint", "model": self._settings.model}

    @property
    def spent_micro_usd(self) -> int:
        """What all requests have cost so far, at most."""
        return self._ledger.spent

    def complete(self, requests: Iterable[ports.ChatRequest]) -> Iterator[ports.ChatReply]:
        """Yield replies as they arrive, `settings.concurrency` requests in flight.

        Once `stop` is set nothing more is sent or tried again; what is on its way has its time limit.

        Raises as `ports.ChatEndpoint.complete` says, after all that was in flight has been yielded;
        an error of `ports` that `requests` raises is passed on in the same way.
        """
        return flight.Flight(
            iter(requests),
            self._answer,
            size=self._settings.concurrency,
            prices=self._prices,
            ledger=self._ledger,
            asked_to_stop=self._stop,
        ).replies()

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"OpenAiEndpoint({self._subject})"

    @property
    def _subject(self) -> str:
        return f"model {self._settings.model!r} at {self._settings.url}"

    def _answer(self, request: ports.ChatRequest, bill: spend.Bill, stop: threading.Event) -> ports.ChatReply:
        """Return the reply to one request, over all its attempts."""
        exchange = _Exchange(request, bill, stop, answered_before=self._answered)
        backoff = retry.Backoff(retries=self._settings.retries)
        retrier = retry.Retrier(backoff, clock=self._clock, draw=self._draw, stop=stop)
        try:
            answer = retrier.call(lambda: self._attempt(exchange))
        except retry.GaveUpError as error:
            answer = self._refusal(exchange, error)
        finally:
            bill.close()
        self._answered += answer.text is not None
        return openai_answer.reply(request, answer, bill.total)

    def _refusal(self, exchange: "_Exchange", error: retry.GaveUpError) -> openai_answer.Answer:
        is_alone = error.last.kind == "failed" and self._answered > exchange.answered_before
        if not is_alone:
            raise ports.TryAgainError(str(error)) from error
        return openai_answer.Answer(text=None, error=f"others were answered, but not this: {error}")

    def _attempt(self, exchange: "_Exchange") -> openai_answer.Answer:
        """Send a request once. Raises TransientError if another attempt may be answered."""
        self._pace.turn(exchange.stop)
        if exchange.stop.is_set():
            raise ports.StoppedError("stopped before a request was sent")
        exchange.bill.begin()
        key = self._key
        response = self._send(exchange, key)
        if response.status_code == 200:
            return self._usable(exchange, response.content)
        if response.status_code == 401 and self._has_new_key(key):
            raise retry.TransientError(f"{self._subject} refused a key that has been replaced since")
        return self._refused(exchange, response, key)

    def _send(self, exchange: "_Exchange", key: str) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        deadline = self._clock.monotonic() + self._settings.timeout_seconds
        try:
            with self._client.stream(
                "POST", self._url, content=_payload(exchange.request, self._settings.model), headers=headers
            ) as response:
                body = self._body(response, deadline)
                return httpx.Response(response.status_code, headers=_kept(response.headers), content=body)
        except httpx.RequestError as error:
            failure = http_exchange.transient(error, subject=self._subject)
            if failure.kind == "failed":
                exchange.bill.pay(None)
            raise failure from error

    def _body(self, response: httpx.Response, deadline: float) -> bytes:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > _MAX_BODY_BYTES:
                raise httpx.ReadError(f"the body is longer than {_MAX_BODY_BYTES} bytes")
            if self._clock.monotonic() > deadline:
                raise httpx.ReadTimeout("the body did not end in time")
        return bytes(body)

    def _usable(self, exchange: "_Exchange", body: bytes) -> openai_answer.Answer:
        """Pay for an answer and return it, unless it is worth asking again."""
        answer = openai_answer.parse(body)
        if answer.prompt_tokens is None or answer.completion_tokens is None:
            exchange.bill.pay(None)
        else:
            exchange.bill.pay(self._prices.cost(answer.prompt_tokens, answer.completion_tokens))
        exchange.unusable += not answer.is_final
        if answer.is_final or exchange.unusable >= min(_MAX_UNUSABLE, self._settings.retries + 1):
            return answer
        raise retry.TransientError(f"{self._subject}: {answer.error}")

    def _refused(self, exchange: "_Exchange", response: httpx.Response, key: str) -> openai_answer.Answer:
        """Return the refusal of this one request, or raise what the status means for all of them."""
        status = response.status_code
        detail = http_exchange.excerpt(response.content, secret=key)
        if advice := openai_answer.lasting_problem(status, response.content):
            raise ports.BadParametersError(
                f"{self._subject} (key file {self._settings.api_key_file}) answered HTTP {status}: {detail}; {advice}"
            )
        if status in openai_answer.REFUSED:
            return openai_answer.Answer(text=None, error=f"HTTP {status}: {detail}", is_final=True)
        if status in _MAYBE_CHARGED:
            exchange.bill.pay(None)
        failure = http_exchange.busy_or_failed(
            response, subject=self._subject, detail=detail, now=self._clock.wall()
        )
        if failure.retry_after:
            self._pace.hold(failure.retry_after)
        raise failure

    def _has_new_key(self, used: str) -> bool:
        self._key = self._read_key()
        return self._key != used

    def _read_key(self) -> str:
        path = self._settings.api_key_file
        return secret_files.read(path, purpose="endpoint API key") if path else ""


class _Exchange:
    """One request's life: its bill, and how many answers were of no use."""

    def __init__(
        self, request: ports.ChatRequest, bill: spend.Bill, stop: threading.Event, *, answered_before: int
    ) -> None:
        self.request = request
        self.bill = bill
        self.stop = stop
        self.answered_before = answered_before
        self.unusable = 0


def _prices(settings: ports.EndpointSettings) -> spend.Prices:
    prices = spend.Prices(
        prompt=settings.prompt_micro_usd_per_million, completion=settings.completion_micro_usd_per_million
    )
    if settings.spend_limit_micro_usd and not (prices.prompt or prices.completion):
        raise ports.BadParametersError(
            "endpoint has a spend limit but no price; set promptUsdPerMillion and completionUsdPerMillion"
        )
    return prices


def _client(settings: ports.EndpointSettings) -> httpx.Client:
    connect = min(http_exchange.CONNECT_SECONDS, settings.timeout_seconds)
    return httpx.Client(
        timeout=httpx.Timeout(settings.timeout_seconds, connect=connect),
        limits=httpx.Limits(max_connections=settings.concurrency),
        follow_redirects=False,
    )


def _payload(request: ports.ChatRequest, model: str) -> bytes:
    body = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
    }
    # ASCII, so that a lone surrogate in a row is the server's to refuse, not this process's to die of.
    return json.dumps(body, ensure_ascii=True).encode("ascii")


def _kept(headers: httpx.Headers) -> dict[str, str]:
    """Return the headers that are read later; the body is decoded already."""
    return {name: headers[name] for name in ("Retry-After",) if name in headers}
