"""Rules across fields: each is broken once, and says which field and what to do."""

from typing import Any

import pytest

from builders import MODELS, make_run, run_document
from scalequest_jobs.contract.rules import RULES
from scalequest_jobs.local import run_file

ENDPOINT = {"url": "http://127.0.0.1:9/v1", "model": "teacher"}
CUT = {"keep": "threshold", "minimum": 0.1}
TRAINED = {"scorer": "train", "base": "solver", "solver": "solver"}


def filters(**more: Any) -> dict[str, Any]:
    return {"solvability": {"model": "solver"}, **more}


def generator(**more: Any) -> dict[str, Any]:
    return {"name": "a", "model": "writer", "questions": 9, **more}


def models(**more: Any) -> dict[str, Any]:
    return {**MODELS, **more}


def one_benchmark(**more: Any) -> dict[str, Any]:
    return filters(contamination={"benchmarks": [{"name": "gsm8k", **more}]})


COMMIT = "0" * 40
MODEL_PLACE = "give each model exactly one of hub, key and path"
REVISION = "give revision (a 40-digit commit) with hub, and only with hub"
REFERENCES = "add every model that"
BINS = "give difficulty.bins, one of them above 0"

BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("spec.seedQuestions", "exactly one of key", {"seedQuestions": {"column": "q"}}),
    ("spec.seedQuestions", "exactly one of key", {"seedQuestions": {"key": "a", "path": "b"}}),
    ("spec.filters.contamination.benchmarks", "exactly one of key", {"filters": one_benchmark()}),
    ("spec.filters.contamination.benchmarks", "exactly one of key", {"filters": one_benchmark(key="a", path="b")}),
    (
        "spec.filters.contamination.benchmarks",
        "a name of its own",
        {"filters": filters(contamination={"benchmarks": [{"name": "x", "key": "a"}, {"name": "x", "key": "b"}]})},
    ),
    ("spec.models", MODEL_PLACE, {"models": models(more={})}),
    ("spec.models", MODEL_PLACE, {"models": models(more={"key": "a", "path": "b"})}),
    ("spec.models", MODEL_PLACE, {"models": models(more={"hub": "a/b", "revision": COMMIT, "key": "c"})}),
    ("spec.models", REVISION, {"models": models(more={"hub": "a/b"})}),
    ("spec.models", REVISION, {"models": models(more={"path": "a", "revision": COMMIT})}),
    ("spec.models", REFERENCES, {"generators": [generator(model="nobody")]}),
    ("spec.models", REFERENCES, {"filters": {"solvability": {"model": "nobody"}}}),
    ("spec.models", REFERENCES, {"responses": {"model": "nobody"}}),
    ("spec.models", REFERENCES, {"selection": {"method": "reward", "model": "nobody"}}),
    ("spec.models", REFERENCES, {"preference": {"rewriter": {"model": "nobody"}}}),
    ("spec.models", REFERENCES, {"filters": filters(difficulty={**TRAINED, "base": "nobody"})}),
    ("spec.models", REFERENCES, {"filters": filters(difficulty={**TRAINED, "solver": "nobody"})}),
    ("spec.models", REFERENCES, {"filters": filters(difficulty={"scorer": "nobody"})}),
    ("spec.generators", "a name of its own", {"generators": [generator(), generator()]}),
    ("spec.generators", "nothing would measure it", {"generators": [generator(difficulty=CUT)]}),
    (
        "spec.generators",
        BINS,
        {"generators": [generator(difficulty={"keep": "histogram"})], "filters": filters(difficulty=TRAINED)},
    ),
    (
        "spec.generators",
        BINS,
        {
            "generators": [generator(difficulty={"keep": "histogram", "bins": [0, 0]})],
            "filters": filters(difficulty=TRAINED),
        },
    ),
    (
        "spec.generators",
        BINS,
        {"generators": [generator(difficulty={**CUT, "bins": [1]})], "filters": filters(difficulty=TRAINED)},
    ),
    (
        "spec.generators",
        "at most its maximum",
        {
            "generators": [generator(difficulty={"minimum": 0.6, "maximum": 0.5})],
            "filters": filters(difficulty=TRAINED),
        },
    ),
    ("spec.preference.rewriter", "exactly one of endpoint and model", {"preference": {"rewriter": {}}}),
    (
        "spec.preference.rewriter",
        "exactly one of endpoint and model",
        {"preference": {"rewriter": {"endpoint": ENDPOINT, "model": "solver"}}},
    ),
    ("spec.filters.difficulty", "answerColumn", {"filters": filters(difficulty={"base": "solver"})}),
    ("spec.filters.difficulty", "answerColumn", {"filters": filters(difficulty={"solver": "solver"})}),
    (
        "spec.filters.difficulty",
        "answerColumn",
        {"seedQuestions": {"path": "seeds.jsonl"}, "filters": filters(difficulty=TRAINED)},
    ),
    ("spec.selection.model", "scoring model", {"selection": {"method": "reward"}}),
    ("spec.selection.model", "scoring model", {"selection": {"method": "likelihood"}}),
    ("spec.selection.model", "scoring model", {"selection": {"method": "majority", "model": "reward"}}),
    ("spec.filters.format", "at most maxTokens", {"filters": filters(format={"minTokens": 500})}),
    ("spec.prompts", "put {question} into each", {"prompts": {"response": "Solve it."}}),
    ("spec.prompts", "put {question} into each", {"prompts": {"rewriteDifficulty": "Harder: {q}"}}),
    ("spec.student", "trains no student yet", {"student": {"model": "solver"}}),
]  # fmt: skip


def told(**spec: Any) -> list[str]:
    with pytest.raises(run_file.RunFileError) as caught:
        run_file.parse(run_document(**spec))
    return caught.value.problems


@pytest.mark.parametrize(
    ("path", "fix", "spec"), BROKEN, ids=[f"{i}-{path}" for i, (path, *_) in enumerate(BROKEN)]
)
def test_a_broken_rule_names_the_field_and_the_fix_and_nothing_else(
    path: str, fix: str, spec: dict[str, Any]
) -> None:
    (line,) = told(**spec)
    assert line.startswith(f"{path}: ")
    assert fix in line


def test_every_rule_is_broken_by_a_case() -> None:
    lines = {line for _, _, spec in BROKEN for line in told(**spec)}
    assert {f"{rule.path}: {rule.message}" for rule in RULES} == lines


def test_no_message_holds_the_separator_of_messages() -> None:
    assert [rule for rule in RULES if "; " in rule.message] == []


def test_all_broken_rules_are_told_at_once_in_the_order_of_the_table() -> None:
    lines = told(
        seedQuestions={}, selection={"method": "reward"}, prompts={"response": "Solve it."}, student={"model": "solver"}
    )  # fmt: skip
    assert [line.partition(":")[0] for line in lines] == [
        "spec.seedQuestions",
        "spec.selection.model",
        "spec.prompts",
        "spec.student",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"preference": {"rewriter": {"model": "solver"}}},
        {"preference": None, "fineTuning": None},
        {"selection": {"method": "majority"}},
        {"selection": {"method": "majority-then-reward", "model": "reward"}},
        {"filters": filters(difficulty={"scorer": "passRate"})},
        {"filters": filters(difficulty={"scorer": "reward"}), "seedQuestions": {"key": "seeds.csv"}},
        {"generators": [generator(difficulty=CUT)], "filters": filters(difficulty=TRAINED)},
        {"generators": [generator(difficulty={"minimum": 0.5, "maximum": 0.5})], "filters": filters(difficulty=TRAINED)},
        {
            "generators": [generator(difficulty={"keep": "histogram", "bins": [0, 1]})],
            "filters": filters(difficulty=TRAINED),
        },
        {"models": models(more={"hub": "a/b", "revision": COMMIT})},
        {"filters": one_benchmark(key="benchmarks/gsm8k.parquet")},
        {"prompts": {"solvability": "{question}"}},
    ],
)  # fmt: skip
def test_what_the_rules_allow_is_valid(spec: dict[str, Any]) -> None:
    make_run(**spec)
