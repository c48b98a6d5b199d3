"""A chat endpoint outside."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from scalequest_jobs.ports.errors import StageError
from scalequest_jobs.ports.text import Message


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One conversation for an OpenAI-compatible endpoint."""

    chunk: int
    index: int
    messages: tuple[Message, ...]
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class ChatReply:
    """The endpoint's answer, or why there is none. Costs are in micro-USD (1e-6 USD), integers.

    `text` is None when the endpoint refused this one request for good; `error` then says why.
    """

    chunk: int
    index: int
    text: str | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_micro_usd: int
    error: str = ""


class ChatEndpoint(Protocol):
    """A chat model behind HTTP: retries, rate and spend limits are its adapter's business."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Model name and API kind; never the address or the key."""

    def complete(self, requests: Iterable[ChatRequest]) -> Iterator[ChatReply]:
        """Yield a reply for each request, in any order, a bounded number in flight.

        Raises TryAgainError when the endpoint stays unreachable or rate-limited past the retry
        limits, BadParametersError when it refuses the key or the model, SpendLimitError when the
        next request could pass the spend limit, and StoppedError when asked to stop. Replies
        already received have been yielded.
        """

    def close(self) -> None:
        """Close connections."""


class SpendLimitError(StageError):
    """The endpoint's spend limit is reached; the message names the limit and what was spent."""
