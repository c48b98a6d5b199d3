"""A vLLM engine for one model: how it is set up, fed by ids, seeded and freed. vLLM 0.29 or newer."""

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from scalequest_jobs import ports
from scalequest_jobs.engines import model_folder, vllm_errors

CPU_CACHE_BYTES = 1 << 30
"""KV cache on a CPU. An explicit size also spares vLLM its warm-up pass, which is how it measures one."""

CPU_SEQUENCES = 256
"""Sequences decoded together on a CPU; its own default is 128."""

_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class Engine:
    """One loaded model that takes token ids and answers in any order.

    On a GPU vLLM runs in a process of its own and seeds each request. On a CPU it runs in this process,
    because only there can it be seeded: `seeds_requests` is False and `reseed` seeds it as a whole.
    """

    def __init__(
        self, model: Path, settings: ports.EngineSettings, runner: Literal["generate", "pooling"]
    ) -> None:
        """Load a model, seconds for a small one and minutes for a large one.

        Raises:
            BadInputError: the folder's files are broken or vLLM does not know the architecture.
            BadParametersError: the settings ask for more tokens than the model has positions.
            TryAgainError: not enough memory, or the engine's process did not start.
        """
        config = model_folder.require_weights(model)
        self.max_length = model_folder.window_tokens(model, config, settings)
        with _stdout_kept_clean(), _torch_threads_kept(), vllm_errors.while_loading(model):
            self._cpu = _prepare_process()
            self._engine = _start(model, settings, runner, max_length=self.max_length, cpu=self._cpu)
        model_config = self._engine.vllm_config.model_config
        self.vocabulary: int = model_config.get_vocab_size()
        self.tasks: tuple[str, ...] = tuple(self._engine.get_supported_tasks())
        self._dtype = str(model_config.dtype).removeprefix("torch.")
        self._model = model

    @property
    def seeds_requests(self) -> bool:
        """Whether a seed in the sampling parameters of a request is honoured."""
        return not self._cpu

    @property
    def identity(self) -> Mapping[str, str]:
        """Engine, version, device name and dtype."""
        from vllm import __version__
        from vllm.platforms import current_platform

        device = "cpu" if self._cpu else str(current_platform.get_device_name())
        return {"engine": "vllm", "version": str(__version__), "device": device, "dtype": self._dtype}

    def add(self, name: str, ids: Sequence[int], params: object) -> None:
        """Queue a request; `params` are vLLM's sampling or pooling parameters."""
        with vllm_errors.while_running(self._model):
            self._engine.add_request(name, {"type": "token", "prompt_token_ids": list(ids)}, params)

    def step(self) -> list[Any]:
        """Run one forward pass and return the outputs of the requests that it finished."""
        with vllm_errors.while_running(self._model), _uncompiled() if self._cpu else contextlib.nullcontext():
            return [output for output in self._engine.step() if output.finished]

    def abort(self, names: Sequence[str]) -> None:
        """Drop requests that nobody waits for any more."""
        if names:
            self._engine.abort_request(list(names))

    def reseed(self, seed: int) -> None:
        """Make what follows depend on `seed` alone; only for an idle engine in this process.

        The prefix cache is emptied too: a hit changes how a prompt is split into passes, and with it
        how many random numbers each pass draws.
        """
        import torch

        self._engine.reset_prefix_cache()
        torch.manual_seed(seed)

    def close(self) -> None:
        """Free the model's memory; another engine can be loaded in this process afterwards."""
        self._engine.engine_core.shutdown()
        del self._engine
        # vLLM freezes the heap after loading, which would hide the cycles that hold the weights.
        gc.unfreeze()
        gc.collect()


def _prepare_process() -> bool:
    """Set the environment, import vLLM and return whether it is a build for CPUs."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        # Deprecations between vLLM and its own dependencies: nothing a user could act on.
        warnings.simplefilter("ignore")
        from vllm.platforms import current_platform

        cpu = bool(current_platform.is_cpu())
    if cpu:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        _use_one_core()
    return cpu


def _use_one_core() -> None:
    """Run on one thread unless OMP_NUM_THREADS says otherwise.

    A pod's threads would be counted from its node's cores, not from its CPU limit, and OpenMP's spin: two
    threads on two cores that something else uses too were measured at a tenth of one thread's speed.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _start(model: Path, settings: ports.EngineSettings, runner: str, *, max_length: int, cpu: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vllm import EngineArgs, LLMEngine

        arguments = {
            "model": str(model),
            "runner": runner,
            "dtype": model_folder.torch_dtype_name(settings, cpu=cpu),
            "max_model_len": max_length,
            "enforce_eager": cpu or settings.enforce_eager,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",
            "trust_remote_code": False,
            "load_format": "safetensors",
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            **_memory(settings, cpu=cpu),
        }
        return LLMEngine.from_engine_args(EngineArgs(**arguments))


def _memory(settings: ports.EngineSettings, *, cpu: bool) -> dict[str, float | int]:
    chosen: dict[str, float | int] = {}
    if settings.gpu_memory_utilization is not None:
        chosen["gpu_memory_utilization"] = settings.gpu_memory_utilization
    elif cpu:
        chosen["kv_cache_memory_bytes"] = CPU_CACHE_BYTES
    if settings.max_sequences is not None:
        chosen["max_num_seqs"] = settings.max_sequences
    elif cpu:
        chosen["max_num_seqs"] = CPU_SEQUENCES
    return chosen


@contextlib.contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Send what native code writes to standard output to standard error: a worker's stdout is read."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """Run what vLLM wraps in torch.compile as it is written.

    Even an eager engine compiles a helper for the log-probabilities of a prompt: 20 s on one core, and
    a C++ compiler that a worker's image would need for nothing else.
    """
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield


@contextlib.contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Put back torch.set_num_threads, which vLLM on a CPU replaces for the whole process."""
    import torch

    original = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = original
