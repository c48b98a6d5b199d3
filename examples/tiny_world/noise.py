"""Samples of the world: clean problems, and the damaged ones that a noisy web would hold."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tiny_world import grammar, truth

# Small ranges on purpose: with totals up to 200 a model of 0.9M parameters learns the order of
# operations (99 %) but not the arithmetic (7 % right answers).
MAX_TOTAL = 60
COUNT_RANGE = (2, 30)
BOXES_RANGE = (2, 5)
BOX_COUNT_RANGE = (2, 8)
STEP_RANGES: dict[grammar.StepKind, tuple[int, int]] = {
    "add": (1, 12),
    "subtract": (1, 12),
    "multiply": (2, 3),
    "divide": (2, 4),
}
ENDING_RANGES: dict[grammar.EndingKind, tuple[int, int]] = {
    "now": (0, 0),
    "share": (2, 5),
    "price": (2, 5),
    "compare": (1, 20),
}

_STEP_KINDS: tuple[grammar.StepKind, ...] = tuple(STEP_RANGES)
_STEP_WEIGHTS = (2, 2, 1, 1)
_CALCULATING_ENDINGS: tuple[grammar.EndingKind, ...] = ("share", "price", "compare")


@dataclass(frozen=True, kw_only=True)
class Web:
    """How one corner of the web writes problems; weights are for 1, 2, 3 and 4 operations."""

    clean_share: float = 0.5
    unchecked_share: float = 0.4
    operation_weights: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.0)


def problem(rng: random.Random, num_operations: int) -> grammar.Problem:
    """Return a random solvable problem whose totals stay within MAX_TOTAL."""
    while True:
        candidate = unchecked_problem(rng, num_operations)
        if is_clean(candidate):
            return candidate


def is_clean(candidate: grammar.Problem) -> bool:
    """Return whether a problem has an answer and small totals on the way to it."""
    found = truth.trace(candidate)
    totals = [calculation.result for calculation in found.calculations]
    return found.answer is not None and max(totals, default=0) <= MAX_TOTAL


def unchecked_problem(rng: random.Random, num_operations: int) -> grammar.Problem:
    """Return a random problem that may have no answer."""
    owner = rng.choice(list(grammar.PEOPLE))
    in_boxes = rng.random() < 0.25
    calculates = num_operations > in_boxes and rng.random() < 0.6
    kind = rng.choice(_CALCULATING_ENDINGS) if calculates else "now"
    num_steps = num_operations - in_boxes - calculates
    return grammar.Problem(
        owner=owner,
        things=rng.choice(grammar.THINGS),
        opening=random_opening(rng, in_boxes=in_boxes),
        steps=tuple(random_step(rng, owner) for _ in range(num_steps)),
        ending=random_ending(rng, owner, kind),
    )


def random_opening(rng: random.Random, *, in_boxes: bool) -> grammar.Opening:
    """Return a first sentence's numbers."""
    if in_boxes:
        boxes = rng.randint(*BOXES_RANGE)
        return grammar.Opening(boxes=boxes, count=rng.randint(*BOX_COUNT_RANGE))
    return grammar.Opening(count=rng.randint(*COUNT_RANGE))


def random_step(rng: random.Random, owner: str) -> grammar.Step:
    """Return a random change of what `owner` has."""
    kind = rng.choices(_STEP_KINDS, _STEP_WEIGHTS)[0]
    has_other = kind in ("add", "subtract") and rng.random() < 0.5
    other = somebody_else(rng, owner) if has_other else None
    return grammar.Step(kind=kind, number=rng.randint(*STEP_RANGES[kind]), other=other)


def random_ending(rng: random.Random, owner: str, kind: grammar.EndingKind) -> grammar.Ending:
    """Return an ending of the given kind."""
    other = somebody_else(rng, owner) if kind == "compare" else None
    return grammar.Ending(kind=kind, number=rng.randint(*ENDING_RANGES[kind]), other=other)


def somebody_else(rng: random.Random, owner: str) -> str:
    """Return a random name that is not the owner's."""
    return rng.choice([name for name in grammar.PEOPLE if name != owner])


def web_question(rng: random.Random, web: Web) -> str:
    """Return a question as the web writes it: clean, with unchecked numbers, or damaged."""
    num_operations = rng.choices((1, 2, 3, 4), web.operation_weights)[0]
    if rng.random() < web.clean_share:
        return grammar.render(problem(rng, num_operations))
    candidate = unchecked_problem(rng, num_operations)
    if rng.random() < web.unchecked_share:
        return grammar.render(candidate)
    return damage(rng, candidate)[0]


def damage(rng: random.Random, candidate: grammar.Problem) -> tuple[str, str]:
    """Return a problem's text with one kind of damage, and a sentence that names the damage."""
    text = grammar.render(candidate)
    sentences = grammar.sentences_of(text)
    match rng.choice(("number", "number", "things", "name", "end", "order")):
        case "number":
            number = rng.choice(list(re.finditer(r"\d+|half|a (?:third|quarter|fifth)", text)))
            return text[: number.start()] + "some" + text[number.end() :], "A number is missing."
        case "things":
            other = rng.choice([things for things in grammar.THINGS if things != candidate.things])
            return _replace_last(text, candidate.things, other), "The question does not match."
        case "name":
            other = somebody_else(rng, candidate.owner)
            return _replace_last(text, candidate.owner, other), "The question does not match."
        case "end":
            return _cut(rng, sentences), "The question is missing."
        case _:
            return _shuffled(rng, sentences)


def judged_question(rng: random.Random) -> tuple[str, str]:
    """Return a question, clean or not, and a judge's text on it."""
    num_operations = rng.choices((1, 2, 3, 4), (0.15, 0.35, 0.35, 0.15))[0]
    kind = rng.random()
    if kind < 0.45:
        question = grammar.render(problem(rng, num_operations))
        return question, truth.judgement(question)
    candidate = unchecked_problem(rng, num_operations)
    if kind < 0.7:
        question = grammar.render(candidate)
        return question, truth.judgement(question)
    question, flaw = damage(rng, candidate)
    return question, truth.judgement(question, flaw)


def _replace_last(text: str, old: str, new: str) -> str:
    before, _, after = text.rpartition(old)
    return before + new + after


def _cut(rng: random.Random, sentences: Sequence[str]) -> str:
    return " ".join(sentences[: rng.randint(1, len(sentences) - 1)])


def _shuffled(rng: random.Random, sentences: Sequence[str]) -> tuple[str, str]:
    # Some orders of the sentences are well formed, so a few are tried.
    for _ in range(8):
        text = " ".join(rng.sample(sentences, len(sentences)))
        if grammar.parse(text) is None:
            return text, "The order is broken."
    return " ".join(sentences[:-1]), "The question is missing."
