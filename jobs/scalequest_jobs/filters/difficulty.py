"""How hard is a question, and how many of each difficulty are wanted?"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from scalequest_jobs.filters import verdict

REASONS = frozenset({"too_easy", "too_hard", "sampled_out", "unscored"})


def pass_rate_difficulty(agreement: int, candidates: int) -> float:
    """Return 1 - agreement / candidates: the share of candidates outside the plurality answer.

    Args:
        agreement: candidates that gave the plurality's answer, 0 to `candidates`.
        candidates: candidates sampled, at least 1.

    Raises:
        ValueError: the numbers are out of range.

    Source: DART-Math's fail rate, with agreement standing in for a known answer.
    """
    if candidates < 1 or not 0 <= agreement <= candidates:
        raise ValueError(
            f"agreement {agreement} of {candidates} candidates: expected 0 <= agreement <= candidates, candidates >= 1"
        )
    return 1 - agreement / candidates


def threshold(
    score: float | None, *, minimum: float | None = None, maximum: float | None = None
) -> verdict.Verdict:
    """Keep a question whose difficulty is within the limits, both included.

    Args:
        score: the difficulty, higher is harder; None or NaN if the scorer refused the question.
        minimum: below it a question is too easy; None is no limit.
        maximum: above it a question is too hard; None is no limit.

    Returns:
        Keep, or a rejection: "too_easy", "too_hard" or "unscored", with score and limit.

    Source: ScaleQuest, section 2.4 removes overly simple questions; it publishes no cut-off.
    """
    if score is None or math.isnan(score):
        return verdict.Verdict(keep=False, reason="unscored")
    if minimum is not None and score < minimum:
        return verdict.Verdict(keep=False, reason="too_easy", score=score, limit=minimum)
    if maximum is not None and score > maximum:
        return verdict.Verdict(keep=False, reason="too_hard", score=score, limit=maximum)
    return verdict.Verdict(keep=True, score=score)


def sample(
    scores: Mapping[str, float], shares: Sequence[float], *, seed: int = 0
) -> dict[str, verdict.Verdict]:
    """Return the verdicts of `histogram` by id, over equally wide bins from 0 to 1.

    Scores beyond 0 and 1 count as these: a regression head may pass both.
    """
    edges = [place / len(shares) for place in range(len(shares) + 1)]
    bounded = [min(1.0, max(0.0, score)) for score in scores.values()]
    return dict(
        zip(scores, histogram(list(scores), bounded, edges=edges, shares=shares, seed=seed), strict=True)
    )


def histogram(
    ids: Sequence[str],
    scores: Sequence[float | None],
    *,
    edges: Sequence[float],
    shares: Sequence[float],
    total: int | None = None,
    seed: int = 0,
) -> list[verdict.Verdict]:
    """Keep questions so that their difficulties follow a target histogram, as many as possible.

    Which rows of a bin stay is decided by a hash of seed and id: the same rows in another order give
    the same choice, and a larger quota keeps a superset.

    Args:
        ids: one id per row, unique.
        scores: one difficulty per row; None or NaN if the scorer refused it.
        edges: ascending bin edges, one more than bins; a bin holds its lower edge, the last both.
        shares: the wanted share of each bin; scaled to sum 1. A share of 0 keeps nothing.
        total: rows wanted. A bin with too few rows gives all it has, the others make up for it in
            proportion. None keeps the largest number that has the target's exact shape over the bins
            that have rows.
        seed: changes which rows stay, never how many.

    Returns:
        A verdict per row: keep, or "too_easy" / "too_hard" (outside the edges), "sampled_out" (its
        bin has enough), "unscored".

    Raises:
        ValueError: the arguments do not fit each other.

    Source: quotas per bin as in DART-Math's uniform and prop2diff sampling.
    """
    _check(ids, scores, edges, shares)
    bins: list[list[int]] = [[] for _ in shares]
    verdicts = [threshold(score, minimum=edges[0], maximum=edges[-1]) for score in scores]
    for row, (score, found) in enumerate(zip(scores, verdicts, strict=True)):
        if found.keep and score is not None:
            bins[min(bisect_right(edges, score), len(shares)) - 1].append(row)
    quotas = _quotas([len(rows) for rows in bins], shares, total)
    for rows, quota in zip(bins, quotas, strict=True):
        rows.sort(key=lambda row: _draw(seed, ids[row]))
        for row in rows[quota:]:
            verdicts[row] = verdict.Verdict(keep=False, reason="sampled_out", score=scores[row])
    return verdicts


def _check(
    ids: Sequence[str], scores: Sequence[float | None], edges: Sequence[float], shares: Sequence[float]
) -> None:
    if len(ids) != len(scores):
        raise ValueError(f"{len(ids)} ids but {len(scores)} scores: expected one score per id")
    if len(set(ids)) != len(ids):
        raise ValueError("ids repeat: expected unique ids; remove exact duplicates first")
    if len(edges) != len(shares) + 1 or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(
            f"edges {list(edges)}: expected {len(shares) + 1} ascending numbers, one more than shares"
        )
    if not all(0 <= share < math.inf for share in shares) or sum(shares) <= 0:
        raise ValueError(f"shares {list(shares)}: expected numbers of at least 0 with a sum above 0")


def _draw(seed: int, row_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{row_id}".encode()).digest()


def _quotas(counts: Sequence[int], shares: Sequence[float], total: int | None) -> list[int]:
    """Return how many rows of each bin stay, in exact arithmetic on the shares as they are written."""
    wanted = [
        Fraction(str(share)) if count else Fraction(0) for share, count in zip(shares, counts, strict=True)
    ]
    if total is None:
        scale = min(
            (count / share for count, share in zip(counts, wanted, strict=True) if share), default=Fraction(0)
        )
    else:
        scale = _water_level(counts, wanted, total)
    floors = [min(count, math.floor(scale * share)) for count, share in zip(counts, wanted, strict=True)]
    return floors if total is None else _fill_up(floors, counts, wanted, scale, total)


def _water_level(counts: Sequence[int], wanted: Sequence[Fraction], total: int) -> Fraction:
    """Return the scale at which bins, each capped by its count, together give `total` rows."""
    left, open_share = Fraction(total), sum(wanted, Fraction(0))
    level = Fraction(0)
    full_at = sorted((count / share, share) for count, share in zip(counts, wanted, strict=True) if share)
    for scale, share in full_at:
        step = (scale - level) * open_share
        if step >= left:
            return level + left / open_share
        left, level, open_share = left - step, scale, open_share - share
    return level


def _fill_up(
    floors: list[int], counts: Sequence[int], wanted: Sequence[Fraction], scale: Fraction, total: int
) -> list[int]:
    """Give the rows lost to rounding to the bins with the largest remainders, easiest bin first."""
    remainders = [scale * share - floor for share, floor in zip(wanted, floors, strict=True)]
    room = [
        b for b, (floor, count) in enumerate(zip(floors, counts, strict=True)) if wanted[b] and floor < count
    ]
    for b in sorted(room, key=lambda b: (-remainders[b], b))[: max(0, total - sum(floors))]:
        floors[b] += 1
    return floors
