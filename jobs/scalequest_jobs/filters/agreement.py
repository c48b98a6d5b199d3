"""Which answer do the candidates agree on?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scalequest_jobs.filters import reward, verdict

REASONS = frozenset({"no_answer", "low_agreement"})


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What the candidates of one question agree on.

    `labels` gives each candidate's cluster as the index of its first member, None without an answer.
    `index` is the chosen candidate, `agreeing` the size of its cluster of `candidates` in all. `tied`
    says that another cluster is as large, `contested` that the candidate with the best reward of all
    gives another answer: the cheapest sign of an error.
    """

    labels: tuple[int | None, ...]
    index: int | None
    agreeing: int
    candidates: int
    tied: bool = False
    contested: bool = False


def clusters(
    answers: Sequence[str | None],
    *,
    normalise: Callable[[str], str],
    same: Callable[[str, str], bool],
) -> tuple[int | None, ...]:
    """Return the cluster of each answer, named by the index of its first member.

    Answers with one normal form are equal without asking `same`; of the rest, every pair that is not
    yet connected is asked, so the order of the candidates changes no cluster.

    Args:
        answers: one final answer per candidate, None or blank if it has none.
        normalise: the domain's normal form, cheap.
        same: the domain's equivalence, costly.
    """
    first: dict[str, int] = {}
    labels: list[int | None] = []
    for index, answer in enumerate(answers):
        form = normalise(answer) if answer is not None else ""
        labels.append(first.setdefault(form, index) if form else None)
    heads = list(first.values())
    for position, head in enumerate(heads):
        for other in heads[:position]:
            if labels[head] != labels[other] and same(answers[other] or "", answers[head] or ""):
                labels = _merged(labels, labels[head], labels[other])
    return tuple(labels)


def _merged(labels: list[int | None], one: int | None, other: int | None) -> list[int | None]:
    if one is None or other is None:
        return labels
    return [min(one, other) if label in (one, other) else label for label in labels]


def majority(labels: Sequence[int | None]) -> Agreement:
    """Return the first candidate of the largest cluster; of equal clusters the one that came first.

    Source: self-consistency (Wang et al. 2023), with equivalent answers counted as one.
    """
    sizes = _sizes(labels)
    largest = max(sizes.values(), default=0)
    winners = [label for label in sizes if sizes[label] == largest]
    return Agreement(
        labels=tuple(labels),
        index=labels.index(winners[0]) if winners else None,
        agreeing=largest,
        candidates=len(labels),
        tied=len(winners) > 1,
    )


def majority_then_reward(labels: Sequence[int | None], scores: Sequence[float | None]) -> Agreement:
    """Return the candidate with the best reward in the largest cluster.

    Of equally large clusters the best reward decides too. Without any score this is `majority`.

    Args:
        labels: the clusters.
        scores: one raw logit per candidate, None if it was not scored.

    Raises:
        ValueError: the lengths differ.

    Source: on a synthetic world with known answers, kept pairs are right more often than with the
        reward alone (ScaleQuest's way) or the majority alone.
    """
    if len(labels) != len(scores):
        raise ValueError(
            f"{len(labels)} candidates but {len(scores)} scores: expected one score per candidate"
        )
    plurality = majority(labels)
    sizes = _sizes(labels)
    inside = [
        score if label is not None and sizes[label] == plurality.agreeing else None
        for label, score in zip(labels, scores, strict=True)
    ]
    chosen, favourite = reward.best(inside), reward.best(_answered(labels, scores))
    if chosen is None or favourite is None:
        return plurality
    return Agreement(
        labels=plurality.labels,
        index=chosen.index,
        agreeing=plurality.agreeing,
        candidates=plurality.candidates,
        tied=plurality.tied,
        contested=labels[favourite.index] != labels[chosen.index],
    )


def judge(found: Agreement, *, minimum_share: float = 0.0) -> verdict.Verdict:
    """Keep a question on whose answer enough candidates agree.

    Args:
        found: the agreement.
        minimum_share: the least share of all candidates, those without an answer included, 0 to 1.

    Returns:
        Keep with the share as score, or a rejection: "no_answer" (no candidate has one) or
        "low_agreement", with share and limit. `detail` is "k/n".

    Source: no limit in ScaleQuest; agreement is recorded so that one can be set later.
    """
    if found.index is None:
        return verdict.Verdict(keep=False, reason="no_answer")
    share, detail = found.agreeing / found.candidates, f"{found.agreeing}/{found.candidates}"
    if share < minimum_share:
        return verdict.Verdict(
            keep=False, reason="low_agreement", score=share, limit=minimum_share, detail=detail
        )
    return verdict.Verdict(keep=True, score=share, limit=minimum_share, detail=detail)


def _sizes(labels: Sequence[int | None]) -> dict[int, int]:
    """Return the size of each cluster, in the order of their first members."""
    sizes: dict[int, int] = {}
    for label in labels:
        if label is not None:
            sizes[label] = sizes.get(label, 0) + 1
    return sizes


def _answered(labels: Sequence[int | None], scores: Sequence[float | None]) -> list[float | None]:
    return [score if label is not None else None for label, score in zip(labels, scores, strict=True)]
