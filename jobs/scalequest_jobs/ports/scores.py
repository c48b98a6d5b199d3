"""Models that score token sequences."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from scalequest_jobs.ports.text import Tokenizer


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """A token sequence to score.

    `prompt_length` tokens at its start are context: a likelihood scorer averages over the rest, a
    head reads the last token of all.
    """

    chunk: int
    index: int
    token_ids: tuple[int, ...]
    prompt_length: int = 0


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score of one request: a raw logit, or a mean log-probability in nats per token.

    None means that the engine refused it (longer than the model's window).
    """

    chunk: int
    index: int
    value: float | None


class ScoreModel(Protocol):
    """A reward head, a regression head, or a language model used as a judge of likelihood."""

    @property
    def identity(self) -> Mapping[str, str]:
        """As for `TextGenerator.identity`."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[Score]:
        """Yield a score for each request, in any order; same window rules as `generate`."""

    def close(self) -> None:
        """Free the model's memory."""
