"""The adapters of a real worker; each library is imported when its adapter is first asked for."""

import importlib.util
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from scalequest_jobs import ports

logger = logging.getLogger(__name__)


class _Closable(Protocol):
    def close(self) -> None: ...


E = TypeVar("E", bound=_Closable)


class RealEngines:
    """Implements `ports.Engines`. At most one bulk engine is loaded; the next one replaces it.

    Two stages in a row with one model (solvability and responses) share the loaded engine.
    """

    def __init__(self, settings: ports.EngineSettings) -> None:
        self._settings = settings
        self._loaded: tuple[tuple[str, Path], _Closable] | None = None

    def _load(self, kind: str, model: Path, make: Callable[[], E]) -> E:
        key = (kind, model.resolve())
        if self._loaded and self._loaded[0] == key:
            return self._loaded[1]  # type: ignore[return-value]  # the key holds the kind
        self.close()
        engine = make()
        self._loaded = (key, engine)
        return engine

    def close(self) -> None:
        """Free the loaded engine."""
        if self._loaded:
            self._loaded[1].close()
            self._loaded = None

    def generator(self, model: Path) -> ports.TextGenerator:
        """Return vLLM's generator, or transformers' where vLLM is not installed."""
        if _has_vllm():
            from scalequest_jobs.engines.vllm_generator import VllmGenerator

            return self._load("generator", model, lambda: VllmGenerator(model, self._settings))
        return self._load("generator", model, lambda: self._transformers_generator(model))

    def sampler(self, model: Path) -> ports.TextGenerator:
        """Return transformers' generator: a training image has no vLLM."""
        return self._transformers_generator(model)

    def _transformers_generator(self, model: Path) -> ports.TextGenerator:
        from scalequest_jobs.engines.transformers_generator import TransformersGenerator

        return TransformersGenerator(model, self._settings)

    def scorer(self, model: Path, *, kind: Literal["head", "likelihood"]) -> ports.ScoreModel:
        """Return vLLM's scorer, or transformers' where vLLM is not installed."""
        return self._load(kind, model, lambda: self._scorer(model, kind))

    def _scorer(self, model: Path, kind: Literal["head", "likelihood"]) -> ports.ScoreModel:
        if not _has_vllm():
            from scalequest_jobs.engines import transformers_scorer

            scorer = (
                transformers_scorer.TransformersScorer
                if kind == "head"
                else transformers_scorer.TransformersLikelihood
            )
            return scorer(model, self._settings)
        if kind == "head":
            from scalequest_jobs.engines.vllm_scorer import VllmScorer

            return VllmScorer(model, self._settings)
        from scalequest_jobs.engines.vllm_likelihood import VllmLikelihood

        return VllmLikelihood(model, self._settings)

    def tokenizer(self, model: Path) -> ports.Tokenizer:
        """Return the model's tokenizer."""
        from scalequest_jobs.engines.hf_tokenizer import HfTokenizer

        return HfTokenizer(model)

    def trainer(self) -> ports.Trainer:
        """Return TRL's trainer."""
        from scalequest_jobs.engines.trl_trainer import TrlTrainer

        return TrlTrainer()

    def chat(self, endpoint: ports.EndpointSettings, stop: threading.Event) -> ports.ChatEndpoint:
        """Return the HTTP client."""
        from scalequest_jobs.engines.openai_endpoint import OpenAiEndpoint

        return OpenAiEndpoint(endpoint, stop=stop)


def _has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None
