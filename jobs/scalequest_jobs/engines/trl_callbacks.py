"""What happens between steps: log lines, checkpoints, and the wish to stop."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed
import transformers

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_checkpoints

_MOST_STEPS_BETWEEN_LOGS = 20
_LOGS = 100
# Clocks and counters that restart with the process: they would make equal runs differ.
_DROPPED = frozenset({"num_tokens", "total_flos"})


class Conductor(transformers.TrainerCallback):  # type: ignore[misc]  # the library has no types
    """Decides after each step whether to log, save or stop, and reports what was done."""

    def __init__(self, job: ports.TrainingJob, checkpoints: Path, signature: Mapping[str, Any]) -> None:
        self._job = job
        self._checkpoints = checkpoints
        self._signature = signature
        self._steps_between_logs = 1
        self.history: list[dict[str, float]] = []
        self.stopped = False

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        """Log about a hundred times, and at least every 20 steps; take over an earlier attempt's log."""
        self._steps_between_logs = max(1, min(_MOST_STEPS_BETWEEN_LOGS, state.max_steps // _LOGS))
        self.history = [_figures(line, line["step"]) for line in state.log_history if "loss" in line]

    def on_step_end(self, _args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        """Ask for what is due; a checkpoint logs first, so that a resumed run's lines are the same."""
        step, total = state.global_step, state.max_steps
        self.stopped = _agreed(self._job.should_stop())
        every = self._job.settings.checkpoint_steps
        if self.stopped or (every and step % every == 0 and step < total):
            control.should_log = control.should_save = True
        if step in (1, total) or step % self._steps_between_logs == 0:
            control.should_log = True
        if self.stopped:
            control.should_training_stop = True

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Mapping[str, Any], **_kwargs: Any) -> None:
        """Report a log line of training; the lines of evaluation and of the end are left to the caller."""
        if "loss" not in logs:
            return
        figures = _figures(logs, state.global_step)
        for name in ("loss", "grad_norm"):
            if not math.isfinite(figures.get(name, 0.0)):
                raise ports.BadParametersError(
                    f"{name} became {figures[name]} at step {state.global_step} of {state.max_steps}; lower "
                    f"learningRate ({self._job.settings.learning_rate}), warm up longer, or use dtype: float32"
                )
        self.history.append(figures)
        if state.is_world_process_zero:
            self._job.on_progress(
                ports.TrainingProgress(
                    step=state.global_step, total_steps=state.max_steps, metrics=without_step(figures)
                )
            )

    def on_save(self, _args: Any, state: Any, _control: Any, **_kwargs: Any) -> None:
        """Sign the checkpoint, hand it over, and only then remove earlier ones."""
        if not state.is_world_process_zero:
            return
        folder = trl_checkpoints.folder(self._checkpoints, state.global_step)
        trl_checkpoints.sign(folder, self._signature)
        self._job.on_checkpoint(folder, state.global_step)
        for other in self._checkpoints.iterdir():
            if other != folder:
                shutil.rmtree(other)


def without_step(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a log line alone."""
    return {name: value for name, value in figures.items() if name != "step"}


def _figures(logs: Mapping[str, Any], step: int) -> dict[str, float]:
    figures = {name: float(value) for name, value in logs.items() if isinstance(value, (int, float))}
    return {"step": step, **{name: figures[name] for name in figures if name not in {"step", *_DROPPED}}}


def _agreed(wish: bool) -> bool:  # noqa: FBT001
    """Return the first process's wish: processes that stop at different steps wait for each other for ever."""
    wishes = [wish]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(wishes, src=0)
    return wishes[0]
