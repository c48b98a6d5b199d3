"""Keep the best answer of each question; the other candidates are rejected with the reason."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

from scalequest_jobs.contract import tables
from scalequest_jobs.contract.filtering import QuestionSampling
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage
from scalequest_jobs.domains.base import Domain
from scalequest_jobs.execution.chunks import Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.filters import agreement, difficulty, reward
from scalequest_jobs.filters.verdict import Verdict
from scalequest_jobs.stages import generate_responses, score_responses

NAME = "select-responses"

Row = dict[str, Any]


class SelectionParameters(Parameters):
    """How one answer is chosen, and which questions are worth one."""

    method: Literal["reward", "likelihood", "majority", "majority-then-reward"]
    candidates: int
    min_score: float | None
    min_agreement: float
    pass_rate: dict[str, QuestionSampling]


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return the one node."""
    measured = spec.filters.difficulty
    parameters = SelectionParameters(
        method=spec.selection.method,
        candidates=spec.responses.candidates,
        min_score=spec.selection.min_score,
        min_agreement=spec.selection.min_agreement,
        pass_rate={
            generator.name: generator.difficulty
            for generator in spec.generators
            if measured and measured.scorer == "passRate" and generator.difficulty
        },
    )
    inputs = {"candidates": generate_responses.NAME}
    if spec.selection.model:
        inputs["scores"] = score_responses.NAME
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs=inputs),)


def run(context: StageContext[SelectionParameters]) -> None:
    """Choose within each question, then hold each choice against the limits."""
    rows = _with_scores(context)
    context.begin(len(rows))
    if context.log.is_committed(context.chunks[0]):
        return
    rows.sort(key=lambda row: (row["question_id"], row["candidate"]))
    choices = []
    for _, group in groupby(rows, key=lambda row: str(row["question_id"])):
        choices.append(choose(list(group), context.parameters, context.domain))
        context.check_stop()
    choices = sample_by_pass_rate(choices, context.parameters.pass_rate, seed=context.seed("histogram"))
    kept = [choice for choice in choices if choice["verdict"].keep]
    context.commit_whole(
        Outcome(
            rows_in=len(rows),
            rows_out=len(kept),
            rows=rows_table([_dataset_row(choice) for choice in kept], tables.DATASET),
            rejects=[reject for choice in choices for reject in _rejects(choice)],
        )
    )


def _with_scores(context: StageContext[SelectionParameters]) -> list[Row]:
    rows = context.table("candidates").to_pylist()
    if "scores" not in context.order.inputs:
        return [{**row, "score": None} for row in rows]
    table = context.table("scores")
    scores = dict(
        zip(table.column("response_id").to_pylist(), table.column("score").to_pylist(), strict=True)
    )
    return [{**row, "score": scores.get(row["response_id"])} for row in rows]


def choose(rows: Sequence[Row], parameters: SelectionParameters, domain: Domain) -> Row:
    """Return the choice among one question's candidates, with its verdict.

    Args:
        rows: candidates that have an answer, with `score`; those rejected earlier are missing and
            still count in the agreement, which is of `parameters.candidates`.
        parameters: method and limits.
        domain: says which answers are the same.

    Returns:
        `rows`, `labels` (answer clusters), `index` of the chosen row, `score`, `margin`,
        `agreement`, `verdict` with reason ok, unscored, low_score or low_agreement.
    """
    labels = agreement.clusters(
        [row["answer"] for row in rows], normalise=domain.normalise_answer, same=domain.same_answer
    )
    scores = [row["score"] for row in rows]
    best = reward.best(scores)
    index: int | None
    if parameters.method in ("reward", "likelihood"):
        index = best.index if best else None
    elif parameters.method == "majority":
        index = agreement.majority(labels).index
    else:
        index = agreement.majority_then_reward(labels, scores).index
    chosen = index or 0
    found = agreement.Agreement(
        labels=labels,
        index=index,
        agreeing=sum(label == labels[chosen] for label in labels),
        candidates=parameters.candidates,
    )
    return {
        "rows": rows,
        "labels": labels,
        "index": chosen,
        "score": rows[chosen]["score"],
        "margin": best.margin if best and best.index == chosen else None,
        "agreement": found.agreeing,
        "candidates": parameters.candidates,
        "difficulty": rows[chosen]["difficulty"],
        "verdict": _judge(found, rows[chosen]["score"], parameters),
    }


def _judge(found: agreement.Agreement, score: float | None, parameters: SelectionParameters) -> Verdict:
    if found.index is None or parameters.min_score is not None:
        verdict = reward.judge(reward.best([score]), minimum_score=parameters.min_score)
        if not verdict.keep:
            return verdict
    return agreement.judge(found, minimum_share=parameters.min_agreement)


def sample_by_pass_rate(choices: list[Row], cuts: dict[str, QuestionSampling], *, seed: int) -> list[Row]:
    """Apply difficulty cuts where the difficulty is the share of candidates that disagree.

    Reasons: too_easy, too_hard, sampled_out.
    """
    measured = [
        {**choice, "difficulty": difficulty.pass_rate_difficulty(choice["agreement"], choice["candidates"])}
        if choice["rows"][0]["generator"] in cuts
        else choice
        for choice in choices
    ]
    verdicts: dict[str, Verdict] = {}
    for generator, sampling in cuts.items():
        own = {
            str(choice["rows"][0]["question_id"]): choice["difficulty"]
            for choice in measured
            if choice["rows"][0]["generator"] == generator and choice["verdict"].keep
        }
        verdicts |= _sample(own, sampling, seed)
    return [
        {**choice, "verdict": verdicts.get(str(choice["rows"][0]["question_id"]), choice["verdict"])}
        for choice in measured
    ]


def _sample(scores: dict[str, float], sampling: QuestionSampling, seed: int) -> dict[str, Verdict]:
    if sampling.keep == "threshold":
        return {
            question_id: difficulty.threshold(score, minimum=sampling.minimum, maximum=sampling.maximum)
            for question_id, score in scores.items()
        }
    return difficulty.sample(scores, sampling.bins, seed=seed)


def _dataset_row(choice: Row) -> dict[str, object]:
    row = choice["rows"][choice["index"]]
    return {
        "question_id": row["question_id"],
        "response_id": row["response_id"],
        "query": row["query"],
        "response": row["text"],
        "messages": [
            {"role": "user", "content": row["query"]},
            {"role": "assistant", "content": row["text"]},
        ],
        "answer": row["answer"],
        "generator": row["generator"],
        "score": choice["score"],
        "margin": choice["margin"],
        "agreement": choice["agreement"],
        "candidates": choice["candidates"],
        "difficulty": choice["difficulty"],
    }


def _rejects(choice: Row) -> list[Reject]:
    """Return a question's candidates that are not in the dataset.

    The reason is the question's when its choice failed a limit; else minority_answer for an answer
    other than the chosen one, and not_best for the same answer with a lower score.
    """
    verdict: Verdict = choice["verdict"]
    chosen = choice["index"]
    rejects = []
    for index, row in enumerate(choice["rows"]):
        if verdict.keep and index == chosen:
            continue
        same = choice["labels"][index] == choice["labels"][chosen]
        reason = verdict.reason if not verdict.keep else "not_best" if same else "minority_answer"
        rejects.append(
            Reject(
                record_id=row["response_id"],
                reason=reason,
                text=row["text"],
                generator=row["generator"],
                score=row["score"] if verdict.keep else verdict.score,
                limit=choice["score"] if verdict.keep else verdict.limit,
                detail=row["question_id"],
            )
        )
    return rejects


STAGE = Stage(
    name=NAME,
    version=2,
    role=Role.CPU,
    output="dataset",
    parameters=SelectionParameters,
    nodes=nodes,
    run=run,
    source="2.5: the answer with the highest reward of five",
)
