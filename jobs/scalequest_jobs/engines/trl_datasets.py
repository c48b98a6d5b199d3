"""Examples as the trainers take them: token ids only, checked, never cut and never dropped."""

import array
import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

import datasets
import pyarrow as pa

from scalequest_jobs import ports

Example = ports.SftExample | ports.PreferenceExample | ports.RegressionExample | ports.RewardExample

_KINDS: dict[ports.Objective, type[Example]] = {
    ports.Objective.SFT: ports.SftExample,
    ports.Objective.DPO: ports.PreferenceExample,
    ports.Objective.REGRESSION: ports.RegressionExample,
    ports.Objective.REWARD: ports.RewardExample,
}
_IDS = pa.list_(pa.int32())
_IGNORED = -100  # the label that the losses leave out


def check(objective: ports.Objective, examples: ports.Examples, *, max_length: int, vocabulary: int) -> None:
    """Refuse examples that a trainer would cut, drop, or learn nothing from.

    `max_length` is the longest sequence allowed, in tokens with the prompt; `vocabulary` the rows of
    the model's embedding: ids go from 0 to one below it.

    Raises BadInputError naming the first bad example by its index from 0.
    """
    longest = [0] * len(examples)
    for index, example in enumerate(examples):
        if not isinstance(example, _KINDS[objective]):
            raise ports.BadParametersError(
                f"example {index} is a {type(example).__name__}, objective {objective} takes "
                f"{_KINDS[objective].__name__}"
            )
        _check_one(index, example, vocabulary)
        longest[index] = max(len(sequence) for sequence in sequences(example))
    too_long = [index for index, length in enumerate(longest) if length > max_length]
    if too_long:
        raise ports.BadInputError(
            f"{len(too_long)} of {len(examples)} examples are longer than {max_length} tokens, the first is example "
            f"{too_long[0]} with {longest[too_long[0]]}; leave them out beforehand or raise maxLength within the "
            "model's window"
        )


def _check_one(index: int, example: Example, vocabulary: int) -> None:
    if not all(_completions(example)):
        raise ports.BadInputError(
            f"example {index} has nothing to learn or nothing to learn it from: an empty part; leave it out"
        )
    if isinstance(example, ports.RegressionExample) and not math.isfinite(example.label):
        raise ports.BadInputError(f"example {index} has label {example.label}, expected a finite number")
    for sequence in sequences(example):
        if min(sequence) < 0 or max(sequence) >= vocabulary:
            raise ports.BadInputError(
                f"example {index} has a token id outside 0..{vocabulary - 1} ({min(sequence)}..{max(sequence)}); "
                "it was made with another model's tokenizer"
            )


def sequences(example: Example) -> tuple[tuple[int, ...], ...]:
    """Return the sequences that the model reads for an example."""
    match example:
        case ports.SftExample():
            return (example.prompt_ids + example.completion_ids,)
        case ports.PreferenceExample():
            return (example.prompt_ids + example.chosen_ids, example.prompt_ids + example.rejected_ids)
        case ports.RegressionExample():
            return (example.token_ids,)
        case ports.RewardExample():
            return (example.chosen_ids, example.rejected_ids)
        case _:
            assert_never(example)


def _completions(example: Example) -> tuple[tuple[int, ...], ...]:
    match example:
        case ports.SftExample():
            return (example.completion_ids, sequences(example)[0][1:])
        case ports.PreferenceExample():
            return (example.prompt_ids, example.chosen_ids, example.rejected_ids)
        case ports.RegressionExample() | ports.RewardExample():
            return sequences(example)
        case _:
            assert_never(example)


def used_ids(examples: ports.Examples) -> frozenset[int]:
    """Return every token id that stands in an example."""
    return frozenset(token for example in examples for sequence in sequences(example) for token in sequence)


def digest(examples: ports.Examples) -> str:
    """Return a sha256 over ids, labels and order: the same examples in the same order, the same digest."""
    content = hashlib.sha256()
    for example in examples:
        for part in _parts(example):
            content.update(len(part).to_bytes(4, "little"))
            content.update(array.array("I", part).tobytes())
        if isinstance(example, ports.RegressionExample):
            content.update(repr(example.label).encode())
    return content.hexdigest()


def _parts(example: Example) -> Iterator[tuple[int, ...]]:
    yield from (value for value in vars(example).values() if isinstance(value, tuple))


def make(objective: ports.Objective, examples: ports.Examples) -> Any:
    """Return a `datasets.Dataset` with the columns that mark data as tokenised already.

    SFT: `input_ids` and `labels` (-100 on the prompt, so that the loss covers the completion alone).
    DPO: `prompt_ids`, `chosen_ids`, `rejected_ids`. Reward: `chosen_ids`, `rejected_ids`.
    Regression: `input_ids` and a float `labels`.
    """
    # With a fingerprint of ours the library does not pickle the whole table for one of its own, which
    # fails in some containers ("Can't pickle MonthDayNano").
    return datasets.Dataset(pa.table(_columns(objective, examples)), fingerprint=digest(examples)[:16])


def _columns(objective: ports.Objective, examples: Sequence[Any]) -> dict[str, Any]:
    match objective:
        case ports.Objective.SFT:
            ids = [sequences(example)[0] for example in examples]
            labels = [(_IGNORED,) * len(example.prompt_ids) + example.completion_ids for example in examples]
            return {"input_ids": pa.array(ids, _IDS), "labels": pa.array(labels, _IDS)}
        case ports.Objective.DPO:
            return _id_columns(examples, ("prompt_ids", "chosen_ids", "rejected_ids"))
        case ports.Objective.REWARD:
            return _id_columns(examples, ("chosen_ids", "rejected_ids"))
        case ports.Objective.REGRESSION:
            labels = [example.label for example in examples]
            ids = [example.token_ids for example in examples]
            return {"input_ids": pa.array(ids, _IDS), "labels": pa.array(labels, pa.float32())}
        case _:
            assert_never(objective)


def _id_columns(examples: Sequence[Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: pa.array([getattr(example, name) for example in examples], _IDS) for name in names}
