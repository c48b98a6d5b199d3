"""A trainer that learns nothing: it copies the model and keeps the jobs it was given."""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scalequest_jobs import ports


@dataclass
class RecordingTrainer:
    """Passes the parts of the trainers' suite that need no learning; `jobs` holds what it was asked."""

    loss: float = 1.0
    jobs: list[ports.TrainingJob] = field(default_factory=list)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"engine": "recording", "device": "none"}

    def train(self, job: ports.TrainingJob) -> ports.TrainingResult:
        self.jobs.append(job)
        _check(job)
        steps_in_epoch = math.ceil(len(job.examples) / job.settings.batch_size)
        total = max(1, math.ceil(steps_in_epoch * job.settings.epochs))
        history = self._walk(job, total)
        shutil.copytree(job.model, job.output)
        return ports.TrainingResult(
            steps=total,
            examples_used=len(job.examples),
            metrics={"loss": self.loss, "train_loss": self.loss},
            history=tuple(history),
            identity=self.identity,
        )

    def _walk(self, job: ports.TrainingJob, total: int) -> list[dict[str, float]]:
        done = 0 if job.checkpoint is None else json.loads((job.checkpoint / "step.json").read_text())
        history: list[dict[str, float]] = []
        for step in range(done + 1, total + 1):
            history.append({"step": step, "loss": self.loss})
            job.on_progress(ports.TrainingProgress(step=step, total_steps=total, metrics={"loss": self.loss}))
            stop = job.should_stop()
            every = job.settings.checkpoint_steps
            if stop or (every and step % every == 0 and step < total):
                _save(job, step)
            if stop:
                raise ports.StoppedError(f"stopped after step {step} of {total}")
        return history


def _check(job: ports.TrainingJob) -> None:
    if not job.examples:
        raise ports.BadInputError("there is no example to train on")
    if job.output.exists():
        raise ports.BadParametersError(f"{job.output} exists already")
    if not (job.model / "config.json").is_file():
        raise ports.BadInputError(f"{job.model}: the model cannot be read: no config.json")
    lengths = [_length(example) for example in job.examples]
    too_long = [index for index, length in enumerate(lengths) if length > job.settings.max_length]
    if too_long:
        raise ports.BadInputError(
            f"{len(too_long)} of {len(lengths)} examples are longer than {job.settings.max_length} tokens, "
            f"the first is example {too_long[0]} with {lengths[too_long[0]]}"
        )


def _length(example: object) -> int:
    parts = {name: len(value) for name, value in vars(example).items() if isinstance(value, tuple)}
    return parts.pop("prompt_ids", 0) + max(parts.values())


def _save(job: ports.TrainingJob, step: int) -> None:
    root = job.output.with_name(f"{job.output.name}.checkpoints")
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "step.json").write_text(json.dumps(step))
    job.on_checkpoint(folder, step)
    for other in Path(root).iterdir():
        if other != folder:
            shutil.rmtree(other)
