"""Models before and after training: loaded strictly, written plainly."""

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_devices

HEADS = frozenset({ports.Objective.REGRESSION, ports.Objective.REWARD})
_HEAD_WEIGHTS = "score.weight"
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
# Files that training does not change. Code is never among them.
_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
)
_GENERATION = "generation_config.json"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a model without its weights.

    `window` is the longest sequence in tokens, `vocabulary` the rows of its embedding, `dtype` the
    type its weights have on disk.
    """

    folder: Path
    config: Any
    tokenizer: Any
    window: int
    vocabulary: int
    dtype: torch.dtype


def describe(folder: Path) -> Description:
    """Read config and tokenizer; BadInputError names the folder when one is missing or unknown."""
    with _unusable(folder, "read"):
        config = transformers.AutoConfig.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = config.get_text_config()
    return Description(
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        window=getattr(text, "max_position_embeddings", None) or 2**31,
        vocabulary=text.vocab_size,
        dtype=config.dtype or torch.float32,
    )


@contextmanager
def _unusable(folder: Path, what: str) -> Iterator[None]:
    """Map what the libraries raise on broken folders; a full device is not the folder's fault."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
        raise ports.BadInputError(
            f"{folder}: the model cannot be {what}: {type(error).__name__}: {error}; expected a folder with "
            "config.json, safetensors weights and a tokenizer, of an architecture that transformers "
            f"{transformers.__version__} knows"
        ) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {
            "safetensors",
            "tokenizers",
            "json",
            "huggingface_hub",
        }:
            raise
        raise ports.BadInputError(f"{folder}: the model cannot be {what}: {error}") from error


def load(described: Description, job: ports.TrainingJob, device: trl_devices.Device, *, pad_id: int) -> Any:
    """Return the model with weights for training, every weight found but a new head's.

    Raises BadInputError for a folder that cannot be loaded or lacks weights: the libraries would
    fill them with noise. Set `transformers.set_seed` first; a new head is drawn at random.
    """
    is_head = job.objective in HEADS
    loader = transformers.AutoModelForSequenceClassification if is_head else transformers.AutoModelForCausalLM
    options: dict[str, Any] = {"num_labels": 1, "problem_type": "regression"} if is_head else {}
    with _unusable(described.folder, "loaded"):
        model, found = loader.from_pretrained(
            described.folder,
            dtype=_weights_type(described, job, device),
            attn_implementation=device.attention,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    missing = sorted(set(found["missing_keys"]) - ({_HEAD_WEIGHTS} if is_head else set()))
    if missing:
        raise ports.BadInputError(
            f"{described.folder}: {len(missing)} weights are missing, the first is {missing[0]}; the model is "
            "incomplete or of another kind"
        )
    # Padding is masked, so the embedding need not guard it; where padding is the EOS, the guard would
    # keep the EOS from being learnt as an input.
    model.get_input_embeddings().padding_idx = None
    _agree(model, described.tokenizer, is_head=is_head, pad_id=pad_id)
    return model


def _weights_type(described: Description, job: ports.TrainingJob, device: trl_devices.Device) -> torch.dtype:
    """Return float32 for weights that are trained, and on a CPU; frozen ones keep their type on a GPU."""
    if job.settings.lora is not None and device.kind == "cuda" and job.settings.dtype != "float32":
        return described.dtype
    return torch.float32


def _agree(model: Any, tokenizer: Any, *, is_head: bool, pad_id: int) -> None:
    """Settle special tokens where it is harmless, so that the library's warning means a real mismatch.

    It warns when the tokenizer's EOS is not in the model's configs. A head never generates, and a
    model whose generation config stops at the tokenizer's EOS is right whatever its config says.
    """
    config = model.config.get_text_config()
    if is_head:
        config.eos_token_id = tokenizer.eos_token_id
        config.pad_token_id = pad_id
        return
    stops = model.generation_config.eos_token_id
    if tokenizer.eos_token_id in (stops if isinstance(stops, list) else [stops]):
        config.eos_token_id = tokenizer.eos_token_id


def pad_id(described: Description, objective: ports.Objective, used: frozenset[int]) -> int:
    """Return the id that fills up device batches.

    A language model's padding is masked by length, so its tokenizer's own padding token will do, even
    when that is its EOS. A head pools the last token that is not padding, so its padding must occur in
    no example: the tokenizer's padding token if it is no EOS, else another special token, else a row of
    the embedding that the tokenizer does not use. Raises BadInputError when there is none.
    """
    tokenizer = described.tokenizer
    if objective not in HEADS:
        return next(
            (token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id) if token is not None), 0
        )
    candidates = [tokenizer.pad_token_id, *sorted(tokenizer.all_special_ids)]
    candidates += range(described.vocabulary - 1, len(tokenizer) - 1, -1)
    for token in candidates:
        if token is not None and token != tokenizer.eos_token_id and token not in used:
            return int(token)
    raise ports.BadInputError(
        f"{described.folder}: the tokenizer has no padding token that differs from its EOS and occurs in no "
        "example; a head could not tell where a text ends. Give the tokenizer a padding token of its own"
    )


def save(model: Any, described: Description, output: Path, *, is_head: bool) -> None:
    """Write weights, config, tokenizer and generation config; the folder appears only when complete.

    Weights are cast to the type of the input's config. Special tokens are the input's again, except a
    head's padding token, which readers need to find the last token.
    """
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    plain = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    _restore(plain, described, is_head=is_head)
    plain.to(described.dtype)
    plain.save_pretrained(partial)
    names = _COPIED if is_head else (*_COPIED, _GENERATION)
    for name in names:
        if (described.folder / name).is_file():
            shutil.copyfile(described.folder / name, partial / name)
    if output.is_dir():
        output.rmdir()
    partial.rename(output)


def _restore(model: Any, described: Description, *, is_head: bool) -> None:
    source = described.config.get_text_config()
    config = model.config.get_text_config()
    for name in _SPECIAL:
        if not (is_head and name == "pad_token_id"):
            setattr(config, name, copy.copy(getattr(source, name, None)))
    model.config.use_cache = getattr(described.config, "use_cache", True)
    if not is_head:
        # Replaced by the input's own file; the one in memory may not pass the library's checks.
        model.generation_config = transformers.GenerationConfig.from_model_config(model.config)
