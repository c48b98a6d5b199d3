"""Training jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol


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
    """What training did: steps, examples used, and final figures.

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
