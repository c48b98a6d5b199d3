"""Which of a question's answers is chosen, and which limit a choice fails."""

from typing import Any

import pytest

from scalequest_jobs.domains import math
from scalequest_jobs.stages import select_responses
from scalequest_jobs.stages.select_responses import SelectionParameters


def rows(*candidates: tuple[str, float | None]) -> list[dict[str, Any]]:
    return [
        {"answer": answer, "score": score, "difficulty": None, "generator": "a", "question_id": "q"}
        for answer, score in candidates
    ]


def choose(candidates: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": "reward",
        "candidates": 5,
        "min_score": None,
        "min_agreement": 0,
        "pass_rate": {},
    }
    return select_responses.choose(candidates, SelectionParameters(**{**fields, **changes}), math.MATH)


CANDIDATES = rows(("7", 0.1), ("7.0", 0.4), ("8", 0.9))


@pytest.mark.parametrize(
    ("method", "index", "agreeing"), [("reward", 2, 1), ("majority", 0, 2), ("majority-then-reward", 1, 2)]
)
def test_each_method_chooses_its_candidate(method: str, index: int, agreeing: int) -> None:
    choice = choose(CANDIDATES, method=method)
    assert (choice["index"], choice["agreement"], choice["verdict"].keep) == (index, agreeing, True)


def test_a_best_score_below_the_limit_rejects_with_both_numbers() -> None:
    verdict = choose(CANDIDATES, min_score=1.5)["verdict"]
    assert (verdict.reason, verdict.score, verdict.limit) == ("low_score", 0.9, 1.5)


def test_agreement_counts_the_candidates_that_were_rejected_before() -> None:
    verdict = choose(CANDIDATES, method="majority", min_agreement=0.5)["verdict"]
    assert (verdict.reason, verdict.score, verdict.limit) == ("low_agreement", 2 / 5, 0.5)
    assert choose(CANDIDATES, method="majority", min_agreement=0.4)["verdict"].keep


def test_a_question_none_of_whose_answers_was_scored_is_rejected_as_such() -> None:
    assert choose(rows(("7", None), ("8", None)))["verdict"].reason == "unscored"


def test_a_majority_stands_without_scores() -> None:
    choice = choose(rows(("7", None), ("7", None)), method="majority")
    assert (choice["verdict"].keep, choice["score"], choice["margin"]) == (True, None, None)
