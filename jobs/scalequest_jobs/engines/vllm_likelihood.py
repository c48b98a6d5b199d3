"""Mean log-probabilities of given tokens from vLLM."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.engines import feeding, hf_tokenizer, samples, vllm_engine


class VllmLikelihood:
    """`ports.ScoreModel` that asks a causal language model how likely a continuation is."""

    def __init__(self, model: Path, settings: ports.EngineSettings) -> None:
        """Load a causal language model.

        Raises:
            BadInputError, BadParametersError, TryAgainError: as `vllm_engine.Engine`.
        """
        self._tokenizer = hf_tokenizer.HfTokenizer(model)
        self._engine = vllm_engine.Engine(model, settings, "generate")
        self._window = settings.window

    @property
    def identity(self) -> Mapping[str, str]:
        """Engine, version, device name and dtype."""
        return self._engine.identity

    @property
    def tokenizer(self) -> ports.Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    def score(self, requests: Iterable[ports.ScoreRequest]) -> Iterator[ports.Score]:
        """Yield the mean natural log-probability of the tokens after each prompt, in nats per token.

        The first token of all has no probability and is left out of the mean. None also stands for a
        sequence without a token to judge, and for one that fills the window: vLLM generates a token.

        Raises:
            TryAgainError: the engine failed.
        """
        feeder = feeding.Feeder[ports.ScoreRequest](self._engine, window=self._window)
        for request, output in feeder.run(self._work(request) for request in requests):
            value = None if output is None else _mean(request, output.prompt_logprobs)
            yield ports.Score(chunk=request.chunk, index=request.index, value=value)

    def close(self) -> None:
        """Free the model's memory."""
        self._engine.close()

    def _work(self, request: ports.ScoreRequest) -> feeding.Work[ports.ScoreRequest]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        fits = samples.fits(
            request.token_ids, room=self._engine.max_length - 1, vocabulary=self._engine.vocabulary
        )
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=0,  # of the prompt's own tokens only
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        judged = len(request.token_ids) > max(request.prompt_length, 1)
        return feeding.Work(
            request=request,
            chunk=request.chunk,
            ids=request.token_ids,
            params=params if fits and judged else None,
        )


def _mean(request: ports.ScoreRequest, logprobs: list[dict[int, Any]]) -> float:
    first = max(request.prompt_length, 1)
    judged = zip(request.token_ids[first:], logprobs[first:], strict=True)
    return math.fsum(choices[token].logprob for token, choices in judged) / (len(logprobs) - first)
