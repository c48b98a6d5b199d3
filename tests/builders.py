"""Runs for tests: every default valid, only what a test is about is named."""

from pathlib import Path
from typing import Any

from scalequest_jobs.contract.run import ScaleQuestRun
from scalequest_jobs.local import run_file

MODELS = {name: {"path": f"models/{name}"} for name in ("writer", "solver", "reward")}


def run_document(**spec: Any) -> dict[str, Any]:
    """Return a valid run as a mapping; `spec` replaces whole fields of the spec."""
    return {
        "apiVersion": "scalequest.io/v1alpha1",
        "kind": "ScaleQuestRun",
        "metadata": {"name": "test-run"},
        "spec": {
            "storage": {"bucket": "bucket"},
            "seedQuestions": {"path": "seeds.jsonl", "answerColumn": "answer"},
            "models": MODELS,
            "generators": [{"name": "a", "model": "writer", "questions": 60}],
            "fineTuning": {"packing": False, "batchSize": 8},
            "preference": {
                "questions": 24,
                "rewriter": {"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "teacher"}},
            },
            "filters": {
                "format": {"minTokens": 1, "maxTokens": 8000},
                "duplicates": {"threshold": 0.95},
                "solvability": {"model": "solver"},
            },
            "responses": {"model": "solver", "candidates": 3},
            "selection": {"method": "reward", "model": "reward"},
            "prompts": {"solvability": "Yes or No: can it be solved?\n{question}"},
            "gates": {"sample": 16},
            "compute": {
                "stages": {"generate-questions": {"chunkRows": 20}, "generate-responses": {"chunkRows": 10}}
            },
            **spec,
        },
    }


def make_run(**spec: Any) -> ScaleQuestRun:
    """Return a valid run."""
    return run_file.parse(run_document(**spec))


def write_inputs(folder: Path, *, seeds: int = 40) -> None:
    """Write the seed file and the model folders that the default run names."""
    from tiny_world import world

    questions = world.seed_questions()[:seeds]
    lines = [f'{{"question": "{question}", "answer": "{world.truth(question)}"}}\n' for question in questions]
    (folder / "seeds.jsonl").write_text("".join(lines), encoding="utf-8")
    for name in MODELS:
        model = folder / "models" / name
        model.mkdir(parents=True, exist_ok=True)
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_bytes(f"weights of {name}".encode())
