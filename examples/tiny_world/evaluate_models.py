"""Measure the models of the tiny world and print the numbers as tables.

Usage: `python examples/tiny_world/evaluate_models.py`.
"""

import argparse
import os
import random
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import PreTrainedTokenizerFast

from tiny_world import chat, grammar, noise, reward, sampling, splits, truth

MODELS = Path(__file__).parent / "models"
WRITERS = ("writer-a", "writer-b")
LANGUAGE_MODELS = (*WRITERS, "solver")
NUM_PROBLEMS = 400
NUM_RAW_QUESTIONS = 1000
NUM_ANSWERS = 5
TEMPERATURE = 0.7
JUDGE_SEED = 55


def main() -> None:
    """Measure the models that the command line names, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("what", nargs="*", help="models; default: all", default=[])
    parser.add_argument("--models", type=Path, default=MODELS, help="where the models are")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = arguments.what or [*LANGUAGE_MODELS, "reward"]
    for name in wanted:
        if name == "reward":
            print_reward(arguments.models)
        else:
            print_language_model(arguments.models / name, is_writer=name in WRITERS)


def print_language_model(folder: Path, *, is_writer: bool) -> None:
    """Print how well a model solves and judges, and what it writes if it is a writer."""
    questions = splits.held_out_questions()[:NUM_PROBLEMS]
    rng = random.Random(JUDGE_SEED)
    judged = [noise.judged_question(rng)[0] for _ in range(NUM_PROBLEMS)]
    with sampling.Sampler(folder) as model:
        answers = model.greedy([chat.solve_prompt(question) for question in questions])
        verdicts = model.greedy([chat.judge_prompt(question) for question in judged])
        sampled = model.sample([chat.solve_prompt(one) for one in questions], temperature=0.7)
        raw = model.sample([chat.PRE_QUERY] * NUM_RAW_QUESTIONS, temperature=1.0, top_p=0.99)
    right = [truth.is_right(*pair) for pair in zip(questions, answers, strict=True)]
    sampled_right = [
        truth.is_right(question, answer[0].text) for question, answer in zip(questions, sampled, strict=True)
    ]
    agrees = [
        verdict.endswith("Yes") == (truth.truth(question) is not None)
        for question, verdict in zip(judged, verdicts, strict=True)
    ]
    row(folder.name, "greedy accuracy", share(right))
    row(folder.name, f"accuracy at T={TEMPERATURE}", share(sampled_right))
    row(folder.name, "judge accuracy", share(agrees))
    if is_writer:
        print_questions(folder.name, [completions[0] for completions in raw])


def print_questions(name: str, written: Sequence[sampling.Completion]) -> None:
    """Print what the questions of a writer are like."""
    texts = [one.text.strip() for one in written]
    solvable = [text for text in texts if truth.truth(text) is not None]
    problems = [problem for text in texts if (problem := grammar.parse(text))]
    sizes = [problem.num_operations for problem in problems]
    kinds = Counter(step.kind for problem in problems for step in problem.steps)
    row(name, "raw solvable", share([truth.truth(text) is not None for text in texts]))
    row(name, "raw well formed", f"{len(problems) / len(texts):.3f}")
    row(name, "raw ended by itself", share([one.has_ended for one in written]))
    row(name, "raw distinct", f"{len(set(texts)) / len(texts):.3f}")
    row(name, "raw words, mean", f"{statistics.fmean(len(text.split()) for text in texts):.1f}")
    row(name, "raw operations, mean", f"{statistics.fmean(sizes):.2f}")
    kept = [problem.num_operations for text in solvable if (problem := grammar.parse(text))]
    row(name, "raw operations of solvable, mean", f"{statistics.fmean(kept):.2f}")
    total = kinds.total()
    shares = " ".join(f"{kind} {count / total:.2f}" for kind, count in kinds.most_common())
    row(name, "raw kinds of step", shares)


def print_reward(models: Path) -> None:
    """Print what the best of five answers by reward is worth for each writer as a solver."""
    questions = splits.held_out_questions()[NUM_PROBLEMS:]
    folder = models / "reward"
    model = reward.load(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    for name in WRITERS:
        with sampling.Sampler(models / name) as responder:
            prompts = [chat.solve_prompt(question) for question in questions]
            answers = responder.sample(prompts, temperature=TEMPERATURE, num=NUM_ANSWERS)
        samples = [
            [reward.Sample(question, answer.text) for answer in found]
            for question, found in zip(questions, answers, strict=True)
        ]
        flat = [sample for found in samples for sample in found]
        logits = reward.scores(model, tokenizer, flat)
        print_choices(name, [truth.is_right(*sample) for sample in flat], flat, logits)


def print_choices(
    name: str, right: Sequence[bool], flat: Sequence[reward.Sample], logits: Sequence[float]
) -> None:
    """Print how often each way to choose one of a question's answers chooses a right one."""
    chosen: dict[str, list[bool]] = {"first": [], "reward": [], "majority": [], "oracle": []}
    for start in range(0, len(flat), NUM_ANSWERS):
        group = range(start, start + NUM_ANSWERS)
        values = [truth.boxed(flat[index].response) for index in group]
        common = Counter(values).most_common(1)[0][0]
        chosen["first"].append(right[start])
        chosen["reward"].append(right[max(group, key=lambda index: logits[index])])
        chosen["majority"].append(right[start + values.index(common)])
        chosen["oracle"].append(any(right[index] for index in group))
    for way, results in chosen.items():
        row(f"reward on {name}", f"best of {NUM_ANSWERS} by {way}", share(results))
    gain = [int(a) - int(b) for a, b in zip(chosen["reward"], chosen["first"], strict=True)]
    error = statistics.stdev(gain) / len(gain) ** 0.5
    mean = statistics.fmean(gain)
    row(f"reward on {name}", "reward minus first, paired", f"{mean:+.3f} (se {error:.3f})")
    agrees = [(logit > 0) == is_right for logit, is_right in zip(logits, right, strict=True)]
    row(f"reward on {name}", "logit above 0 means right", share(agrees))


def share(facts: Sequence[bool]) -> str:
    """Return the share of true facts with its standard error."""
    mean = statistics.fmean(facts)
    return f"{mean:.3f} (se {(mean * (1 - mean) / len(facts)) ** 0.5:.3f})"


def row(subject: str, measure: str, value: str) -> None:
    """Print one row of a Markdown table."""
    print(f"| {subject} | {measure} | {value} |", flush=True)


if __name__ == "__main__":
    main()
