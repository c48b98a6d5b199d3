"""The adapters of one worker."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from scalequest_jobs.ports.chat import ChatEndpoint
from scalequest_jobs.ports.scores import ScoreModel
from scalequest_jobs.ports.text import TextGenerator, Tokenizer
from scalequest_jobs.ports.training import Trainer


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How engines use the machine. None lets the engine decide from the model and the device."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_length: int | None = None
    gpu_memory_utilization: float | None = None
    max_sequences: int | None = None
    enforce_eager: bool = False
    window: int = 2048


@dataclass(frozen=True, kw_only=True)
class EndpointSettings:
    """An OpenAI-compatible endpoint. Prices in micro-USD per million tokens; 0 limits are off.

    `api_key_file` holds the key; the key itself never stands in settings, orders or logs.
    """

    url: str
    model: str
    api_key_file: Path | None = None
    timeout_seconds: float = 45.0
    retries: int = 8
    concurrency: int = 16
    requests_per_minute: int = 0
    prompt_micro_usd_per_million: int = 0
    completion_micro_usd_per_million: int = 0
    spend_limit_micro_usd: int = 0


class Engines(Protocol):
    """Makes the adapters of one worker. `model` is a folder with weights and tokenizer."""

    def generator(self, model: Path) -> TextGenerator:
        """Return the bulk generator for a model."""

    def sampler(self, model: Path) -> TextGenerator:
        """Return a generator for a few hundred samples inside a training worker."""

    def scorer(self, model: Path, *, kind: Literal["head", "likelihood"]) -> ScoreModel:
        """Return a scorer: a one-output head's raw logit, or a mean log-probability."""

    def tokenizer(self, model: Path) -> Tokenizer:
        """Return a model's tokenizer without its weights."""

    def trainer(self) -> Trainer:
        """Return the trainer."""

    def chat(self, endpoint: EndpointSettings, stop: threading.Event) -> ChatEndpoint:
        """Return the client of an endpoint; once `stop` is set it sends nothing more and waits for nothing."""
