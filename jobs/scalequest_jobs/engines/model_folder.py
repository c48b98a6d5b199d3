"""What can be known of a model folder from its files alone, before an engine spends a minute on it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from scalequest_jobs import ports

LARGEST_DEFAULT_WINDOW = 4096
"""Tokens. Windows of 32k and more would reserve cache that questions and answers never use."""


def read_json(model: Path, name: str) -> dict[str, Any]:
    """Return a JSON object of the folder, empty if the file is missing.

    Raises:
        BadInputError: the file is not a JSON object.
    """
    path = model / name
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ports.BadInputError(
            f"{path} cannot be read as JSON ({error}); fetch the model again"
        ) from error
    if not isinstance(content, dict):
        raise ports.BadInputError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def require_weights(model: Path) -> dict[str, Any]:
    """Return config.json of a folder whose safetensors files are complete.

    A truncated file is found by its header, without reading tensors: an engine that runs in a process of
    its own would only say that it failed to start.

    Raises:
        BadInputError: no config.json, no safetensors file, or one that is cut short.
    """
    from safetensors import SafetensorError, safe_open

    config = read_json(model, "config.json")
    if not config:
        raise ports.BadInputError(
            f"{model} has no config.json; expected a model folder as Hugging Face lays it out"
        )
    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise ports.BadInputError(f"{model} has no *.safetensors file; convert the weights to safetensors")
    for file in files:
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            raise ports.BadInputError(
                f"{file} is not a whole safetensors file ({error}); fetch it again"
            ) from error
    return config


def require_one_output(model: Path, config: dict[str, Any]) -> None:
    """Check that a classification head has one output.

    Raises:
        BadInputError: the head has another number of outputs, or config.json names none.
    """
    outputs = config.get("num_labels", len(config.get("id2label", ())) or 2)
    architectures = config.get("architectures") or [""]
    if architectures[0].endswith("ForSequenceClassification") and outputs == 1:
        return
    if architectures[0].endswith("ForRewardModel"):
        return
    raise ports.BadInputError(
        f"{model} is a {architectures[0] or 'model without architecture'} with {outputs} labels; a scorer needs a "
        "...ForSequenceClassification with one label (num_labels 1) or a ...ForRewardModel"
    )


def window_tokens(model: Path, config: dict[str, Any], settings: ports.EngineSettings) -> int:
    """Return how many tokens of prompt and answer together a model is loaded for.

    Raises:
        BadParametersError: the settings ask for more than the model's positions.
    """
    positions = config.get("max_position_embeddings") or config.get("n_positions") or LARGEST_DEFAULT_WINDOW
    asked = settings.max_model_length
    if asked is None:
        return min(positions, LARGEST_DEFAULT_WINDOW)
    if asked > positions and not _stretches_positions(config):
        raise ports.BadParametersError(
            f"max_model_length is {asked}, but {model} has {positions} positions; ask for {positions} or fewer"
        )
    return asked


def _stretches_positions(config: dict[str, Any]) -> bool:
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return bool(scaling.get("rope_type", scaling.get("type", "default")) != "default")


def eos_ids(model: Path) -> Iterator[int]:
    """Yield the end ids that generation_config.json and config.json name, repeats included."""
    for name in ("generation_config.json", "config.json"):
        found: int | list[int] | None = read_json(model, name).get("eos_token_id")
        if isinstance(found, int):
            yield found
        else:
            yield from found or ()


def torch_dtype_name(
    settings: ports.EngineSettings, *, cpu: bool
) -> Literal["float32", "bfloat16", "float16"]:
    """Return the dtype to load in: float32 on a CPU (faster there than bfloat16), bfloat16 on a GPU."""
    if settings.dtype != "auto":
        return settings.dtype
    return "float32" if cpu else "bfloat16"
