"""Rules across fields: each is broken once, and says which field and what to do."""

from typing import Any

import pytest

from builders import make_run, run_document
from cluster.admission import corpus
from scalequest_jobs.contract.rules import RULES
from scalequest_jobs.local import run_file


def told(document: dict[str, Any]) -> list[str]:
    with pytest.raises(run_file.RunFileError) as caught:
        run_file.parse(document)
    return caught.value.problems


@pytest.mark.parametrize("bad", corpus.BAD, ids=lambda bad: bad.title)
def test_a_bad_run_is_refused_with_its_field_and_the_fix(bad: corpus.Bad) -> None:
    lines = told(corpus.edited(*bad.edits))
    assert any(line.startswith(bad.field) and bad.fix.lower() in line.lower() for line in lines), lines


@pytest.mark.parametrize("bad", corpus.RULES, ids=lambda bad: bad.title)
def test_a_broken_rule_is_told_in_one_line_and_nothing_else(bad: corpus.Bad) -> None:
    (line,) = told(corpus.edited(*bad.edits))
    assert line.startswith(f"{bad.field}: ")


def test_every_rule_is_broken_by_a_case() -> None:
    lines = [line for bad in corpus.RULES for line in told(corpus.edited(*bad.edits))]
    unbroken = [
        rule.message for rule in RULES if not any(f"{rule.field}: {rule.message}" in line for line in lines)
    ]
    assert unbroken == []


def test_no_message_holds_the_separator_of_messages() -> None:
    assert [rule for rule in RULES if "; " in rule.message] == []


def test_all_broken_rules_are_told_at_once_in_the_order_of_the_table() -> None:
    document = run_document(
        seedQuestions={}, selection={"method": "reward"}, prompts={"response": "Solve it."}, student={"model": "solver"}
    )  # fmt: skip
    assert [line.partition(":")[0] for line in told(document)] == [
        "spec.seedQuestions",
        "spec.selection.model",
        "spec.prompts",
        "spec.student",
    ]


@pytest.mark.parametrize("edits", corpus.GOOD, ids=str)
def test_what_the_rules_allow_is_valid(edits: tuple[tuple[str, Any], ...]) -> None:
    run_file.parse(corpus.edited(*edits))


def test_the_default_run_of_the_tests_is_valid() -> None:
    make_run()
