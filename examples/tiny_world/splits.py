"""The two fixed sets of questions: seeds to train on and held-out ones to test on."""

import json
import random
from pathlib import Path

from tiny_world import grammar, noise, truth

NUM_SEEDS = 1200
NUM_HELD_OUT = 1500
_NUM_OPERATIONS = (2, 3)


def held_out_questions() -> list[str]:
    """Return the held-out questions; the same in every process and Python version."""
    return _distinct(random.Random(22), NUM_HELD_OUT, set())


def seed_questions() -> list[str]:
    """Return the seed questions, none of which is a test question."""
    return _distinct(random.Random(11), NUM_SEEDS, set(held_out_questions()))


def _distinct(rng: random.Random, size: int, excluded: set[str]) -> list[str]:
    questions: dict[str, None] = {}
    while len(questions) < size:
        question = grammar.render(noise.problem(rng, rng.choice(_NUM_OPERATIONS)))
        if question not in excluded:
            questions[question] = None
    return list(questions)


def write_seeds(path: Path) -> None:
    """Write the seed questions with their answers, one JSON object a line."""
    with path.open("w") as lines:
        for question in seed_questions():
            row = {"question": question, "answer": str(truth.truth(question))}
            lines.write(json.dumps(row) + "\n")
