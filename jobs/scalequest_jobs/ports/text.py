"""Models that write text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Tokenizer(Protocol):
    """A model's own tokenizer and chat template. Ids, never text, are what engines are given."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text; no BOS or EOS is added."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""

    def render(self, messages: Sequence[Message], *, generation_prompt: bool) -> str:
        """Return the conversation through the chat template, special tokens as text."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens (BOS, EOS, padding, turn markers)."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end an assistant's turn: the tokenizer's EOS and the generation config's list."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy; `max_tokens` counts generated tokens."""

    temperature: float
    top_p: float
    max_tokens: int
    samples: int = 1
    stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt for a generator. `(chunk, index)` identifies it; `seed` is 63 bits.

    `chunk_seed` serves engines that cannot seed single requests (vLLM on CPU): they drain at a
    chunk boundary and seed the whole engine.
    """

    chunk: int
    index: int
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    seed: int
    chunk_seed: int


FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One generated text. `finish_reason` is "stop" only if a stop id was produced.

    `token_ids` hold what was generated without the stop id; `text` is their decoding with special
    tokens left out, not stripped. "abort" is a request that the engine refused (a prompt longer
    than the model's window): it costs that row, never the stage.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A generator's answer to one request: `sampling.samples` samples, in order."""

    chunk: int
    index: int
    prompt_tokens: int
    samples: tuple[Sample, ...]


class TextGenerator(Protocol):
    """A model that writes text."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What changes the text besides model and request: engine, version, device, dtype."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""

    @property
    def max_length(self) -> int:
        """Prompt and generated tokens together that the engine accepts."""

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield a completion for each request, in any order, pulling requests as room frees up.

        At most a bounded window of requests is held; all requests of one chunk arrive together
        and chunks in ascending order. One bad request yields an "abort" sample, it never raises.
        """

    def close(self) -> None:
        """Free the model's memory; the generator must not be used afterwards."""
