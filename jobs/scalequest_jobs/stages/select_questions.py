"""Choose the questions to answer: thin each generator's difficulties to its target histogram."""

from typing import Any

from scalequest_jobs.contract import tables
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage
from scalequest_jobs.execution.chunks import Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.filters import difficulty
from scalequest_jobs.filters.verdict import KEEP, Verdict
from scalequest_jobs.stages import judge_solvability, score_difficulty

NAME = "select-questions"


class SelectParameters(Parameters):
    """Target share of each difficulty bin, by generator."""

    bins: dict[str, tuple[float, ...]]


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return the one node."""
    scored = score_difficulty.scored(spec)
    bins = {
        generator.name: generator.difficulty.bins
        for generator in spec.generators
        if generator.name in scored and generator.difficulty and generator.difficulty.keep == "histogram"
    }
    parameters = SelectParameters(bins=bins)
    return (
        Node(name=NAME, stage=NAME, parameters=parameters, inputs={"judgements": judge_solvability.NAME}),
    )


def run(context: StageContext[SelectParameters]) -> None:
    """Keep as many questions as fit the target shares; the draw depends on the run's seed and ids alone."""
    rows = context.table("judgements").to_pylist()
    context.begin(len(rows))
    if context.log.is_committed(context.chunks[0]):
        return
    verdicts: dict[str, Verdict] = {}
    for generator, shares in context.parameters.bins.items():
        scored = {
            row["question_id"]: row["difficulty"]
            for row in rows
            if row["generator"] == generator and row["difficulty"] is not None
        }
        verdicts |= difficulty.sample(scored, shares, seed=context.seed("histogram", generator))
    kept = [row for row in rows if verdicts.get(row["question_id"], KEEP).keep]
    context.commit_whole(
        Outcome(
            rows_in=len(rows),
            rows_out=len(kept),
            rows=rows_table(
                [{name: row[name] for name in tables.SELECTED_QUESTIONS.names} for row in kept],
                tables.SELECTED_QUESTIONS,
            ),
            rejects=[
                _reject(row, verdict)
                for row in rows
                if not (verdict := verdicts.get(row["question_id"], KEEP)).keep
            ],
        )
    )


def _reject(row: dict[str, Any], verdict: Verdict) -> Reject:
    return Reject(
        record_id=row["sample_id"],
        reason=verdict.reason,
        text=row["text"],
        generator=row["generator"],
        score=row["difficulty"],
    )


STAGE = Stage(
    name=NAME,
    version=2,
    role=Role.CPU,
    output="selected-questions",
    parameters=SelectParameters,
    nodes=nodes,
    run=run,
    source="2.4: difficulty sampling",
)
