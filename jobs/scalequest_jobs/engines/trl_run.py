"""One training run, from checks to the written model."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import transformers.utils.logging

from scalequest_jobs import ports
from scalequest_jobs.engines import (
    trl_callbacks,
    trl_checkpoints,
    trl_datasets,
    trl_devices,
    trl_models,
    trl_objectives,
    trl_warnings,
)

_CLOCKS = ("runtime", "per_second", "num_tokens", "epoch", "model_preparation_time")


def run(job: ports.TrainingJob) -> ports.TrainingResult:
    """Run a job; see `trl_trainer.TrlTrainer.train`."""
    device = trl_devices.find()
    _check_settings(job, device)
    with trl_devices.out_of_memory_is_temporary(), trl_warnings.watch(), _no_bars():
        described = trl_models.describe(job.model)
        _check_examples(job, described)
        signature = trl_checkpoints.signature(job)
        if job.checkpoint is not None:
            trl_checkpoints.check(job.checkpoint, signature, processes=device.processes)
        return _train(job, described, device, signature)


def _check_settings(job: ports.TrainingJob, device: trl_devices.Device) -> None:
    trl_devices.compute_type(device, job.settings.dtype)
    if job.settings.packing and job.objective is not ports.Objective.SFT:
        raise ports.BadParametersError(f"packing is for SFT, not for {job.objective}; set packing: false")
    if job.settings.packing and not device.has_flash_attention:
        raise ports.BadParametersError(
            f"packing needs FlashAttention, and {device.name} has {device.attention} attention only: the questions "
            "of a sequence would see each other; set packing: false"
        )
    if not job.examples:
        raise ports.BadInputError("there is no example to train on; look at what the stage before rejected")
    if job.output.exists() and (not job.output.is_dir() or any(job.output.iterdir())):
        raise ports.BadParametersError(f"{job.output} exists already; give a path that does not")


def _check_examples(job: ports.TrainingJob, described: trl_models.Description) -> None:
    longest = min(job.settings.max_length, described.window)
    for examples in (job.examples, job.evaluation):
        trl_datasets.check(job.objective, examples, max_length=longest, vocabulary=described.vocabulary)


def _train(
    job: ports.TrainingJob,
    described: trl_models.Description,
    device: trl_devices.Device,
    signature: Mapping[str, Any],
) -> ports.TrainingResult:
    checkpoints = trl_checkpoints.root(job.output)
    conductor = trl_callbacks.Conductor(job, checkpoints, signature)
    trainer = trl_objectives.make(job, described, device, checkpoints, conductor)
    trainer.train(resume_from_checkpoint=None if job.checkpoint is None else str(job.checkpoint))
    if conductor.stopped:
        raise ports.StoppedError(
            f"training stopped as asked after step {trainer.state.global_step} of {trainer.state.max_steps}; "
            "its checkpoint is complete"
        )
    metrics = _metrics(conductor.history, trainer.evaluate() if job.evaluation else {})
    if trainer.is_world_process_zero():
        trl_models.save(trainer.model, described, job.output, is_head=job.objective in trl_models.HEADS)
        _remove_if_empty(checkpoints)
    return ports.TrainingResult(
        steps=trainer.state.global_step,
        examples_used=len(job.examples),
        metrics=metrics,
        history=tuple(conductor.history),
        identity=trl_devices.identity(device, trl_devices.compute_type(device, job.settings.dtype)),
    )


def _metrics(history: Sequence[Mapping[str, float]], evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the last log line, the mean loss over all steps, and the evaluation's figures."""
    steps = [int(line["step"]) for line in history]
    weights = [step - before for before, step in zip([0, *steps], steps, strict=False)]
    mean = sum(line["loss"] * weight for line, weight in zip(history, weights, strict=True)) / steps[-1]
    return {
        **trl_callbacks.without_step(history[-1]),
        "train_loss": mean,
        **{name: float(value) for name, value in evaluation.items() if not name.endswith(_CLOCKS)},
    }


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the libraries' progress bars off stderr: a job's log is read by machines."""
    had_bars = transformers.utils.logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    variable = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if variable is None:
            del os.environ["TQDM_DISABLE"]
        if had_bars[0]:
            transformers.utils.logging.enable_progress_bar()
        if not had_bars[1]:
            datasets.enable_progress_bars()
