"""The format of a generator's text: a pre-query prefix, a question, the end of the user's turn.

A generator is prompted with the prefix alone and goes on as the user (paper 2.1). The prefix is
derived from the model's own chat template as token ids: the ids that the renderings of different
questions have in common. It therefore ends on a token boundary whatever the tokenizer does with
spaces ("User: Find" is one token less than "User: " and "Find"), and holds BOS exactly as often as
the template writes it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from scalequest_jobs import ports

FILE_NAME: Final = "question_format.json"

_PROBES: Final = (
    "Find the sum of 3 and 4.",
    "What is the area of the square?",
    "A train leaves at noon.",
    "1 + 1 = ?",
    "Let x be an integer.",
    "Tom has 12 apples.",
    "(a) Show that 7 is prime!",
)


@dataclass(frozen=True, kw_only=True)
class QuestionFormat:
    """`prefix_ids` before a question, `end_ids` after it, and every id that ends generation."""

    prefix_ids: tuple[int, ...]
    end_ids: tuple[int, ...]
    stop_ids: tuple[int, ...]


def derive(tokenizer: ports.Tokenizer) -> QuestionFormat:
    """Return the format that a model's chat template gives.

    `end_ids` is the template's text after the question up to its first special token; a template
    that has none there (DeepSeek's) gets the EOS, as in the paper's own training text.
    """
    if not tokenizer.stop_ids:
        raise ports.BadInputError(
            "the model names no end token, so no question would end; "
            "set eos_token in tokenizer_config.json or eos_token_id in generation_config.json"
        )
    renderings = [_render(tokenizer, probe) for probe in _PROBES]
    prefix = _common_start(renderings)
    suffix = _common_start([ids[::-1] for ids in renderings])[::-1]
    special = tokenizer.special_ids
    first = next((place for place, token in enumerate(suffix) if token in special), None)
    end = suffix[: first + 1] if first is not None else (*suffix, tokenizer.stop_ids[0])
    return QuestionFormat(
        prefix_ids=prefix, end_ids=end, stop_ids=tuple(sorted({*special, *tokenizer.stop_ids, end[-1]}))
    )


def _common_start(sequences: Sequence[Sequence[int]]) -> tuple[int, ...]:
    length = 0
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        length += 1
    return tuple(sequences[0][:length])


def _render(tokenizer: ports.Tokenizer, question: str) -> list[int]:
    text = tokenizer.render([ports.Message(role="user", content=question)], generation_prompt=False)
    if question not in text:
        raise ports.BadInputError(
            "the model's chat template changes the user's text; it cannot write questions"
        )
    return tokenizer.encode(text)


def encode(tokenizer: ports.Tokenizer, form: QuestionFormat, question: str) -> tuple[int, ...] | None:
    """Return a question's ids with the end of turn, to follow the prefix.

    None when the question's first token merges with the prefix, or the end with its last: the
    model would be trained on ids that it never sees when prompted. None, too, for no text at all,
    for white space around it and for a text that the template changes.
    """
    if not question or question != question.strip():
        return None
    text = tokenizer.render([ports.Message(role="user", content=question)], generation_prompt=False)
    if question not in text:
        return None
    before, _, after = text.partition(question)
    ids = tokenizer.encode(before + question + _until_special(tokenizer, form, after))
    length = len(form.prefix_ids)
    if tuple(ids[:length]) != form.prefix_ids:
        return None
    body = tuple(ids[length:])
    if body[-len(form.end_ids) :] == form.end_ids:
        return body
    if body[len(body) - len(form.end_ids) + 1 :] == form.end_ids[:-1]:
        return (*body, form.end_ids[-1])
    return None


def _until_special(tokenizer: ports.Tokenizer, form: QuestionFormat, after: str) -> str:
    """Cut the template's text after a question behind the id that ends the turn."""
    for length in range(len(after) + 1):
        ids = tokenizer.encode(after[:length])
        if ids and ids[-1] == form.end_ids[-1]:
            return after[:length]
    return after


def save(form: QuestionFormat, folder: Path) -> None:
    """Write the format beside a model's weights."""
    (folder / FILE_NAME).write_text(json.dumps(asdict(form)), encoding="ascii")


def load(folder: Path, tokenizer: ports.Tokenizer) -> QuestionFormat:
    """Return the format stored beside a model, or the one that its chat template gives."""
    path = folder / FILE_NAME
    if not path.exists():
        return derive(tokenizer)
    stored = json.loads(path.read_text(encoding="ascii"))
    return QuestionFormat(**{name: _ids(stored[name]) for name in ("prefix_ids", "end_ids", "stop_ids")})


def _ids(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
