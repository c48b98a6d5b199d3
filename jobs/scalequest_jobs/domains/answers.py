"""Are two final answers to a mathematics problem the same?

Cheapest first: one spelling, then exact arithmetic, then guards against what math-verify is known to
get wrong, and math-verify itself in a killable process for the rest.
"""

import re
from fractions import Fraction
from typing import Literal

from scalequest_jobs.domains import boxed, exact, normal_form, symbolic

Comparison = Literal["equal", "different", "undecided"]

# No answer that a person would write is longer; sympy is not asked about loops and prose.
MAXIMUM_LENGTH = 400
# A decimal with at least this many places stands for the fraction that rounds to it.
ROUNDED_PLACES = 6

_ASSIGNMENT = re.compile(r"([A-Za-z](?:_\w|_\{\w+\})?(?:\([A-Za-z]\))?|\\[a-z]+)=([^=<>]+)")
_WORD = re.compile(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{3,}")
_RELATION = re.compile(r"=|<|>|\\(?:leq|geq|neq|approx|equiv)(?![A-Za-z])")
_CLOCK = re.compile(r"\d{1,2}:[0-5]\d(?: ?[ap]\.?m\.?)?", re.IGNORECASE)
_DECIMAL = re.compile(r"-?\d+\.(\d+)")
# sympy computes it, which takes minutes and gigabytes.
_HUGE_FACTORIAL = re.compile(r"\d{5,}[)}]?!")


def extract(response: str) -> str | None:
    r"""Return the content of the last balanced `\boxed{}` or `\fbox{}`, or None."""
    return boxed.last_of(response)


def extract_all(response: str) -> tuple[str, ...]:
    r"""Return the contents of all balanced boxes, in the order in which they start."""
    return boxed.all_of(response)


def normalise(answer: str) -> str:
    """Return the normal spelling of an answer, its unit included; never raises."""
    form = normal_form.of(answer)
    return form.text if form.unit is None else f"{form.text} {form.unit}"


def same(left: str, right: str) -> bool:
    """Return whether two answers are certainly the same; what cannot be compared is not."""
    return compare(left, right) == "equal"


def compare(left: str, right: str) -> Comparison:
    """Return whether two answers are the same. Symmetric; never raises on any text.

    Decisions that are conventions: a percent sign, a unit or a noun behind a number may be missing on
    one side, but two different units are different; "x=5" is 5 but not "y=5"; an equation is no number;
    a decimal equals a fraction exactly, or if it is its rounding to six places or more; lists without
    brackets are sets, tuples have an order.

    Raises:
        TryAgainError: the worker process cannot be started.
    """
    one, other = normal_form.of(left), normal_form.of(right)
    if not one.text or not other.text:
        return "undecided"
    if one.unit is not None and other.unit is not None and one.unit != other.unit:
        return "different"
    pair = _without_assignment(one.text, other.text)
    if pair is None:
        return "different"
    return _compare_texts(*pair)


def _compare_texts(one: str, other: str) -> Comparison:
    if one == other:
        return "equal"
    if len(one) > MAXIMUM_LENGTH or len(other) > MAXIMUM_LENGTH:
        return "undecided"
    if _CLOCK.fullmatch(one) and _CLOCK.fullmatch(other):
        return "undecided"
    if _HUGE_FACTORIAL.search(one) or _HUGE_FACTORIAL.search(other):
        return "undecided"
    try:
        values = exact.value(one), exact.value(other)
    except exact.TooLargeError:
        return "undecided"
    if values[0] is not None and values[1] is not None:
        return "equal" if _is_same_number((one, values[0]), (other, values[1])) else "different"
    if _is_prose(one, other) or _differ_in_kind(one, other):
        return "different"
    return symbolic.shared().compare(one, other)


def _without_assignment(one: str, other: str) -> tuple[str, str] | None:
    """Return both texts without "x=", or None if they assign to different letters."""
    left, right = _assignment(one), _assignment(other)
    if left and right:
        return (left[1], right[1]) if left[0] == right[0] else None
    # Against another equation, "y=2x+1" is an equation too.
    if left and not _RELATION.search(other):
        return left[1], other
    if right and not _RELATION.search(one):
        return one, right[1]
    return one, other


def _assignment(text: str) -> tuple[str, str] | None:
    """Return the letter and the value, or the values, of "x=1" or "x=1,x=2"; None for anything else."""
    parts = [_ASSIGNMENT.fullmatch(part) for part in text.split(",")]
    letters = {part[1] for part in parts if part}
    if len(letters) == 1 and all(parts):
        return letters.pop(), ",".join(part[2] for part in parts if part)
    whole = _ASSIGNMENT.fullmatch(text)
    return (whole[1], whole[2]) if whole else None


def _is_same_number(one: tuple[str, Fraction], other: tuple[str, Fraction]) -> bool:
    if one[1] == other[1]:
        return True
    return _is_rounding(*one, other[1]) or _is_rounding(*other, one[1])


def _is_rounding(text: str, number: Fraction, fraction: Fraction) -> bool:
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None or len(decimal[1]) < ROUNDED_PLACES:
        return False
    return round(fraction, len(decimal[1])) == number


def _is_prose(one: str, other: str) -> bool:
    """Return whether one of two different texts has a word that the other lacks.

    Letters in a row are a product to sympy, so "yes" and "sey" would be equal.
    """
    return {frozenset(word) for word in _WORD.findall(one)} != {frozenset(w) for w in _WORD.findall(other)}


def _differ_in_kind(one: str, other: str) -> bool:
    """Return whether one is an equation and the other a plain value (math-verify keeps its right side)."""
    equations = ["=" in text for text in (one, other)]
    relations = [bool(_RELATION.search(text)) for text in (one, other)]
    return any(equations) and not all(relations)
