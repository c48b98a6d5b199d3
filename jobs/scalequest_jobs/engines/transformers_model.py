"""A transformers model on the device at hand: loading, padding, freeing."""

import contextlib
import gc
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.engines import model_folder


class Loaded:
    """A model in evaluation mode, with what adapters need to know of it."""

    def __init__(self, model: Path, settings: ports.EngineSettings, auto_class: str) -> None:
        """Load weights with one of transformers' auto classes ("AutoModelForCausalLM", ...).

        Raises:
            BadInputError: the folder's files are broken or the architecture is unknown.
            BadParametersError: the settings ask for more tokens than the model has positions.
            TryAgainError: not enough memory.
        """
        import torch
        import transformers

        config = model_folder.require_weights(model)
        self.max_length = model_folder.window_tokens(model, config, settings)
        cuda = torch.cuda.is_available()
        self._dtype = model_folder.torch_dtype_name(settings, cpu=not cuda)
        self.device = torch.device("cuda" if cuda else "cpu")
        self._path = model
        transformers.utils.logging.disable_progress_bar()
        with _mapped_loading_errors(model):
            self.model: Any = getattr(transformers, auto_class).from_pretrained(
                str(model), dtype=getattr(torch, self._dtype), trust_remote_code=False, local_files_only=True
            )
        self.model.to(self.device).eval()
        self.vocabulary: int = self.model.get_input_embeddings().num_embeddings

    @property
    def identity(self) -> Mapping[str, str]:
        """Engine, version, device name and dtype."""
        import torch

        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        version = importlib.metadata.version("transformers")
        return {"engine": "transformers", "version": version, "device": device, "dtype": self._dtype}

    @property
    def cuda_devices(self) -> list[int]:
        """Indices of the CUDA devices in use, whose random state a caller may want to keep."""
        import torch

        return [torch.cuda.current_device()] if self.device.type == "cuda" else []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the model without gradients.

        Raises:
            TryAgainError: memory ran out or the device failed.
        """
        import torch

        try:
            with torch.inference_mode():
                yield
        except RuntimeError as error:
            raise ports.TryAgainError(
                f"transformers failed while it ran {self._path.name} ({error}); if it happens again, lower "
                "max_sequences"
            ) from error

    def padded(self, rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Any, Any]:
        """Return ids and attention mask, both (rows, longest row), int64, on the model's device."""
        import torch

        ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            place = slice(-len(row), None) if left else slice(0, len(row))
            ids[at, place] = torch.tensor(row)
            mask[at, place] = 1
        return ids.to(self.device), mask.to(self.device)

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        del self.model
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


@contextlib.contextmanager
def _mapped_loading_errors(model: Path) -> Iterator[None]:
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise ports.TryAgainError(f"there is not enough memory to load {model.name} ({error})") from error
    except (ValueError, KeyError, OSError, RuntimeError, AttributeError) as error:
        raise ports.BadInputError(
            f"transformers cannot load {model} ({error}); expected a known architecture with weights that belong "
            "to its config.json"
        ) from error
