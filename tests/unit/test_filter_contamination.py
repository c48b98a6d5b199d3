"""Which questions repeat a benchmark."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs.filters import contamination, verdict

LONG = (
    "A train leaves the station at noon and travels 60 miles per hour for 3 hours before it stops for lunch."
)
OTHER = (
    "A farmer plants 12 rows of corn with 15 plants in every row and loses a tenth of them to hail in June."
)
SHORT = "What is 2 + 3?"
INDEX = contamination.NgramIndex.build({"gsm": [LONG, SHORT], "math": [OTHER]})


def test_a_benchmark_question_is_contaminated_in_any_spelling() -> None:
    for text in (LONG, LONG.upper(), LONG.replace(" ", "  ")):
        found = contamination.judge(text, INDEX)
        assert (found.reason, found.detail, found.score) == ("contaminated", "gsm", 1.0)


def test_a_shared_passage_tells_its_share() -> None:
    words = LONG.split()
    found = contamination.judge(" ".join([*words[:13], "and", "then", "it", "rests"]), INDEX)
    assert (found.keep, found.detail, found.score, found.limit) == (False, "gsm", 1 / 5, 0.0)


def test_twelve_shared_words_are_too_few() -> None:
    text = " ".join([*LONG.split()[:12], "somewhere", "far", "away"])
    assert contamination.judge(text, INDEX) == verdict.Verdict(keep=True, score=0.0, limit=0.0)


def test_another_number_breaks_the_match() -> None:
    assert contamination.judge(LONG.replace("60", "61").replace("3 hours", "4 hours"), INDEX).keep


def test_a_short_question_is_compared_as_a_whole() -> None:
    assert contamination.judge("what is 2 + 3", INDEX).reason == "contaminated"
    assert contamination.judge("What is 2 - 3?", INDEX).keep


def test_the_benchmark_with_the_larger_share_is_named() -> None:
    both = f"{OTHER} {' '.join(LONG.split()[:14])}"
    assert contamination.judge(both, INDEX).detail == "math"


def test_a_passage_of_two_benchmarks_counts_for_both() -> None:
    index = contamination.NgramIndex.build({"b": [LONG], "a": [LONG, LONG]})
    assert contamination.judge(LONG, index).detail == "a"


def test_a_share_may_be_allowed() -> None:
    text = f"{' '.join(LONG.split()[:13])} {OTHER.replace('corn', 'wheat').replace('every', 'each').replace('hail', 'frost')}"
    assert not contamination.judge(text, INDEX).keep
    assert contamination.judge(text, INDEX, maximum_share=0.1).keep


def test_the_length_of_ngrams_is_a_parameter() -> None:
    index = contamination.NgramIndex.build({"gsm": [LONG]}, ngram=5)
    assert not contamination.judge("Tell me when a train leaves the station, please", index).keep
    with pytest.raises(ValueError, match="at least 1 word"):
        contamination.NgramIndex.build({}, ngram=0)


@settings(deadline=None)
@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_gets_a_verdict_and_a_benchmark_repeats_itself(text: str, texts: list[str]) -> None:
    index = contamination.NgramIndex.build({"b": [*texts, text]}, ngram=2)
    found = contamination.judge(text, index)
    assert found.keep == (found.score == 0.0)
    if any(character.isalnum() and character.isascii() for character in text):
        assert not found.keep
