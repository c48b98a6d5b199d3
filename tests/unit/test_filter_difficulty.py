"""Which difficulties are kept."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs.filters import difficulty, verdict

SCORES = st.lists(st.one_of(st.none(), st.floats(-0.2, 1.2)), max_size=60)
SHARES = st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any)
EDGES = (0.0, 0.3, 0.7, 1.0)


def kept(scores: list[float | None], verdicts: list[verdict.Verdict]) -> list[float]:
    return [score for score, found in zip(scores, verdicts, strict=True) if found.keep and score is not None]


def counts(scores: list[float]) -> list[int]:
    return [
        sum(score < 0.3 for score in scores),
        sum(0.3 <= score < 0.7 for score in scores),
        sum(score >= 0.7 for score in scores),
    ]


def ids(scores: list[float | None]) -> list[str]:
    return [f"q{row}" for row in range(len(scores))]


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (0.1, "too_easy"),
        (0.2, "ok"),
        (0.8, "ok"),
        (0.9, "too_hard"),
        (None, "unscored"),
        (float("nan"), "unscored"),
    ],
)
def test_a_threshold_includes_its_limits(score: float | None, reason: str) -> None:
    assert difficulty.threshold(score, minimum=0.2, maximum=0.8).reason == reason


def test_without_limits_every_score_is_kept() -> None:
    assert difficulty.threshold(-1e9).keep


def test_difficulty_is_the_share_that_disagrees() -> None:
    assert difficulty.pass_rate_difficulty(5, 5) == 0
    assert difficulty.pass_rate_difficulty(0, 5) == 1
    assert difficulty.pass_rate_difficulty(1, 4) == 0.75


@pytest.mark.parametrize(("agreement", "candidates"), [(6, 5), (-1, 5), (0, 0)])
def test_an_impossible_agreement_is_refused(agreement: int, candidates: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= agreement"):
        difficulty.pass_rate_difficulty(agreement, candidates)


def test_a_histogram_keeps_the_largest_sample_of_its_shape() -> None:
    scores: list[float | None] = [0.1] * 10 + [0.5] * 100 + [0.9] * 100
    found = difficulty.histogram(ids(scores), scores, edges=EDGES, shares=(0.1, 0.3, 0.6))
    assert counts(kept(scores, found)) == [10, 30, 60]
    assert {x.reason for x in found if not x.keep} == {"sampled_out"}


def test_a_wanted_total_is_reached_by_the_bins_that_have_rows() -> None:
    scores: list[float | None] = [0.1] * 2 + [0.5] * 100 + [0.9] * 100
    found = difficulty.histogram(ids(scores), scores, edges=EDGES, shares=(1, 1, 1), total=61)
    assert sorted(counts(kept(scores, found))) == [2, 29, 30]


def test_scores_outside_the_edges_are_too_easy_or_too_hard_and_both_edges_are_inside() -> None:
    found = difficulty.histogram(list("abcde"), [-0.1, 0.0, 1.0, 1.1, None], edges=(0, 1), shares=(1,))
    assert [x.reason for x in found] == ["too_easy", "ok", "ok", "too_hard", "unscored"]


def test_the_order_of_the_rows_changes_nothing() -> None:
    rng = random.Random(3)
    rows: list[tuple[str, float | None]] = [(f"q{i}", rng.random()) for i in range(200)]
    shuffled = rng.sample(rows, len(rows))
    results = []
    for table in (rows, shuffled):
        found = difficulty.histogram(
            [row_id for row_id, _ in table], [score for _, score in table], edges=EDGES, shares=(1, 2, 1)
        )
        results.append({row_id for (row_id, _), x in zip(table, found, strict=True) if x.keep})
    assert results[0] == results[1]
    assert 0 < len(results[0]) < 200


def test_a_larger_total_keeps_a_superset_and_another_seed_another_choice() -> None:
    scores: list[float | None] = [0.5] * 100
    chosen = [
        {
            i
            for i, x in enumerate(
                difficulty.histogram(
                    ids(scores), scores, edges=EDGES, shares=(1, 1, 1), total=total, seed=seed
                )
            )
            if x.keep
        }
        for total, seed in ((10, 0), (40, 0), (10, 1))
    ]
    assert chosen[0] < chosen[1]
    assert chosen[0] != chosen[2]


@settings(deadline=None)
@given(SCORES, SHARES, st.one_of(st.none(), st.integers(0, 80)))
def test_quotas_hold_for_any_scores(scores: list[float | None], shares: list[int], total: int | None) -> None:
    found = difficulty.histogram(ids(scores), scores, edges=EDGES, shares=shares, total=total)
    inside = [score for score in scores if score is not None and 0 <= score <= 1]
    available = [have if share else 0 for have, share in zip(counts(inside), shares, strict=True)]
    have = counts(kept(scores, found))
    assert all(x.keep or x.reason in difficulty.REASONS for x in found)
    assert all(k <= a for k, a in zip(have, available, strict=True))
    if total is not None:
        assert sum(have) == min(total, sum(available))
    elif any(available):
        assert any(k == a > 0 for k, a in zip(have, available, strict=True))


@pytest.mark.parametrize(
    ("edges", "shares", "message"),
    [
        ((0.0, 1.0), (1, 1), "one more than shares"),
        ((0.0, 0.0, 1.0), (1, 1), "ascending"),
        ((0.0, 0.5, 1.0), (0, 0), "sum above 0"),
        ((0.0, 0.5, 1.0), (-1, 2), "at least 0"),
    ],
)
def test_a_histogram_that_cannot_be_is_refused(
    edges: tuple[float, ...], shares: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        difficulty.histogram(["a"], [0.5], edges=edges, shares=shares)


def test_rows_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="ids repeat"):
        difficulty.histogram(["a", "a"], [0.5, 0.6], edges=(0, 1), shares=(1,))
    with pytest.raises(ValueError, match="2 scores"):
        difficulty.histogram(["a"], [0.5, 0.6], edges=(0, 1), shares=(1,))


def test_a_sample_over_equal_bins_counts_scores_beyond_them_as_their_ends() -> None:
    scores = {"a": -0.3, "b": 0.2, "c": 0.7, "d": 1.4}
    found = difficulty.sample(scores, (0, 1))
    assert {row: verdict.reason for row, verdict in found.items()} == {
        "a": "sampled_out",
        "b": "sampled_out",
        "c": "ok",
        "d": "ok",
    }


def test_the_seed_decides_which_rows_of_a_bin_stay_and_never_how_many() -> None:
    scores = {str(row): row / 200 for row in range(200)}
    kept = [
        {row for row, verdict in difficulty.sample(scores, (1, 3), seed=seed).items() if verdict.keep}
        for seed in (1, 2)
    ]
    assert len(kept[0]) == len(kept[1])
    assert kept[0] != kept[1]
