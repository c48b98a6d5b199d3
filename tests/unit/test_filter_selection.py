"""Which candidate response is chosen: format, reward, agreement."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs.filters import agreement, answer_format, reward

LABELS = st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=8)


def extract(response: str) -> str | None:
    return response.partition("=")[2] if "=" in response else None


def extract_all(response: str) -> list[str]:
    return response.split("=")[1:]


def close(left: str, right: str) -> bool:
    return abs(float(left) - float(right)) <= 1


def cluster(answers: list[str | None]) -> tuple[int | None, ...]:
    return agreement.clusters(answers, normalise=str.strip, same=close)


@pytest.mark.parametrize(
    ("response", "reason"), [("x = 5", "ok"), ("five", "no_answer"), ("x = ", "empty_answer")]
)
def test_a_response_needs_an_answer(response: str, reason: str) -> None:
    assert answer_format.judge(response, finish_reason="stop", extract=extract).reason == reason


def test_a_response_that_did_not_finish_is_rejected_with_its_answer() -> None:
    assert answer_format.judge("x = 5", finish_reason="length", extract=extract).reason == "truncated"
    assert answer_format.judge("x = 5", finish_reason="abort", extract=extract).reason == "aborted"


def test_two_different_answers_reject_only_when_asked_for() -> None:
    two, twice = "x = 5= 6", "x = 5=5"
    assert answer_format.judge(two, finish_reason="stop", extract=extract).keep
    judged = answer_format.judge(two, finish_reason="stop", extract=extract, extract_all=extract_all)
    assert judged.reason == "several_answers"
    assert answer_format.judge(twice, finish_reason="stop", extract=extract, extract_all=extract_all).keep


def test_a_kept_response_tells_its_answer() -> None:
    assert answer_format.judge("x = 5 ", finish_reason="stop", extract=extract).detail == "5"


def test_the_best_candidate_leads_by_its_margin() -> None:
    assert reward.best([1.0, 3.5, None, 2.0]) == reward.Choice(index=1, score=3.5, margin=1.5)


def test_of_equal_candidates_the_first_is_best() -> None:
    assert reward.best([2.0, 3.0, 3.0]) == reward.Choice(index=1, score=3.0, margin=0.0)


def test_a_single_candidate_has_no_margin_and_none_no_choice() -> None:
    assert reward.best([None, -7.0]) == reward.Choice(index=1, score=-7.0, margin=None)
    assert reward.best([None, float("nan"), float("inf")]) is None
    assert reward.best([]) is None


@pytest.mark.parametrize(
    ("scores", "reason"),
    [([], "unscored"), ([1.0], "low_score"), ([2.0], "ok"), ([2.0, 1.9], "low_margin"), ([2.0, 1.5], "ok")],
)
def test_a_choice_is_held_against_both_limits(scores: list[float | None], reason: str) -> None:
    assert reward.judge(reward.best(scores), minimum_score=2.0, minimum_margin=0.5).reason == reason


def test_without_limits_any_choice_is_kept() -> None:
    assert reward.judge(reward.best([-100.0, -100.0])).keep


def test_equal_forms_are_one_cluster_without_asking() -> None:
    def never(left: str, right: str) -> bool:
        raise AssertionError((left, right))

    assert agreement.clusters(["5", " 5", None, "5 ", ""], normalise=str.strip, same=never) == (
        0,
        0,
        None,
        0,
        None,
    )


def test_equivalent_answers_join_through_each_other() -> None:
    assert cluster(["1", "3", "2", "9"]) == (0, 0, 0, 3)


def test_pairs_that_are_connected_are_not_asked_again() -> None:
    asked: list[tuple[str, str]] = []

    def same(left: str, right: str) -> bool:
        asked.append((left, right))
        return True

    agreement.clusters(["a", "b", "c", "a"], normalise=str, same=same)
    assert asked == [("a", "b"), ("a", "c")]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1", "2", "4", "5", "9", None]), max_size=7), st.randoms())
def test_the_order_of_candidates_changes_no_cluster(answers: list[str | None], rng: random.Random) -> None:
    order = rng.sample(range(len(answers)), len(answers))
    labels, shuffled = cluster(answers), cluster([answers[i] for i in order])
    groups = {frozenset(i for i, x in enumerate(labels) if x == label) for label in set(labels)}
    mapped = {frozenset(order[i] for i, x in enumerate(shuffled) if x == label) for label in set(shuffled)}
    assert groups == mapped


def test_the_majority_is_counted_of_all_candidates() -> None:
    found = agreement.majority([0, 1, 1, None, None])
    assert (found.index, found.agreeing, found.candidates, found.tied) == (1, 2, 5, False)


def test_of_equal_clusters_the_first_wins_and_the_tie_is_told() -> None:
    found = agreement.majority([None, 1, 2, 1, 2])
    assert (found.index, found.tied) == (1, True)


def test_reward_decides_inside_the_majority_only() -> None:
    found = agreement.majority_then_reward([0, 1, 1, 1, None], [9.0, 1.0, 3.0, 2.0, 8.0])
    assert (found.index, found.agreeing, found.contested) == (2, 3, True)


def test_reward_decides_between_equal_majorities() -> None:
    found = agreement.majority_then_reward([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    assert (found.index, found.tied, found.contested) == (3, True, False)


def test_without_scores_the_majority_stands() -> None:
    assert agreement.majority_then_reward([0, 1, 1], [None, None, None]) == agreement.majority([0, 1, 1])


def test_scores_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one score per candidate"):
        agreement.majority_then_reward([0], [])


@pytest.mark.parametrize(
    ("labels", "reason", "detail"),
    [([0, 0, 2], "ok", "2/3"), ([0, 1, 2], "low_agreement", "1/3"), ([None], "no_answer", "")],
)
def test_agreement_is_held_against_its_share(labels: list[int | None], reason: str, detail: str) -> None:
    found = agreement.judge(agreement.majority(labels), minimum_share=0.5)
    assert (found.reason, found.detail) == (reason, detail)


@settings(deadline=None)
@given(LABELS, st.data())
def test_any_candidates_get_a_choice_from_the_largest_cluster(
    labels: list[int | None], data: st.DataObject
) -> None:
    scores = data.draw(
        st.lists(st.one_of(st.none(), st.floats()), min_size=len(labels), max_size=len(labels))
    )
    found = agreement.majority_then_reward(labels, scores)
    if found.index is None:
        assert not any(label is not None for label in labels)
    else:
        assert labels.count(labels[found.index]) == found.agreeing
