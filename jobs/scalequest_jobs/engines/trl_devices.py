"""What the machine offers to training, and who it is."""

import importlib.metadata
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from transformers.utils import import_utils

from scalequest_jobs import ports

ComputeType = Literal["float32", "bfloat16"]

_LIBRARIES = ("trl", "transformers", "torch", "peft", "accelerate")


@dataclass(frozen=True, kw_only=True)
class Device:
    """The device of this process. `processes` is the number of devices that train together."""

    kind: Literal["cpu", "cuda"]
    name: str
    attention: str
    has_bfloat16: bool
    processes: int

    @property
    def has_flash_attention(self) -> bool:
        """Whether attention runs on FlashAttention 2 or 3."""
        return self.attention.startswith("flash_attention")


def find() -> Device:
    """Return the device that a training run would use now.

    Raises BadParametersError when one process sees several GPUs: neither library trains correctly
    on them without one process for each.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if not torch.cuda.is_available():
        # Eager attention under bfloat16 autocast trains 1.7 times faster than float32 SDPA on a CPU
        # (measured on 2 cores): the backward pass of CPU attention kernels is slow.
        return Device(kind="cpu", name="cpu", attention="eager", has_bfloat16=True, processes=processes)
    visible = torch.cuda.device_count()
    if processes == 1 and visible > 1:
        raise ports.BadParametersError(
            f"training sees {visible} GPUs in one process, expected 1: ask for one GPU, or start one process "
            "for each with torchrun"
        )
    return Device(
        kind="cuda",
        name=torch.cuda.get_device_name(),
        attention=_gpu_attention(),
        has_bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
        processes=processes,
    )


def _gpu_attention() -> str:
    if import_utils.is_flash_attn_3_available():
        return "flash_attention_3"
    if import_utils.is_flash_attn_2_available():
        return "flash_attention_2"
    return "sdpa"


def compute_type(device: Device, asked: Literal["auto", "float32", "bfloat16"]) -> ComputeType:
    """Return the type of matrix products; BadParametersError when the device lacks the one asked for."""
    if asked == "bfloat16" and not device.has_bfloat16:
        raise ports.BadParametersError(
            f"dtype: bfloat16 does not run on {device.name}; set dtype: auto or float32, or choose a newer GPU"
        )
    if asked == "float32" or not device.has_bfloat16:
        return "float32"
    return "bfloat16"


def identity(device: Device, dtype: ComputeType) -> dict[str, str]:
    """Return what changes the trained weights besides model, data and settings."""
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "engine": "trl",
        **versions,
        "device": device.name,
        "processes": str(device.processes),
        "attention": device.attention,
        "dtype": dtype,
    }


@contextmanager
def out_of_memory_is_temporary() -> Iterator[None]:
    """Map a full device to TryAgainError: on a shared GPU, another attempt may find room."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ports.TryAgainError(
            f"the device ran out of memory while training: {error}; if it happens again, lower deviceBatchSize "
            "or maxLength, train adapters, or use a larger GPU"
        ) from error
