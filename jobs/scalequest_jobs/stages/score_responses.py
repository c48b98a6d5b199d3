"""Score each candidate: a reward model's raw logit, or its likelihood under a stronger model."""

from collections.abc import Sequence
from typing import Any, Literal

from scalequest_jobs import ports
from scalequest_jobs.contract import tables
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage
from scalequest_jobs.execution import streaming
from scalequest_jobs.execution.chunks import Chunk, Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.stages import fetch_model, generate_responses

NAME = "score-responses"


class ScoreParameters(Parameters):
    """What the score is. `prompt` is the user's turn that the likelihood is taken after."""

    kind: Literal["head", "likelihood"]
    prompt: str | None


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return the one node, when the selection needs a score."""
    selection = spec.selection
    if selection.model is None:
        return ()
    likelihood = selection.method == "likelihood"
    parameters = ScoreParameters(
        kind="likelihood" if likelihood else "head", prompt=spec.prompts.response if likelihood else None
    )
    inputs = {"candidates": generate_responses.NAME, "model": fetch_model.node_for(selection.model)}
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs=inputs),)


def run(context: StageContext[ScoreParameters]) -> None:
    """Score the conversation of bare question and answer, as reward models are trained (paper 2.5)."""
    reader = context.reader("candidates")
    context.begin(len(reader))
    if all(context.log.is_committed(chunk) for chunk in context.chunks):
        return
    kind = context.parameters.kind
    scorer = context.engines.scorer(context.model("model"), kind=kind)
    context.engine.update(scorer.identity)
    context.reporter.activity("scoring")
    prepare = _likelihood_ids if kind == "likelihood" else _reward_ids

    def requests(chunk: Chunk) -> list[ports.ScoreRequest]:
        rows = reader.rows(chunk.first, chunk.last).to_pylist()
        prepared = [prepare(context, scorer.tokenizer, row) for row in rows]
        return [
            ports.ScoreRequest(chunk=chunk.index, index=index, token_ids=ids, prompt_length=length)
            for index, (ids, length) in enumerate(prepared)
        ]

    streaming.run(
        context,
        engine=scorer.score,
        requests=requests,
        finish=lambda chunk, scores: _outcome(reader.rows(chunk.first, chunk.last).to_pylist(), scores),
        tokens=lambda _score: (0, 0),
    )


def _reward_ids(
    _context: StageContext[ScoreParameters], tokenizer: ports.Tokenizer, row: dict[str, Any]
) -> tuple[tuple[int, ...], int]:
    """Return the whole conversation up to the end of the assistant's turn."""
    messages = [
        ports.Message(role="user", content=row["query"]),
        ports.Message(role="assistant", content=row["text"]),
    ]
    text = tokenizer.render(messages, generation_prompt=False)
    return tuple(_without_tail(tokenizer, tokenizer.encode(text))), 0


def _without_tail(tokenizer: ports.Tokenizer, ids: list[int]) -> list[int]:
    """Cut what a template writes behind the last special token (a line break): heads read the end of turn."""
    for end in range(len(ids), max(len(ids) - 8, 0), -1):
        if ids[end - 1] in tokenizer.special_ids:
            return ids[:end]
    return ids


def _likelihood_ids(
    context: StageContext[ScoreParameters], tokenizer: ports.Tokenizer, row: dict[str, Any]
) -> tuple[tuple[int, ...], int]:
    """Return prompt and answer with its stop id, and the prompt's length."""
    domain = context.domain.with_prompts(response=context.parameters.prompt)
    messages = [ports.Message(role="user", content=domain.response_prompt(row["query"]))]
    prompt = tokenizer.encode(tokenizer.render(messages, generation_prompt=True))
    answer = tokenizer.encode(row["text"])
    return (*prompt, *answer, tokenizer.stop_ids[0]), len(prompt)


def _outcome(rows: list[dict[str, Any]], scores: Sequence[ports.Score]) -> Outcome:
    scored = [(row, score.value) for row, score in zip(rows, scores, strict=True)]
    kept: list[dict[str, object]] = [
        {"response_id": row["response_id"], "question_id": row["question_id"], "score": value}
        for row, value in scored
        if value is not None
    ]
    return Outcome(
        rows_in=len(rows),
        rows_out=len(kept),
        rows=rows_table(kept, tables.SCORES),
        rejects=[
            Reject(
                record_id=row["response_id"],
                reason="too_long_to_score",
                text=row["text"],
                generator=row["generator"],
            )
            for row, value in scored
            if value is None
        ],
    )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.SCORE,
    output="scores",
    parameters=ScoreParameters,
    nodes=nodes,
    run=run,
    source="2.5: reward filtering",
    sharded=True,
    chunk_rows=5_000,
)
