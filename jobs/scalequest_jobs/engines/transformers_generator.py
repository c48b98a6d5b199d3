"""Text from transformers: a few hundred samples in a process that has torch but no vLLM."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.engines import hf_tokenizer, samples, transformers_model

DEFAULT_SEQUENCES = 32
"""Sequences generated together."""


class TransformersGenerator:
    """`ports.TextGenerator` on `generate()` of transformers, in batches of one chunk.

    A batch is drained before the next one is taken. Random numbers come from each chunk's `chunk_seed`,
    and the process's own random state is left as it was: a training run can sample between two steps.
    """

    def __init__(self, model: Path, settings: ports.EngineSettings) -> None:
        """Load a causal language model.

        Raises:
            BadInputError, BadParametersError, TryAgainError: as `transformers_model.Loaded`.
        """
        from transformers import GenerationConfig

        self._tokenizer = hf_tokenizer.HfTokenizer(model)
        self._loaded = transformers_model.Loaded(model, settings, "AutoModelForCausalLM")
        # Fields that a call leaves unset would be filled from the folder's generation_config.json.
        self._loaded.model.generation_config = GenerationConfig()
        self._sequences = min(settings.max_sequences or DEFAULT_SEQUENCES, settings.window)

    @property
    def identity(self) -> Mapping[str, str]:
        """Engine, version, device name and dtype."""
        return self._loaded.identity

    @property
    def tokenizer(self) -> ports.Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    @property
    def max_length(self) -> int:
        """Prompt and generated tokens together."""
        return self._loaded.max_length

    def generate(self, requests: Iterable[ports.Request]) -> Iterator[ports.Completion]:
        """Yield a completion for each request; `max_tokens` is cut to what the window leaves.

        Raises:
            TryAgainError: memory ran out.
        """
        for _, chunk in itertools.groupby(requests, key=lambda request: request.chunk):
            for number, batch in enumerate(self._batches(chunk)):
                yield from self._completions(batch, number)

    def close(self) -> None:
        """Free the model's memory."""
        self._loaded.close()

    def _batches(self, chunk: Iterable[ports.Request]) -> Iterator[list[ports.Request]]:
        """Yield neighbours that are sampled alike and have equal room, as many as run together."""
        for (sampling, _), alike in itertools.groupby(chunk, key=self._kind):
            rows = max(1, self._sequences // sampling.samples)
            while batch := list(itertools.islice(alike, rows)):
                yield batch

    def _kind(self, request: ports.Request) -> tuple[ports.Sampling, int]:
        """Return the sampling and how many tokens may be generated, 0 for a request to refuse."""
        fits = samples.fits(request.prompt_ids, room=self.max_length - 1, vocabulary=self._loaded.vocabulary)
        room = self.max_length - len(request.prompt_ids)
        return request.sampling, min(request.sampling.max_tokens, room) if fits else 0

    def _completions(self, batch: Sequence[ports.Request], number: int) -> Iterator[ports.Completion]:
        sampling, room = self._kind(batch[0])
        if not room:
            yield from map(samples.refusal, batch)
            return
        different = 1 if samples.is_greedy(sampling) else sampling.samples
        rows = iter(self._generated(batch, different, seed=(batch[0].chunk_seed + number) % 2**63))
        for request in batch:
            answers = [
                samples.sample(self._tokenizer, row, sampling.stop_ids)
                for row in itertools.islice(rows, different)
            ]
            yield samples.completion(request, answers * (sampling.samples // different))

    def _generated(self, batch: Sequence[ports.Request], different: int, *, seed: int) -> list[list[int]]:
        """Return the generated ids of `different` rows for each request, whatever follows an end included."""
        import torch

        ids, mask = self._loaded.padded([request.prompt_ids for request in batch], left=True)
        with self._loaded.running(), torch.random.fork_rng(devices=self._loaded.cuda_devices):
            torch.manual_seed(seed)
            generated = self._loaded.model.generate(
                input_ids=ids, attention_mask=mask, generation_config=self._config(batch[0], different)
            )
        rows: list[list[int]] = generated[:, ids.shape[1] :].tolist()
        return rows

    def _config(self, request: ports.Request, different: int) -> Any:
        from transformers import GenerationConfig

        sampling, room = self._kind(request)
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=room,
            num_return_sequences=different,
            eos_token_id=list(sampling.stop_ids) or None,
            pad_token_id=sampling.stop_ids[0] if sampling.stop_ids else 0,
            do_sample=not samples.is_greedy(sampling),
            **({} if samples.is_greedy(sampling) else drawn),
        )
