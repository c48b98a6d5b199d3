"""The teacher's craft: rewrites that make a question solvable, or harder.

Every rewrite is a function of the question's text alone. A repair keeps the text up to the point
of failure, and there it keeps the number and changes the operation where it can: a teacher that
lowers numbers instead teaches preference training to write nothing but small numbers, which
narrows the questions more (measured: students at 26 % instead of 32 %).
"""

import dataclasses
import random
import re
from collections.abc import Iterator

from tiny_world import grammar, noise, truth

MAX_OPERATIONS = 4

_HARDER_TRIES = 400
# How the range of a number that is missing shows in the words around it.
_MISSING = (
    (re.compile(r"\bonly some of\b"), "only half of"),
    (re.compile(r"\bsome(?= times)"), noise.STEP_RANGES["multiply"]),
    (re.compile(r"\bsome(?= boxes)"), noise.BOXES_RANGE),
    (re.compile(r"(?<=boxes with )some\b"), noise.BOX_COUNT_RANGE),
    (re.compile(r"\bsome(?= friends)"), noise.ENDING_RANGES["share"]),
    (re.compile(r"\bsome(?= dollars)"), noise.ENDING_RANGES["price"]),
    (re.compile(r"(?<=^\w{3} has )some\b|(?<=^\w{4} has )some\b"), noise.COUNT_RANGE),
    (re.compile(r"\bsome\b"), noise.STEP_RANGES["add"]),
)


def solvable(question: str) -> str:
    """Return the question itself if it is solvable, else the nearest one that is."""
    if truth.truth(question) is not None:
        return question
    rng = random.Random(f"solvability {question}")
    return grammar.render(_repaired(rng, _understood(rng, question)))


def harder(question: str) -> str:
    """Return a solvable question with one more operation, up to MAX_OPERATIONS."""
    rng = random.Random(f"difficulty {question}")
    problem = _understood(rng, question)
    if not noise.is_clean(problem):
        problem = _repaired(rng, problem)
    if problem.num_operations >= MAX_OPERATIONS:
        return grammar.render(problem)
    for _ in range(_HARDER_TRIES):
        place = rng.randint(0, len(problem.steps))
        step = noise.random_step(rng, problem.owner)
        steps = (*problem.steps[:place], step, *problem.steps[place:])
        candidate = dataclasses.replace(problem, steps=steps)
        if noise.is_clean(candidate):
            return grammar.render(candidate)
    return grammar.render(problem)


def _understood(rng: random.Random, question: str) -> grammar.Problem:
    """Return a well-formed problem that says what the question meant; it may have no answer."""
    problem = grammar.read(_with_numbers(rng, question)) or _salvaged(rng, question)
    owner = problem.owner
    steps = [
        dataclasses.replace(step, other=noise.somebody_else(rng, owner)) if step.other == owner else step
        for step in problem.steps
    ]
    ending = problem.ending
    if ending.other == owner:
        ending = dataclasses.replace(ending, other=noise.somebody_else(rng, owner))
    if problem.num_operations == 0:
        ending = noise.random_ending(rng, owner, "share")
    return dataclasses.replace(problem, steps=tuple(steps), ending=ending)


def _with_numbers(rng: random.Random, question: str) -> str:
    text = question.strip()
    for missing, replacement in _MISSING:
        while missing.search(text):
            words = replacement if isinstance(replacement, str) else str(rng.randint(*replacement))
            text = missing.sub(words, text, count=1)
    return text


def _salvaged(rng: random.Random, question: str) -> grammar.Problem:
    """Return a new problem about the first person and things that the text names."""
    words = re.findall(r"\w+", question)
    problem = noise.problem(rng, rng.choice((2, 3)))
    return dataclasses.replace(
        problem,
        owner=next((word for word in words if word in grammar.PEOPLE), problem.owner),
        things=next((word for word in words if word in grammar.THINGS), problem.things),
    )


def _repaired(rng: random.Random, problem: grammar.Problem) -> grammar.Problem:
    """Return the problem with each part that fails exchanged, from its start to its end."""
    in_boxes = problem.opening.boxes is not None
    mended = dataclasses.replace(problem, steps=(), ending=grammar.Ending())
    while not noise.is_clean(mended) or mended.opening.count > noise.MAX_TOTAL:
        opening = noise.random_opening(rng, in_boxes=in_boxes)
        mended = dataclasses.replace(mended, opening=opening)
    for step in problem.steps:
        mended = next(
            candidate
            for other in _step_candidates(rng, step)
            if noise.is_clean(candidate := dataclasses.replace(mended, steps=(*mended.steps, other)))
        )
    return next(
        candidate
        for ending in _ending_candidates(rng, problem)
        if noise.is_clean(candidate := dataclasses.replace(mended, ending=ending))
    )


def _step_candidates(rng: random.Random, step: grammar.Step) -> Iterator[grammar.Step]:
    """Yield the step and what may stand for it; with totals up to MAX_TOTAL one always fits."""
    yield step
    match step.kind:
        case "add":
            yield dataclasses.replace(step, kind="subtract")
        case "subtract":
            yield dataclasses.replace(step, kind="add")
        case _:
            for number in _shuffled(rng, noise.STEP_RANGES[step.kind]):
                yield dataclasses.replace(step, number=number)
    kinds: list[grammar.StepKind] = ["add", "subtract"]
    rng.shuffle(kinds)
    for kind in kinds:
        for number in _shuffled(rng, noise.STEP_RANGES[kind]):
            yield grammar.Step(kind=kind, number=number, other=step.other)


def _ending_candidates(rng: random.Random, problem: grammar.Problem) -> Iterator[grammar.Ending]:
    """Yield the ending and what may stand for it; sharing or comparing always fits."""
    ending, owner = problem.ending, problem.owner
    yield ending
    kinds: list[grammar.EndingKind] = ["share", "price", "compare"]
    rng.shuffle(kinds)
    # The same question with another number comes first, except that a smaller number to compare
    # with is the kind of repair that narrows.
    if ending.kind != "compare":
        kinds.sort(key=lambda kind: kind != ending.kind)
    for kind in kinds:
        other = noise.somebody_else(rng, owner) if kind == "compare" else None
        for number in _shuffled(rng, noise.ENDING_RANGES[kind]):
            yield grammar.Ending(kind=kind, number=number, other=other)


def _shuffled(rng: random.Random, limits: tuple[int, int]) -> list[int]:
    low, high = limits
    return rng.sample(range(low, high + 1), high + 1 - low)
