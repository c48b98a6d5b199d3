"""The texts that the models learn from: an endless mix, drawn from the world."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tiny_world import chat, grammar, noise, truth

_NUM_FACTS = 10


class Example(NamedTuple):
    """A prompt, which is not learned, and what follows it, which is."""

    prompt: str
    completion: str


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The share of each kind of text in a pretraining mix; shares are relative to their sum."""

    solve: float
    judge: float
    web: float
    facts: float
    corner: noise.Web = field(default_factory=noise.Web)


def example(rng: random.Random, mix: Mix) -> Example:
    """Return one random text of the mix."""
    makers: list[Callable[[], Example]] = [
        lambda: solved(rng),
        lambda: judged(rng),
        lambda: written(rng, mix.corner),
        lambda: facts(rng),
    ]
    return rng.choices(makers, (mix.solve, mix.judge, mix.web, mix.facts))[0]()


def solved(rng: random.Random) -> Example:
    """Return a clean problem and its solution."""
    problem = noise.problem(rng, rng.choices((1, 2, 3, 4), (0.15, 0.35, 0.35, 0.15))[0])
    prompt = chat.solve_prompt(grammar.render(problem))
    return Example(prompt, truth.solution(problem) + chat.END)


def judged(rng: random.Random) -> Example:
    """Return a question, clean or not, and its judgement."""
    question, judgement = noise.judged_question(rng)
    return Example(chat.judge_prompt(question), judgement + chat.END)


def written(rng: random.Random, corner: noise.Web) -> Example:
    """Return a question of the web as what a user writes; this is what makes a question writer."""
    return Example(chat.PRE_QUERY, noise.web_question(rng, corner) + chat.END)


def facts(rng: random.Random) -> Example:
    """Return plain lines of arithmetic, possible or not, without a conversation around them."""
    lines: list[str] = []
    while len(lines) < _NUM_FACTS:
        found = truth.trace(noise.unchecked_problem(rng, rng.choice((2, 3, 4))))
        lines += [str(one) for one in found.calculations if one.result <= noise.MAX_TOTAL]
        lines += [found.failure] if found.failure else []
    rng.shuffle(lines)
    return Example(chat.PAD, " ".join(lines[:_NUM_FACTS]) + chat.END)
