"""Checkpoints: where they lie, and whose they are."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_datasets

_SIGNATURE = "job.json"
_NEEDED = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth")
_MAY_DIFFER = "checkpoint_steps"


def root(output: Path) -> Path:
    """Return the folder that holds the checkpoints of the job that writes `output`."""
    return output.with_name(f"{output.name}.checkpoints")


def folder(checkpoints: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint, named as transformers names it."""
    return checkpoints / f"checkpoint-{step}"


def signature(job: ports.TrainingJob) -> dict[str, Any]:
    """Return what a checkpoint must share with a job to be its own: objective, settings, examples.

    The model is not part of it: a folder's path changes between attempts, and reading gigabytes to
    compare them would cost more than the caller, who knows its digest.
    """
    settings = dataclasses.asdict(job.settings)
    del settings[_MAY_DIFFER]
    return {
        "objective": str(job.objective),
        "examples": trl_datasets.digest(job.examples),
        "settings": settings,
    }


def sign(checkpoint: Path, signed: Mapping[str, Any]) -> None:
    """Write whose checkpoint it is."""
    (checkpoint / _SIGNATURE).write_text(json.dumps(signed, sort_keys=True), encoding="utf-8")


def check(checkpoint: Path, expected: Mapping[str, Any], *, processes: int) -> None:
    """Refuse a checkpoint that is incomplete or of another job, with BadInputError."""
    needed = _NEEDED if processes == 1 else _NEEDED[:-1]
    missing = [name for name in (_SIGNATURE, *needed) if not (checkpoint / name).is_file()]
    if missing:
        raise ports.BadInputError(
            f"{checkpoint}: not a complete checkpoint, it lacks {', '.join(missing)}; start without it"
        )
    seen = json.loads((checkpoint / _SIGNATURE).read_text(encoding="utf-8"))
    different = [name for name in expected if seen.get(name) != json.loads(json.dumps(expected[name]))]
    if different:
        raise ports.BadInputError(
            f"{checkpoint}: the checkpoint of another job, it differs in {', '.join(different)}: "
            f"{[seen.get(name) for name in different]}, expected {[expected[name] for name in different]}; "
            "start without it"
        )
