"""Ask a model of each question whether it is a problem that can be solved."""

from collections.abc import Sequence
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.contract import tables
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage, node_name
from scalequest_jobs.execution import conversation, streaming
from scalequest_jobs.execution.chunks import Chunk, Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.filters import difficulty as difficulty_filter
from scalequest_jobs.filters import solvability
from scalequest_jobs.filters.verdict import KEEP, Verdict
from scalequest_jobs.stages import clean_questions, fetch_model, score_difficulty

NAME = "judge-solvability"


class JudgeParameters(Parameters):
    """How the judge is asked, and the difficulty cut of each generator that is made before it."""

    temperature: float
    max_tokens: int
    prompt: str | None
    cuts: dict[str, tuple[float, float]]


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return the one node."""
    filters = spec.filters
    scored = score_difficulty.scored(spec)
    parameters = JudgeParameters(
        temperature=filters.solvability.temperature,
        max_tokens=filters.solvability.max_tokens,
        prompt=spec.prompts.solvability,
        cuts={
            generator.name: (generator.difficulty.minimum, generator.difficulty.maximum)
            for generator in spec.generators
            if generator.name in scored and generator.difficulty and generator.difficulty.keep == "threshold"
        },
    )
    inputs = {
        "questions": clean_questions.NAME,
        "model": fetch_model.node_for(filters.solvability.model),
        **{f"difficulty:{name}": node_name(score_difficulty.NAME, name) for name in scored},
    }
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs=inputs),)


def run(context: StageContext[JudgeParameters]) -> None:
    """Reject by difficulty first, which costs nothing, then ask about the others."""
    reader = context.reader("questions")
    context.begin(len(reader))
    if all(context.log.is_committed(chunk) for chunk in context.chunks):
        return
    parameters = context.parameters
    domain = context.domain.with_prompts(solvability=parameters.prompt)
    rows = _with_difficulty(context, reader.table().to_pylist())
    generator = context.generator("model")
    sampling = ports.Sampling(
        temperature=parameters.temperature,
        top_p=1.0,
        max_tokens=parameters.max_tokens,
        stop_ids=generator.tokenizer.stop_ids,
    )

    def requests(chunk: Chunk) -> list[ports.Request]:
        return [
            conversation.request(
                context,
                generator.tokenizer,
                chunk=chunk,
                row=row,
                messages=[ports.Message(role="user", content=domain.solvability_prompt(rows[row]["text"]))],
                sampling=sampling,
            )
            for row in range(chunk.first, chunk.last)
            if cut(rows[row], parameters.cuts).keep
        ]

    streaming.run(
        context,
        engine=generator.generate,
        requests=requests,
        finish=lambda chunk, done: _outcome(rows, parameters, chunk, done),
        tokens=conversation.token_counts,
    )


def _with_difficulty(context: StageContext[Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    difficulties: dict[str, float] = {}
    for name in context.inputs("difficulty").values():
        table = context.table(name)
        difficulties |= dict(
            zip(table.column("question_id").to_pylist(), table.column("difficulty").to_pylist(), strict=True)
        )
    return [{**row, "difficulty": difficulties.get(row["question_id"])} for row in rows]


def cut(row: dict[str, Any], cuts: dict[str, tuple[float, float]]) -> Verdict:
    """Keep a question inside its generator's difficulty cut; one without a score is kept.

    Reasons: too_easy, too_hard.
    """
    if row["generator"] not in cuts or row["difficulty"] is None:
        return KEEP
    minimum, maximum = cuts[row["generator"]]
    return difficulty_filter.threshold(row["difficulty"], minimum=minimum, maximum=maximum)


def _outcome(
    rows: list[dict[str, Any]], parameters: JudgeParameters, chunk: Chunk, done: Sequence[ports.Completion]
) -> Outcome:
    kept: list[dict[str, object]] = []
    rejects = [
        _reject(row, verdict)
        for row in rows[chunk.first : chunk.last]
        if not (verdict := cut(row, parameters.cuts)).keep
    ]
    for completion in done:
        row = rows[chunk.first + completion.index]
        (sample,) = completion.samples
        verdict = solvability.judge(sample.text, finish_reason=sample.finish_reason)
        if verdict.keep:
            kept.append(
                {
                    **{
                        name: row[name]
                        for name in ("question_id", "sample_id", "generator", "text", "difficulty")
                    },
                    "rationale": sample.text,
                    "completion_tokens": len(sample.token_ids),
                }
            )
        else:
            rejects.append(_reject(row, verdict, detail=sample.text[-500:]))
    return Outcome(
        rows_in=len(chunk),
        rows_out=len(kept),
        rows=rows_table(kept, tables.JUDGEMENTS),
        rejects=rejects,
        prompt_tokens=sum(completion.prompt_tokens for completion in done),
        completion_tokens=sum(conversation.token_counts(completion)[1] for completion in done),
    )


def _reject(row: dict[str, Any], verdict: Verdict, detail: str = "") -> Reject:
    return Reject(
        record_id=row["sample_id"],
        reason=verdict.reason,
        text=row["text"],
        generator=row["generator"],
        score=verdict.score,
        limit=verdict.limit,
        detail=detail or verdict.detail,
    )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.GENERATE,
    output="judgements",
    parameters=JudgeParameters,
    nodes=nodes,
    run=run,
    source="2.4 and Fig 12: solvability",
    sharded=True,
    chunk_rows=1_000,
)
