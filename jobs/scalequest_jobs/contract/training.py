"""The spec's training parts: question fine-tuning, preference optimisation, the student."""

from typing import Annotated, Literal

import pydantic

from scalequest_jobs.contract.base import DnsLabel, ShortName, SpecModel


class Adapters(SpecModel):
    """Low-rank adapters instead of full fine-tuning; merged into the weights at the end."""

    rank: Annotated[int, pydantic.Field(ge=1, le=1024)] = 64
    """Rank (ours)."""
    alpha: Annotated[int, pydantic.Field(ge=1, le=4096)] = 128
    """Scale (ours)."""


class TrainingParameters(SpecModel):
    """What all training stages share."""

    epochs: Annotated[float, pydantic.Field(gt=0, le=100)] = 1
    """Passes over the data. Paper: 1 for questions; more costs diversity (P App A)."""
    learning_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 2e-5
    """Peak learning rate."""
    batch_size: Annotated[int, pydantic.Field(ge=1, le=65_536)] = 32
    """Sequences (after packing) in one optimiser step, over all devices."""
    device_batch_size: Annotated[int, pydantic.Field(ge=1, le=4096)] = 8
    """Sequences on a device at once; what is missing to `batchSize` is accumulated."""
    max_length: Annotated[int, pydantic.Field(ge=16, le=131_072)] = 256
    """Longest sequence, in tokens; a longer example is left out with a reason, never cut."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """Learning rate schedule (C)."""
    warmup_ratio: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    """Share of all steps spent warming up."""
    warmup_steps: Annotated[int, pydantic.Field(ge=0, le=1_000_000)] = 0
    """Steps spent warming up, instead of a share."""
    weight_decay: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    """AdamW's weight decay (C)."""
    adapters: Adapters | None = None
    """Train low-rank adapters; absent trains all weights, as the paper does (C)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type: auto is bfloat16 where the device has it (C)."""
    checkpoint_steps: Annotated[int, pydantic.Field(ge=0, le=1_000_000)] = 100
    """Optimiser steps between checkpoints; 0 is none (ours)."""


class FineTuning(TrainingParameters):
    """Question Fine-Tuning: next-token loss on questions alone (P 2.2)."""

    enabled: bool = True
    """false takes the generators as they are, like null, which `kubectl apply` drops before the API server sees it."""
    learning_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 2e-5
    """Peak learning rate (C); the paper gives none."""
    batch_size: Annotated[int, pydantic.Field(ge=1, le=65_536)] = 32
    """Sequences (after packing) in one optimiser step, over all devices (C)."""
    max_length: Annotated[int, pydantic.Field(ge=16, le=131_072)] = 256
    """Longest sequence, in tokens (P App A); a longer example is left out with a reason, never cut."""
    warmup_ratio: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.03
    """Share of all steps spent warming up (C)."""
    packing: bool = True
    """Several questions in one sequence (P App A); needs FlashAttention on the training device."""


class PreferenceTraining(TrainingParameters):
    """Direct Preference Optimization on rewritten questions (P 2.3)."""

    learning_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 5e-7
    """Peak learning rate (P App A)."""
    batch_size: Annotated[int, pydantic.Field(ge=1, le=65_536)] = 128
    """Pairs in one optimiser step (P App A)."""
    max_length: Annotated[int, pydantic.Field(ge=16, le=131_072)] = 1024
    """Longest prompt and question together, in tokens (C)."""
    warmup_steps: Annotated[int, pydantic.Field(ge=0, le=1_000_000)] = 20
    """Steps spent warming up (C)."""
    beta: Annotated[float, pydantic.Field(gt=0, le=10)] = 0.1
    """Strength of the pull towards the reference model (C)."""
    held_out: Annotated[int, pydantic.Field(ge=0, le=100_000)] = 100
    """Pairs kept out of training to measure it (P App A); at most a tenth of all."""


class ScorerTraining(TrainingParameters):
    """The difficulty scorer: a regression head on fail rates (P 2.4); its settings are not published."""

    learning_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 1e-5
    """Peak learning rate (ours)."""
    max_length: Annotated[int, pydantic.Field(ge=16, le=131_072)] = 512
    """Longest question, in tokens (ours)."""
    warmup_ratio: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.03
    """Share of all steps spent warming up (ours)."""


class Student(TrainingParameters):
    """A student trained on the dataset (P 3.1)."""

    model: DnsLabel
    """Entry of `models` to train."""
    epochs: Annotated[float, pydantic.Field(gt=0, le=100)] = 3
    """Passes over the dataset (P App A)."""
    learning_rate: Annotated[float, pydantic.Field(gt=0, le=1)] = 1e-5
    """Peak learning rate: 1e-5 or 5e-5 by base model (P App A)."""
    evaluate: Annotated[tuple[ShortName, ...], pydantic.Field(max_length=16)] = ()
    """Benchmarks to measure on."""
