"""What vLLM raises, as errors of a stage."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from scalequest_jobs import ports

_REFUSED = (ValueError, KeyError, AttributeError, TypeError, AssertionError, NotImplementedError, OSError)
"""What vLLM raises in the loading process for a model that it does not know or cannot fit together."""

_MISFIT = ("size of tensor", "size mismatch", "shape")
"""Words of torch's plain RuntimeError for a weight that does not fit its place."""


@contextlib.contextmanager
def while_loading(model: Path) -> Iterator[None]:
    """Map errors of starting an engine.

    Raises:
        BadInputError: vLLM does not know the architecture, or weights and config.json disagree.
        BadParametersError: the window does not fit into the memory that the settings leave for the cache.
        TryAgainError: vLLM is missing here, memory is taken, or the engine's process did not start.
    """
    try:
        yield
    except ImportError as error:
        raise ports.TryAgainError(
            f"vLLM cannot be imported ({error}); run this stage in an image that has the generate or cpu extra"
        ) from error
    except Exception as error:
        raise _loading_error(model, error) from error


@contextlib.contextmanager
def while_running(model: Path) -> Iterator[None]:
    """Map errors of a running engine.

    Requests are checked before they are queued, so what fails here is the engine, not a row.

    Raises:
        TryAgainError: memory ran out or the engine died.
    """
    try:
        yield
    except Exception as error:
        raise ports.TryAgainError(
            f"vLLM failed while it ran {model.name}: {_first_line(error)}; if it happens again, lower max_sequences"
        ) from error


def _loading_error(model: Path, error: Exception) -> ports.StageError:
    said = str(error)
    if "max seq len" in said or "max_model_len" in said:
        return ports.BadParametersError(
            f"{model} does not fit: {_first_line(error)}; lower max_model_length or raise gpu_memory_utilization"
        )
    misfit = isinstance(error, RuntimeError) and any(word in said.lower() for word in _MISFIT)
    if not (misfit or isinstance(error, _REFUSED)) or "memory" in said.lower():
        return ports.TryAgainError(
            f"vLLM could not start {model.name}: {_first_line(error)}; its log says why"
        )
    return ports.BadInputError(
        f"vLLM cannot load {model}: {_first_line(error)}; expected an architecture that vLLM knows, with weights "
        "that belong to its config.json"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"
