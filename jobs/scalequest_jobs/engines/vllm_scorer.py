"""Raw logits of reward and regression heads from vLLM."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.engines import feeding, hf_tokenizer, model_folder, samples, vllm_engine


class VllmScorer:
    """`ports.ScoreModel` of a one-output head.

    Heads that vLLM pools itself (...ForSequenceClassification) answer "classify" with one value. Older
    reward models answer "token_classify" with a value for every token, of which the last one counts.
    """

    def __init__(self, model: Path, settings: ports.EngineSettings) -> None:
        """Load a model with a head.

        Raises:
            BadInputError: the head has not exactly one output; and as `vllm_engine.Engine`.
            BadParametersError, TryAgainError: as `vllm_engine.Engine`.
        """
        model_folder.require_one_output(model, model_folder.require_weights(model))
        self._tokenizer = hf_tokenizer.HfTokenizer(model)
        self._engine = vllm_engine.Engine(model, settings, "pooling")
        self._window = settings.window
        self._task = "classify" if "classify" in self._engine.tasks else "token_classify"

    @property
    def identity(self) -> Mapping[str, str]:
        """Engine, version, device name and dtype."""
        return self._engine.identity

    @property
    def tokenizer(self) -> ports.Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    def score(self, requests: Iterable[ports.ScoreRequest]) -> Iterator[ports.Score]:
        """Yield the raw logit at the last token of each sequence.

        Raises:
            TryAgainError: the engine failed.
        """
        feeder = feeding.Feeder[ports.ScoreRequest](self._engine, window=self._window)
        for request, output in feeder.run(self._work(request) for request in requests):
            value = None if output is None else float(output.outputs.data.flatten()[-1])
            yield ports.Score(chunk=request.chunk, index=request.index, value=value)

    def close(self) -> None:
        """Free the model's memory."""
        self._engine.close()

    def _work(self, request: ports.ScoreRequest) -> feeding.Work[ports.ScoreRequest]:
        from vllm import PoolingParams

        fits = samples.fits(
            request.token_ids, room=self._engine.max_length, vocabulary=self._engine.vocabulary
        )
        # By default a sigmoid is applied to a single label, which ties good answers near 1.
        params = PoolingParams(task=self._task, use_activation=False)
        return feeding.Work(
            request=request, chunk=request.chunk, ids=request.token_ids, params=params if fits else None
        )
