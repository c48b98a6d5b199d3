"""Solutions with one mistake, as endless food for the reward model."""

import random

from tiny_world import grammar, truth

_SLIPS = (-10, -3, -2, -1, 1, 2, 3, 10)
_SIGNS: tuple[truth.Sign, ...] = ("+", "-", "*", "/")


def mistaken_solution(rng: random.Random, problem: grammar.Problem) -> str:
    """Return a solution that goes wrong once and goes on from there; its answer may still fit."""
    lines = list(truth.trace(problem).calculations)
    place = rng.randrange(len(lines) + 1)
    if place == len(lines):
        return _text(lines, max(lines[-1].result + rng.choice(_SLIPS), 0))
    kind = rng.choice(("result", "result", "operand", "sign", "skip"))
    if kind == "skip" and len(lines) > 1:
        rest = lines[place + 1 :]
        total = lines[place].left
    else:
        wrong = _mistaken(rng, lines[place], kind)
        rest = [wrong, *lines[place + 1 :]]
        total = wrong.left
    done = lines[:place]
    for line in rest:
        result = line.result if line is rest[0] and kind != "skip" else _result(total, line)
        done.append(truth.Calculation(left=total, sign=line.sign, right=line.right, result=result))
        total = result
    return _text(done, total)


def _mistaken(rng: random.Random, line: truth.Calculation, kind: str) -> truth.Calculation:
    slip = rng.choice(_SLIPS)
    sign, right, result = line.sign, line.right, line.result
    if kind == "operand":
        right = max(right + slip, 1)
    elif kind == "sign":
        sign = rng.choice([other for other in _SIGNS if other != sign])
    if kind in ("operand", "sign"):
        changed = truth.Calculation(left=line.left, sign=sign, right=right, result=0)
        result = _result(line.left, changed)
    else:
        result = max(result + slip, 0)
    return truth.Calculation(left=line.left, sign=sign, right=right, result=result)


def _result(left: int, line: truth.Calculation) -> int:
    match line.sign:
        case "+":
            return left + line.right
        case "-":
            return max(left - line.right, 0)
        case "*":
            return left * line.right
        case "/":
            return left // max(line.right, 1)


def _text(lines: list[truth.Calculation], answer: int) -> str:
    return " ".join([*map(str, lines), f"\\boxed{{{answer}}}"])
