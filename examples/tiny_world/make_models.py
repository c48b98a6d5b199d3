"""Train every model of the tiny world from scratch.

Usage: `python examples/tiny_world/make_models.py all`.

One CPU thread; the seeds are fixed, but another machine's arithmetic may round otherwise.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# OpenMP threads spin while they wait; on shared cores one thread is the fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import PreTrainedTokenizerFast

from tiny_world import chat, corpus, grammar, language, noise, reward, splits, tokens, training

MODELS = Path(__file__).parent / "models"
SCRATCH = Path(tempfile.gettempdir()) / "tiny-world"
TOKENIZER_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One language model: where it starts, what it reads and for how long."""

    start: str | None
    mix: corpus.Mix
    schedule: training.Schedule


# The trunk keeps its learning rate to the end: the models that start from it bring it down.
RECIPES = {
    "trunk": Recipe(
        start=None,
        mix=corpus.Mix(solve=0.5, judge=0.12, web=0.2, facts=0.18),
        schedule=training.Schedule(steps=1000, batch_size=64, learning_rate=3e-3, hold=1.0, seed=1),
    ),
    "writer-a": Recipe(
        start="trunk",
        mix=corpus.Mix(
            solve=0.42,
            judge=0.1,
            web=0.42,
            facts=0.06,
            corner=noise.Web(clean_share=0.4, operation_weights=(0.45, 0.4, 0.15, 0.0)),
        ),
        schedule=training.Schedule(steps=400, batch_size=32, learning_rate=1.5e-3, seed=2),
    ),
    "writer-b": Recipe(
        start="trunk",
        mix=corpus.Mix(
            solve=0.25,
            judge=0.05,
            web=0.65,
            facts=0.05,
            corner=noise.Web(clean_share=0.25, unchecked_share=0.5, operation_weights=(0.15, 0.4, 0.35, 0.1)),
        ),
        schedule=training.Schedule(steps=600, batch_size=32, learning_rate=2e-3, seed=3),
    ),
    "solver": Recipe(
        start="trunk",
        mix=corpus.Mix(solve=0.55, judge=0.35, web=0.02, facts=0.08),
        schedule=training.Schedule(steps=1200, batch_size=32, learning_rate=2e-3, seed=4),
    ),
}
PARTS = ("tokenizer", *RECIPES, "samples", "reward")

# How many problems each writer answers for the reward model; the solver makes too few mistakes.
REWARD_PROBLEMS = {"writer-a": 2500, "writer-b": 2000}
REWARD_ANSWERS = 3
REWARD_TEMPERATURE = 1.0
REWARD_SHARE_MADE_UP = 0.5
REWARD_SEED = 5
SURPRISE_SCHEDULE = training.Schedule(steps=700, batch_size=32, learning_rate=2e-3, seed=6)
RIGHTNESS_SCHEDULE = training.Schedule(steps=600, batch_size=32, learning_rate=1e-3, seed=5)
SAMPLES = "reward_samples.jsonl"


def main() -> None:
    """Train what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("what", choices=["all", *PARTS])
    parser.add_argument("--models", type=Path, default=MODELS, help="where the models go")
    parser.add_argument(
        "--scratch", type=Path, default=SCRATCH, help="where the rest goes, such as the trunk"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in PARTS if arguments.what == "all" else [arguments.what]:
        print(f"== {name}", flush=True)
        make(name, arguments.models, arguments.scratch)


def make(part: str, models: Path, scratch: Path) -> None:
    """Make one part of the set; the parts before it in PARTS must be there."""
    match part:
        case "tokenizer":
            tokens.make_tokenizer(TOKENIZER_SEED).save_pretrained(scratch / "tokenizer")
        case "samples":
            sample_solutions(models, scratch / SAMPLES)
        case "reward":
            train_reward(models, scratch / SAMPLES)
        case _:
            train_language(part, models, scratch)


def train_language(name: str, models: Path, scratch: Path) -> None:
    """Train one language model from its recipe and save it."""
    recipe = RECIPES[name]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(scratch / "tokenizer")
    if recipe.start is None:
        model = language.new_model(tokenizer, recipe.schedule.seed)
    else:
        model = language.load(scratch / recipe.start)
    language.train(model, tokenizer, recipe.mix, recipe.schedule)
    if name == "trunk":
        model.save_pretrained(scratch / name)
    else:
        language.save(model, tokenizer, models / name)


def sample_solutions(models: Path, path: Path) -> None:
    """Write the models' own solutions, right and wrong, to fresh problems."""
    # vLLM takes 15 s to import, and no other part needs it.
    from tiny_world import sampling

    held_out = set(splits.held_out_questions())
    rng = random.Random(REWARD_SEED)
    with path.open("w") as lines:
        for name, size in REWARD_PROBLEMS.items():
            problems = [noise.problem(rng, rng.choice((1, 2, 2, 3, 3, 4))) for _ in range(size)]
            questions = [text for one in problems if (text := grammar.render(one)) not in held_out]
            prompts = [chat.solve_prompt(question) for question in questions]
            with sampling.Sampler(models / name) as model:
                answers = model.sample(prompts, temperature=REWARD_TEMPERATURE, num=REWARD_ANSWERS)
            for question, found in zip(questions, answers, strict=True):
                for answer in sorted({one.text for one in found if one.has_ended}):
                    lines.write(json.dumps([question, answer]) + "\n")


def train_reward(models: Path, path: Path) -> None:
    """Train the reward model from the solver and save it."""
    samples = [reward.Sample(*json.loads(line)) for line in path.read_text().splitlines()]
    print(f"{len(samples)} samples", flush=True)
    source = reward.Source(samples, REWARD_SHARE_MADE_UP)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(models / "solver")
    solver = language.load(models / "solver")
    model = reward.new_model(solver, REWARD_SEED)
    reward.train_surprise(model, solver, tokenizer, source, SURPRISE_SCHEDULE)
    reward.train_rightness(model, tokenizer, source, RIGHTNESS_SCHEDULE)
    language.save(model, tokenizer, models / "reward")


if __name__ == "__main__":
    main()
