"""Make preference pairs: the rewritten question is chosen, its original rejected."""

from typing import Any

from scalequest_jobs.contract import fingerprint, tables
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage, node_name
from scalequest_jobs.execution.chunks import Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.filters import duplicates, language
from scalequest_jobs.filters import format as format_filter
from scalequest_jobs.filters.verdict import KEEP, Verdict
from scalequest_jobs.stages import import_questions, rewrite_questions

NAME = "build-preference-pairs"

MAX_HELD_OUT_SHARE = 0.1
MIN_WORDS = 4
"""Ours: a rewrite is measured in words, for the rewriter's tokens are not the generator's."""


class PairParameters(Parameters):
    """Which rewrites are fit, and how many pairs are held out of training."""

    min_length_ratio: float
    max_length_ratio: float
    held_out: int
    languages: tuple[str, ...]
    min_language_score: float


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each generator."""
    if spec.preference is None:
        return ()
    parameters = PairParameters(
        min_length_ratio=spec.preference.min_length_ratio,
        max_length_ratio=spec.preference.max_length_ratio,
        held_out=spec.preference.held_out,
        languages=spec.filters.language.keep,
        min_language_score=spec.filters.language.min_score,
    )
    return tuple(
        Node(
            name=node_name(NAME, generator.name),
            stage=NAME,
            generator=generator.name,
            parameters=parameters,
            inputs={
                "rewrites": node_name(rewrite_questions.NAME, generator.name),
                "seeds": import_questions.SEEDS,
            },
        )
        for generator in spec.generators
    )


def run(context: StageContext[PairParameters]) -> None:
    """Keep rewrites that differ, are questions in a kept language, are no seeds, and not too long."""
    rewrites = context.table("rewrites").to_pylist()
    context.begin(len(rewrites))
    if context.log.is_committed(context.chunks[0]):
        return
    seeds = set(context.table("seeds").column("seed_id").to_pylist())
    rows: list[dict[str, object]] = []
    rejects: list[Reject] = []
    for rewrite in rewrites:
        verdict = judge(rewrite, seeds, context.parameters)
        if verdict.keep:
            rows.append(_pair(rewrite))
        else:
            rejects.append(_reject(rewrite, verdict))
    _split(rows, context.parameters.held_out)
    context.commit_whole(
        Outcome(
            rows_in=len(rewrites), rows_out=len(rows), rows=rows_table(rows, tables.PAIRS), rejects=rejects
        )
    )


def judge(rewrite: dict[str, Any], seeds: set[str], parameters: PairParameters) -> Verdict:
    """Keep a rewrite that is fit to be preferred.

    Reasons: unchanged, length_ratio, seed_copy, and those of the format and language filters with
    `rewrite_` before them. Source: ours, after the library notes 5.3; the authors' builder keeps
    empty rewrites.
    """
    original, rewritten = rewrite["original"], rewrite["rewritten"]
    if duplicates.normalise(rewritten) == duplicates.normalise(original):
        return Verdict(keep=False, reason="unchanged")
    ratio = len(rewritten.split()) / max(1, len(original.split()))
    if not parameters.min_length_ratio <= ratio <= parameters.max_length_ratio:
        limit = parameters.max_length_ratio if ratio > 1 else parameters.min_length_ratio
        return Verdict(keep=False, reason="length_ratio", score=ratio, limit=limit)
    if duplicates.question_id(rewritten) in seeds:
        return Verdict(keep=False, reason="seed_copy")
    for verdict in (
        format_filter.judge(
            rewritten, tokens=len(rewritten.split()), finish_reason="stop", minimum_tokens=MIN_WORDS
        ),
        language.judge(rewritten, keep=parameters.languages, minimum_score=parameters.min_language_score),
    ):
        if not verdict.keep:
            return Verdict(
                keep=False, reason=f"rewrite_{verdict.reason}", score=verdict.score, limit=verdict.limit
            )
    return KEEP


def _pair(rewrite: dict[str, Any]) -> dict[str, object]:
    return {
        "pair_id": fingerprint.digest([rewrite["sample_id"], rewrite["direction"], rewrite["rewritten"]])[
            :16
        ],
        "generator": rewrite["generator"],
        "direction": rewrite["direction"],
        "chosen": rewrite["rewritten"],
        "rejected": rewrite["original"],
        "split": "train",
    }


def _reject(rewrite: dict[str, Any], verdict: Verdict) -> Reject:
    return Reject(
        record_id=rewrite["sample_id"],
        reason=verdict.reason,
        text=rewrite["rewritten"],
        generator=rewrite["generator"],
        score=verdict.score,
        limit=verdict.limit,
        detail=rewrite["direction"],
    )


def _split(rows: list[dict[str, object]], held_out: int) -> None:
    """Mark the pairs with the lowest ids as held out: a draw that does not depend on their order."""
    count = min(held_out, int(len(rows) * MAX_HELD_OUT_SHARE))
    for row in sorted(rows, key=lambda row: str(row["pair_id"]))[:count]:
        row["split"] = "eval"


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.CPU,
    output="pairs",
    parameters=PairParameters,
    nodes=nodes,
    run=run,
    source="2.3: rewritten is preferred to original",
)
