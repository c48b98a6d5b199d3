"""Raw logits of heads and likelihoods from transformers: the reference, and the way without vLLM."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.engines import hf_tokenizer, model_folder, samples, transformers_model

DEFAULT_SEQUENCES = 16
"""Sequences scored together."""

_SORTED_BATCHES = 8
"""Batches' worth of requests that are sorted by length before they are split, so that few pads are run."""


class _PaddedScorer(ABC):
    """Batches of similar length through one model."""

    def __init__(self, model: Path, settings: ports.EngineSettings, auto_class: str) -> None:
        self._tokenizer = hf_tokenizer.HfTokenizer(model)
        self._loaded = transformers_model.Loaded(model, settings, auto_class)
        self._sequences = min(settings.max_sequences or DEFAULT_SEQUENCES, settings.window)
        self._sorted = min(self._sequences * _SORTED_BATCHES, settings.window)

    @property
    def identity(self) -> Mapping[str, str]:
        """Engine, version, device name and dtype."""
        return self._loaded.identity

    @property
    def tokenizer(self) -> ports.Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    def score(self, requests: Iterable[ports.ScoreRequest]) -> Iterator[ports.Score]:
        """Yield a score for each request, None for one that the model cannot take.

        Raises:
            TryAgainError: memory ran out.
        """
        source = iter(requests)
        while held := list(itertools.islice(source, self._sorted)):
            yield from (_score(request, None) for request in held if not self._fits(request))
            fitting = sorted(filter(self._fits, held), key=lambda request: len(request.token_ids))
            for start in range(0, len(fitting), self._sequences):
                batch = fitting[start : start + self._sequences]
                yield from map(_score, batch, self._values(batch))

    def close(self) -> None:
        """Free the model's memory."""
        self._loaded.close()

    def _fits(self, request: ports.ScoreRequest) -> bool:
        return samples.fits(
            request.token_ids, room=self._loaded.max_length, vocabulary=self._loaded.vocabulary
        )

    @abstractmethod
    def _values(self, batch: Sequence[ports.ScoreRequest]) -> list[float]:
        """Return one value for each request."""


class TransformersScorer(_PaddedScorer):
    """`ports.ScoreModel` of a ...ForSequenceClassification with one output."""

    def __init__(self, model: Path, settings: ports.EngineSettings) -> None:
        """Load a model with a head.

        Raises:
            BadInputError: the head has not exactly one output; and as `transformers_model.Loaded`.
            BadParametersError, TryAgainError: as `transformers_model.Loaded`.
        """
        model_folder.require_one_output(model, model_folder.require_weights(model))
        super().__init__(model, settings, "AutoModelForSequenceClassification")

    def _values(self, batch: Sequence[ports.ScoreRequest]) -> list[float]:
        """Return the logit at each sequence's last token, float32, (sequences,).

        The model's own forward looks for the last token that is not the pad id, which misses the end of
        a sequence that ends in the pad id; so the body and the head are run one after the other.
        """
        import torch

        ids, mask = self._loaded.padded([request.token_ids for request in batch], left=False)
        model = self._loaded.model
        with self._loaded.running():
            hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            last = hidden[torch.arange(len(batch)), mask.sum(dim=1) - 1]
            values: list[float] = model.score(last).float()[:, 0].tolist()
        return values


class TransformersLikelihood(_PaddedScorer):
    """`ports.ScoreModel` that asks a causal language model how likely a continuation is."""

    def __init__(self, model: Path, settings: ports.EngineSettings) -> None:
        """Load a causal language model.

        Raises:
            BadInputError, BadParametersError, TryAgainError: as `transformers_model.Loaded`.
        """
        super().__init__(model, settings, "AutoModelForCausalLM")

    def _fits(self, request: ports.ScoreRequest) -> bool:
        return super()._fits(request) and len(request.token_ids) > max(request.prompt_length, 1)

    def _values(self, batch: Sequence[ports.ScoreRequest]) -> list[float]:
        """Return mean natural log-probabilities over the tokens after each prompt, nats per token."""
        ids, mask = self._loaded.padded([request.token_ids for request in batch], left=False)
        with self._loaded.running():
            logits = self._loaded.model(input_ids=ids, attention_mask=mask).logits
            return [_mean_logprob(request, row) for request, row in zip(batch, logits, strict=True)]


def _mean_logprob(request: ports.ScoreRequest, logits: Any) -> float:
    """Return the mean over tokens; `logits` is (positions, vocabulary) of one sequence, pads at its end."""
    import torch

    first, end = max(request.prompt_length, 1), len(request.token_ids)
    targets = torch.tensor(request.token_ids[first:end], device=logits.device)
    loss = torch.nn.functional.cross_entropy(logits[first - 1 : end - 1].float(), targets)
    return -float(loss)


def _score(request: ports.ScoreRequest, value: float | None) -> ports.Score:
    return ports.Score(chunk=request.chunk, index=request.index, value=value)
