"""What is true of a problem: its calculations, its answer, and whether it has one."""

import re
from dataclasses import dataclass
from typing import Literal

from tiny_world import grammar

Sign = Literal["+", "-", "*", "/"]

STEP_SIGNS: dict[grammar.StepKind, Sign] = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
}
ENDING_SIGNS: dict[grammar.EndingKind, Sign] = {"share": "/", "price": "*", "compare": "-"}

_PRONOUNS = {word for pronouns in (grammar.HE, grammar.SHE) for word in pronouns}
_WORD = re.compile(r"\w+")
_BOXED = re.compile(r"\\boxed\{(-?\d+)\}")


@dataclass(frozen=True, kw_only=True)
class Calculation:
    """One line of arithmetic, such as 12 + 3 = 15."""

    left: int
    sign: Sign
    right: int
    result: int

    def __str__(self) -> str:
        """Return the line as solutions write it."""
        return f"{self.left} {self.sign} {self.right} = {self.result}."


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The calculations up to the answer, or up to the first one that cannot be done."""

    calculations: tuple[Calculation, ...]
    answer: int | None
    failure: str | None = None


def trace(problem: grammar.Problem) -> Trace:
    """Return the calculations of a problem; totals stay whole and never go below zero."""
    total = problem.opening.count
    calculations: list[Calculation] = []
    for left, sign, right in _operations(problem):
        start = total if left is None else left
        result = _apply(start, sign, right)
        if isinstance(result, str):
            return Trace(calculations=tuple(calculations), answer=None, failure=result)
        calculations.append(Calculation(left=start, sign=sign, right=right, result=result))
        total = result
    return Trace(calculations=tuple(calculations), answer=total)


def truth(question: str) -> int | None:
    """Return the answer of a question, or None if it is not well formed or has no answer."""
    problem = grammar.parse(question)
    return None if problem is None else trace(problem).answer


def is_right(question: str, response: str) -> bool:
    r"""Return whether the last `\boxed{}` of a response holds the question's true answer."""
    answer = truth(question)
    return answer is not None and boxed(response) == answer


def boxed(response: str) -> int | None:
    r"""Return the number in the last `\boxed{}` of a response, or None."""
    found: list[str] = _BOXED.findall(response)
    return int(found[-1]) if found else None


def solution(problem: grammar.Problem) -> str:
    """Return the worked solution of a solvable problem."""
    found = trace(problem)
    if found.answer is None:
        msg = f"no solution: {found.failure} Ask only for solvable problems: {problem}"
        raise ValueError(msg)
    return " ".join([*map(str, found.calculations), f"\\boxed{{{found.answer}}}"])


def judgement(question: str, flaw: str = "The text is broken.") -> str:
    """Return a judge's reasoning and verdict on a question.

    Args: flaw: what to say of a question that is not well formed.
    """
    problem = grammar.parse(question)
    if problem is None:
        return f"{_subjects(question)} {flaw} Judgement: No"
    found = trace(problem)
    lines = [_subjects(question), *map(str, found.calculations)]
    if found.failure is None:
        return " ".join([*lines, "Judgement: Yes"])
    return " ".join([*lines, found.failure, "Judgement: No"])


def _subjects(question: str) -> str:
    """Return who and what a text begins with and asks about.

    Without this line a small judge misses three of four questions that ask about other things
    than they tell of.
    """
    words: list[str] = _WORD.findall(question)
    asked: list[str] = _WORD.findall("".join(grammar.sentences_of(question)[-1:]))
    kinds = (grammar.PEOPLE, _PRONOUNS, grammar.THINGS)
    about = [next((word for word in words if word in kind), "nothing") for kind in kinds]
    asks = [word for word in asked if word in grammar.PEOPLE or word in grammar.THINGS]
    return f"About {' '.join(about)}, asks {' '.join(asks)}."


def _operations(problem: grammar.Problem) -> list[tuple[int | None, Sign, int]]:
    operations: list[tuple[int | None, Sign, int]] = []
    if problem.opening.boxes is not None:
        operations.append((problem.opening.boxes, "*", problem.opening.count))
    operations += [(None, STEP_SIGNS[step.kind], step.number) for step in problem.steps]
    if problem.ending.kind != "now":
        operations.append((None, ENDING_SIGNS[problem.ending.kind], problem.ending.number))
    return operations


def _apply(left: int, sign: Sign, right: int) -> int | str:
    match sign:
        case "+":
            return left + right
        case "*":
            return left * right
        case "-":
            return left - right if left >= right else f"{left} - {right} is below zero."
        case "/":
            if right == 0 or left % right:
                return f"{left} / {right} is not whole."
            return left // right
