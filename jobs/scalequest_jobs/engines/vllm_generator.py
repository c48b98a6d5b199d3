"""Text from vLLM, fed without pause."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.engines import feeding, hf_tokenizer, samples, vllm_engine

_LARGEST_SEED = 2**63 - 1
"""vLLM keeps seeds in signed 64 bits and seeds the samples of one request by counting up from its seed."""


class VllmGenerator:
    """`ports.TextGenerator` on vLLM.

    On a GPU each request carries its seed and requests of several chunks share the batch. On a CPU vLLM
    cannot seed a request, so the engine drains at each chunk's end and takes the next `chunk_seed`: the same
    chunk gives the same text, whatever ran before it.
    """

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

    @property
    def max_length(self) -> int:
        """Prompt and generated tokens together."""
        return self._engine.max_length

    def generate(self, requests: Iterable[ports.Request]) -> Iterator[ports.Completion]:
        """Yield a completion for each request; `max_tokens` is cut to what the window leaves.

        Raises:
            TryAgainError: the engine failed.
        """
        before_chunk = None if self._engine.seeds_requests else self._reseed
        feeder = feeding.Feeder[ports.Request](self._engine, window=self._window, before_chunk=before_chunk)
        for request, output in feeder.run(self._work(request) for request in requests):
            yield samples.refusal(request) if output is None else self._completion(request, output)

    def close(self) -> None:
        """Free the model's memory."""
        self._engine.close()

    def _reseed(self, request: ports.Request) -> None:
        self._engine.reseed(request.chunk_seed)

    def _work(self, request: ports.Request) -> feeding.Work[ports.Request]:
        fits = samples.fits(request.prompt_ids, room=self.max_length - 1, vocabulary=self._engine.vocabulary)
        return feeding.Work(
            request=request,
            chunk=request.chunk,
            ids=request.prompt_ids,
            params=self._params(request) if fits else None,
        )

    def _params(self, request: ports.Request) -> object:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        greedy = samples.is_greedy(sampling)
        return SamplingParams(
            n=1 if greedy else sampling.samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=min(sampling.max_tokens, self.max_length - len(request.prompt_ids)),
            seed=request.seed % (_LARGEST_SEED - sampling.samples) if self._engine.seeds_requests else None,
            stop_token_ids=list(sampling.stop_ids),
            ignore_eos=True,  # only the request's own stop ids end a text
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, request: ports.Request, output: Any) -> ports.Completion:
        answers = [
            self._sample(request, answer) for answer in sorted(output.outputs, key=lambda one: one.index)
        ]
        if samples.is_greedy(request.sampling):
            answers *= request.sampling.samples
        return samples.completion(request, answers)

    def _sample(self, request: ports.Request, answer: Any) -> ports.Sample:
        if answer.finish_reason not in {"stop", "length"}:
            return samples.aborted()
        return samples.sample(self._tokenizer, answer.token_ids, request.sampling.stop_ids)
