"""From our settings to the arguments of the libraries' trainers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_devices

_SEEDS = 2**32  # numpy, which the libraries seed too, takes 32 bits
_ALL_STEPS = 0.999_999  # the libraries read a number below 1 as a share, and 1 as one step


@dataclass(frozen=True, kw_only=True)
class BatchSplit:
    """How an effective batch is made up: `device_batch * accumulation * processes` sequences."""

    device_batch: int
    accumulation: int


def split_batch(settings: ports.TrainingSettings, processes: int) -> BatchSplit:
    """Return the split with the largest device batch that makes up the effective batch exactly.

    Raises BadParametersError when the batch does not divide over the devices.
    """
    share, rest = divmod(settings.batch_size, processes)
    if rest or share == 0:
        raise ports.BadParametersError(
            f"batchSize {settings.batch_size} does not divide over {processes} devices; make it a multiple of "
            f"{processes}"
        )
    largest = min(share, max(1, settings.device_batch_size))
    device_batch = next(size for size in range(largest, 0, -1) if share % size == 0)
    return BatchSplit(device_batch=device_batch, accumulation=share // device_batch)


def make(job: ports.TrainingJob, device: trl_devices.Device, checkpoints: Path) -> dict[str, Any]:
    """Return what the arguments of all four trainers share.

    Logging and saving are off: `trl_callbacks.Conductor` decides both. The filter that hides losses
    which are not finite is off too.
    """
    settings = job.settings
    split = split_batch(settings, device.processes)
    on_gpu = device.kind == "cuda"
    return {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": split.device_batch,
        "per_device_eval_batch_size": split.device_batch,
        "gradient_accumulation_steps": split.accumulation,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": _scheduler(settings),
        "warmup_steps": _warmup(settings),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed % _SEEDS,
        "data_seed": settings.seed % _SEEDS,
        "bf16": trl_devices.compute_type(device, settings.dtype) == "bfloat16",
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "dataloader_pin_memory": on_gpu,
        "ddp_find_unused_parameters": False,
        "prediction_loss_only": True,
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _scheduler(settings: ports.TrainingSettings) -> str:
    """Return the libraries' name; their "constant" is the one schedule that ignores a warm-up."""
    if settings.scheduler == "constant" and _warmup(settings) > 0:
        return "constant_with_warmup"
    return settings.scheduler


def _warmup(settings: ports.TrainingSettings) -> float:
    if settings.warmup_steps > 0:
        return settings.warmup_steps
    return min(settings.warmup_ratio, _ALL_STEPS)
