"""Which candidate does a reward model prefer, and by how much?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scalequest_jobs.filters import verdict

REASONS = frozenset({"unscored", "low_score", "low_margin"})


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best candidate. `margin` is its lead over the second best, None without a second."""

    index: int
    score: float
    margin: float | None


def best(scores: Sequence[float | None]) -> Choice | None:
    """Return the candidate with the highest score; of equal ones the first.

    Args:
        scores: one raw logit per candidate; None or a number that is not finite for a
            candidate that was not scored.

    Returns:
        The choice, or None if no candidate has a score.

    Source: ScaleQuest, section 2.5: the best of five, without a threshold.
    """
    ranked = sorted(
        (-score, index) for index, score in enumerate(scores) if score is not None and math.isfinite(score)
    )
    if not ranked:
        return None
    score, index = -ranked[0][0], ranked[0][1]
    margin = score + ranked[1][0] if len(ranked) > 1 else None
    return Choice(index=index, score=score, margin=margin)


def judge(
    choice: Choice | None, *, minimum_score: float | None = None, minimum_margin: float | None = None
) -> verdict.Verdict:
    """Keep a question whose best candidate scores high enough and leads clearly enough.

    Args:
        choice: the best candidate, None if none was scored.
        minimum_score: a raw logit; None is no limit.
        minimum_margin: the lead over the second best, in logits; None is no limit. A candidate
            without a rival passes.

    Returns:
        Keep with the score, or a rejection: "unscored", "low_score", "low_margin", with score and limit.

    Source: ScaleQuest applies no limit; both are offered because a group of bad candidates has a best one too.
    """
    if choice is None:
        return verdict.Verdict(keep=False, reason="unscored")
    if minimum_score is not None and choice.score < minimum_score:
        return verdict.Verdict(keep=False, reason="low_score", score=choice.score, limit=minimum_score)
    if minimum_margin is not None and choice.margin is not None and choice.margin < minimum_margin:
        return verdict.Verdict(keep=False, reason="low_margin", score=choice.margin, limit=minimum_margin)
    return verdict.Verdict(keep=True, score=choice.score)
