"""The seams of a stage: what it needs of the outside world, as protocols over plain values.

Law: standard library only. Real adapters live in `engines` and `stores`, hand-written fakes in
`tests/fakes.py`; both pass the same suites in `tests/adapters`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

# --- Errors: two words decide what happens next -------------------------------------------------


class StageError(Exception):
    """Base of every error that a stage or an adapter raises on purpose.

    The tree decides the exit code (`contract/launch.py`)::

        StageError
        +-- BadParametersError   64: the spec asks for something impossible; never retried
        +-- BadInputError        65: a file, row or model is not what it should be; never retried
        +-- TryAgainError        75: a store, endpoint or node failed; another attempt may succeed
            +-- StoppedError     75: the worker was asked to stop and did so at a chunk boundary
    """


class BadParametersError(StageError):
    """The parameters cannot work; the message names the field, what was seen and the fix."""


class BadInputError(StageError):
    """An input is unusable; the message names the file, key or row, and what was expected."""


class TryAgainError(StageError):
    """Something outside failed and may recover; the attempt ends, its committed chunks stay."""


class StoppedError(TryAgainError):
    """The worker was asked to stop; every finished chunk is committed."""


# --- Objects ------------------------------------------------------------------------------------


class ObjectMissingError(StageError):
    """No object has this key; the message names the key and the store."""


class ArtifactStore(Protocol):
    """Objects by key. Nothing else is relied on: no rename, no conditional write, no overwrite.

    Keys are `/`-separated relative paths. A write is atomic (a reader sees all of it or nothing)
    and durable once the call returns. Reading back one's own write always works. Every method
    raises TryAgainError when the store cannot be reached, and `get`, `size` and `download` raise
    ObjectMissingError for a key that does not exist.
    """

    def put(self, key: str, data: bytes) -> None:
        """Write an object; the store checks the content digest on the way in where it can."""

    def get(self, key: str) -> bytes:
        """Return an object's content."""

    def size(self, key: str) -> int:
        """Return an object's length in bytes."""

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file without holding it in memory."""

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a file; the file appears only when it is complete."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted. Never used to decide what is committed."""

    def describe(self) -> str:
        """Return the store's address for messages, without credentials."""


# --- Text ---------------------------------------------------------------------------------------


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


# --- Scores -------------------------------------------------------------------------------------


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


# --- A chat endpoint outside --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One conversation for an OpenAI-compatible endpoint."""

    chunk: int
    index: int
    messages: tuple[Message, ...]
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class ChatReply:
    """The endpoint's answer, or why there is none. Costs are in micro-USD (1e-6 USD), integers.

    `text` is None when the endpoint refused this one request for good; `error` then says why.
    """

    chunk: int
    index: int
    text: str | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_micro_usd: int
    error: str = ""


class ChatEndpoint(Protocol):
    """A chat model behind HTTP: retries, rate and spend limits are its adapter's business."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Model name and API kind; never the address or the key."""

    def complete(self, requests: Iterable[ChatRequest]) -> Iterator[ChatReply]:
        """Yield a reply for each request, in any order, a bounded number in flight.

        Raises TryAgainError when the endpoint stays unreachable or rate-limited past the retry
        limits, BadParametersError when it refuses the key or the model, and SpendLimitError when
        the next request could pass the spend limit. Replies already received have been yielded.
        """

    def close(self) -> None:
        """Close connections."""


class SpendLimitError(StageError):
    """The endpoint's spend limit is reached; the message names the limit and what was spent."""


# --- Training -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SftExample:
    """A prompt and its completion as token ids; the loss covers the completion."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PreferenceExample:
    """A prompt with a chosen and a rejected completion, as token ids; both end in a stop id."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class RegressionExample:
    """A token sequence and the value that a one-output head learns for it (mean squared error)."""

    token_ids: tuple[int, ...]
    label: float


@dataclass(frozen=True, kw_only=True)
class RewardExample:
    """A chosen and a rejected token sequence for a pairwise (Bradley-Terry) reward head."""

    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]


Examples = (
    Sequence[SftExample] | Sequence[PreferenceExample] | Sequence[RegressionExample] | Sequence[RewardExample]
)


class Objective(StrEnum):
    """What is minimised."""

    SFT = "sft"
    DPO = "dpo"
    REGRESSION = "regression"
    REWARD = "reward"


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters on all linear layers, merged into the weights at the end."""

    rank: int
    alpha: int


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Hyper-parameters.

    `batch_size` is the effective batch in sequences (after packing), over all devices; the adapter
    splits it into device batches of at most `device_batch_size`. With `warmup_steps` 0 the warm-up
    is `warmup_ratio` of all steps. `checkpoint_steps` 0 means no checkpoints.
    """

    epochs: float
    learning_rate: float
    batch_size: int
    max_length: int
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_ratio: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    device_batch_size: int = 8
    packing: bool = False
    beta: float = 0.1
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    lora: Lora | None = None
    seed: int = 0
    checkpoint_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Where training is: optimiser steps done of all, and the figures last logged by the trainer."""

    step: int
    total_steps: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training run: weights from `model`, result to `output` (a folder, created).

    `checkpoint` is a folder saved earlier by the same job to go on from. `on_checkpoint(folder,
    step)` is called after each complete checkpoint, `on_progress` after each log line, and
    `should_stop` is asked after each step: True saves a checkpoint and raises StoppedError.
    """

    objective: Objective
    model: Path
    output: Path
    examples: Examples
    settings: TrainingSettings
    evaluation: Examples = ()
    checkpoint: Path | None = None
    on_checkpoint: Callable[[Path, int], None] = lambda _folder, _step: None
    on_progress: Callable[[TrainingProgress], None] = lambda _progress: None
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What training did: steps, examples used and left out (with the reason), and final figures.

    `history` holds one mapping per log line, `step` included.
    """

    steps: int
    examples_used: int
    metrics: Mapping[str, float]
    history: tuple[Mapping[str, float], ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains a model and writes it, with its tokenizer, as safetensors and JSON files."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Libraries and versions, device and dtype."""

    def train(self, job: TrainingJob) -> TrainingResult:
        """Run the job. A warning that means wrong data or a wrong loss is an error here."""


# --- All of them --------------------------------------------------------------------------------


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

    def chat(self, endpoint: EndpointSettings) -> ChatEndpoint:
        """Return the client of an endpoint."""
