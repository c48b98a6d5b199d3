"""Word problems as values, and the only text each of them has."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

StepKind = Literal["add", "subtract", "multiply", "divide"]
EndingKind = Literal["now", "share", "price", "compare"]


class Pronouns(NamedTuple):
    """How a sentence refers to somebody."""

    subject: str
    object: str


HE = Pronouns("He", "him")
SHE = Pronouns("She", "her")
PEOPLE = {
    "Tom": HE,
    "Ben": HE,
    "Sam": HE,
    "Max": HE,
    "Anna": SHE,
    "Mia": SHE,
    "Lily": SHE,
    "Eva": SHE,
}
THINGS = ("apples", "pens", "coins", "books", "cards", "eggs", "shells", "stamps")
FRACTIONS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}

_DIVISORS = {words: divisor for divisor, words in FRACTIONS.items()}
_PERSON = "(" + "|".join(PEOPLE) + ")"
_NUMBER = r"(\d{1,3})"
_THINGS = "(" + "|".join(THINGS) + ")"
_SENTENCE = re.compile(r"[^.?]+[.?]")
_HAS = re.compile(rf"{_PERSON} has {_NUMBER} {_THINGS}\.")
_HAS_BOXES = re.compile(rf"{_PERSON} has {_NUMBER} boxes with {_NUMBER} {_THINGS} in each box\.")
_BUYS = re.compile(rf"\w+ buys {_NUMBER} more \w+\.")
_IS_GIVEN = re.compile(rf"{_PERSON} gives (?:him|her) {_NUMBER} \w+\.")
_LOSES = re.compile(rf"\w+ loses {_NUMBER} \w+\.")
_GIVES = re.compile(rf"\w+ gives {_NUMBER} \w+ to {_PERSON}\.")
_MULTIPLIES = re.compile(rf"Then \w+ gets {_NUMBER} times as many \w+\.")
_KEEPS = re.compile(rf"\w+ keeps only ({'|'.join(_DIVISORS)}) of the \w+\.")
_SHARES = re.compile(rf"\w+ shares the \w+ among {_NUMBER} friends\.")
_COSTS = re.compile(rf"Each one costs {_NUMBER} dollars\.")


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What the owner has at first: `count` things, or `boxes` boxes of `count` things."""

    count: int
    boxes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change of what the owner has; `other` is who gives or who is given to, if anybody."""

    kind: StepKind
    number: int
    other: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is asked; "now" asks for the running total and has no number."""

    kind: EndingKind = "now"
    number: int = 0
    other: str | None = None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A word problem; it may have no answer, see `truth.trace`."""

    owner: str
    things: str
    opening: Opening
    steps: tuple[Step, ...]
    ending: Ending

    @property
    def num_operations(self) -> int:
        """The number of calculations that the answer takes."""
        return (self.opening.boxes is not None) + len(self.steps) + (self.ending.kind != "now")


def render(problem: Problem) -> str:
    """Return the text of a problem."""
    sentences = [_opening_text(problem)]
    sentences += [_step_text(problem, step) for step in problem.steps]
    sentences.append(_ending_text(problem))
    return " ".join(sentences)


def parse(question: str) -> Problem | None:
    """Return the problem whose text this is, letter by letter, or None."""
    problem = read(question)
    if problem is None or problem.num_operations == 0 or render(problem) != question.strip():
        return None
    return None if problem.owner in _others(problem) else problem


def read(text: str) -> Problem | None:
    """Return the problem that a damaged text most likely meant, or None without a first sentence.

    Sentences that say nothing known are left out, every pronoun and thing follows the first
    sentence, and a text that asks nothing asks for the running total.
    """
    opening: Opening | None = None
    owner = things = ""
    steps: list[Step] = []
    ending = Ending()
    for sentence in sentences_of(text):
        if opening is None and (found := _read_opening(sentence)):
            owner, opening, things = found
        elif step := _read_step(sentence):
            steps.append(step)
        elif ending.kind == "now":
            ending = _read_ending(sentence)
    if opening is None:
        return None
    return Problem(owner=owner, things=things, opening=opening, steps=tuple(steps), ending=ending)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, without what follows the last full stop."""
    return [sentence.strip() for sentence in _SENTENCE.findall(text)]


def _opening_text(problem: Problem) -> str:
    opening = problem.opening
    if opening.boxes is None:
        return f"{problem.owner} has {opening.count} {problem.things}."
    boxes = f"{opening.boxes} boxes with {opening.count} {problem.things} in each box"
    return f"{problem.owner} has {boxes}."


def _step_text(problem: Problem, step: Step) -> str:
    who, whom = PEOPLE[problem.owner]
    number, things = step.number, problem.things
    match step.kind:
        case "add" if step.other is None:
            return f"{who} buys {number} more {things}."
        case "add":
            return f"{step.other} gives {whom} {number} {things}."
        case "subtract" if step.other is None:
            return f"{who} loses {number} {things}."
        case "subtract":
            return f"{who} gives {number} {things} to {step.other}."
        case "multiply":
            return f"Then {who.lower()} gets {number} times as many {things}."
        case "divide":
            return f"{who} keeps only {FRACTIONS.get(number, f'1/{number}')} of the {things}."
        case _:
            assert_never(step.kind)


def _ending_text(problem: Problem) -> str:
    owner, things, ending = problem.owner, problem.things, problem.ending
    who = PEOPLE[owner].subject
    match ending.kind:
        case "now":
            return f"How many {things} does {owner} have now?"
        case "share":
            ask = f"How many {things} does each friend get?"
            return f"{who} shares the {things} among {ending.number} friends. {ask}"
        case "price":
            ask = f"How many dollars are the {things} worth?"
            return f"Each one costs {ending.number} dollars. {ask}"
        case "compare":
            ask = f"How many more {things} than {ending.other} does {owner} have?"
            return f"{ending.other} has {ending.number} {things}. {ask}"
        case _:
            assert_never(ending.kind)


def _others(problem: Problem) -> set[str | None]:
    return {problem.ending.other, *(step.other for step in problem.steps)}


def _read_opening(sentence: str) -> tuple[str, Opening, str] | None:
    if found := _HAS.fullmatch(sentence):
        owner, count, things = found.groups()
        return owner, Opening(count=int(count)), things
    if found := _HAS_BOXES.fullmatch(sentence):
        owner, boxes, count, things = found.groups()
        return owner, Opening(boxes=int(boxes), count=int(count)), things
    return None


def _read_step(sentence: str) -> Step | None:
    if found := _BUYS.fullmatch(sentence):
        return Step(kind="add", number=int(found[1]))
    if found := _IS_GIVEN.fullmatch(sentence):
        return Step(kind="add", number=int(found[2]), other=found[1])
    if found := _LOSES.fullmatch(sentence):
        return Step(kind="subtract", number=int(found[1]))
    if found := _GIVES.fullmatch(sentence):
        return Step(kind="subtract", number=int(found[1]), other=found[2])
    if found := _MULTIPLIES.fullmatch(sentence):
        return Step(kind="multiply", number=int(found[1]))
    if found := _KEEPS.fullmatch(sentence):
        return Step(kind="divide", number=_DIVISORS[found[1]])
    return None


def _read_ending(sentence: str) -> Ending:
    if found := _SHARES.fullmatch(sentence):
        return Ending(kind="share", number=int(found[1]))
    if found := _COSTS.fullmatch(sentence):
        return Ending(kind="price", number=int(found[1]))
    if found := _HAS.fullmatch(sentence):
        return Ending(kind="compare", number=int(found[2]), other=found[1])
    return Ending()
