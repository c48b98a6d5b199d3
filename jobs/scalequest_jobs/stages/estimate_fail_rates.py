"""Measure how often a solver fails on each seed question: the labels of the difficulty scorer."""

from collections.abc import Sequence
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.contract import tables
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage
from scalequest_jobs.execution import conversation, streaming
from scalequest_jobs.execution.chunks import Chunk, Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.stages import fetch_model, import_questions

NAME = "estimate-fail-rates"


class FailRateParameters(Parameters):
    """How the solver is asked."""

    samples: int
    temperature: float
    max_tokens: int
    prompt: str | None


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node when the run trains a difficulty scorer."""
    difficulty = spec.filters.difficulty
    if difficulty is None or difficulty.scorer != "train" or difficulty.solver is None:
        return ()
    parameters = FailRateParameters(
        samples=difficulty.samples,
        temperature=difficulty.temperature,
        max_tokens=difficulty.max_tokens,
        prompt=spec.prompts.response,
    )
    inputs = {"seeds": import_questions.SEEDS, "model": fetch_model.node_for(difficulty.solver)}
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs=inputs),)


def run(context: StageContext[FailRateParameters]) -> None:
    """Answer each seed question several times; an answer that is cut off or has none is wrong.

    A question that does not fit the solver's window was not tried: its fail rate is not known.
    """
    seeds = context.table("seeds").to_pylist()
    context.begin(len(seeds))
    if all(context.log.is_committed(chunk) for chunk in context.chunks):
        return
    parameters = context.parameters
    domain = context.domain.with_prompts(response=parameters.prompt)
    generator = context.generator("model")
    sampling = ports.Sampling(
        temperature=parameters.temperature,
        top_p=1.0,
        max_tokens=parameters.max_tokens,
        samples=parameters.samples,
        stop_ids=generator.tokenizer.stop_ids,
    )

    def requests(chunk: Chunk) -> list[ports.Request]:
        return [
            conversation.request(
                context,
                generator.tokenizer,
                chunk=chunk,
                row=row,
                messages=[ports.Message(role="user", content=domain.response_prompt(seeds[row]["question"]))],
                sampling=sampling,
            )
            for row in range(chunk.first, chunk.last)
            if seeds[row]["answer"]
        ]

    streaming.run(
        context,
        engine=generator.generate,
        requests=requests,
        finish=lambda chunk, done: _outcome(context, seeds, chunk, done),
        tokens=conversation.token_counts,
    )


def _outcome(
    context: StageContext[Any], seeds: list[dict[str, Any]], chunk: Chunk, done: Sequence[ports.Completion]
) -> Outcome:
    rejects = [
        Reject(record_id=seed["seed_id"], reason="no_answer", text=seed["question"])
        for seed in seeds[chunk.first : chunk.last]
        if not seed["answer"]
    ]
    rows: list[dict[str, object]] = []
    for completion in done:
        seed = seeds[chunk.first + completion.index]
        if any(sample.finish_reason == "abort" for sample in completion.samples):
            rejects.append(Reject(record_id=seed["seed_id"], reason="aborted", text=seed["question"]))
            continue
        wrong = sum(not _is_right(context, sample, seed["answer"]) for sample in completion.samples)
        rows.append(
            {
                "seed_id": seed["seed_id"],
                "question": seed["question"],
                "samples": len(completion.samples),
                "wrong": wrong,
                "fail_rate": wrong / len(completion.samples),
            }
        )
    return Outcome(
        rows_in=len(chunk),
        rows_out=len(rows),
        rows=rows_table(rows, tables.FAIL_RATES),
        rejects=rejects,
        prompt_tokens=sum(completion.prompt_tokens for completion in done),
        completion_tokens=sum(conversation.token_counts(completion)[1] for completion in done),
    )


def _is_right(context: StageContext[Any], sample: ports.Sample, answer: str) -> bool:
    found = context.domain.extract_answer(sample.text) if sample.finish_reason == "stop" else None
    return found is not None and context.domain.same_answer(found, answer)


STAGE = Stage(
    name=NAME,
    version=2,
    role=Role.GENERATE,
    output="fail-rates",
    parameters=FailRateParameters,
    nodes=nodes,
    run=run,
    source="2.4: fail rates over the seed questions, after DART-Math",
    sharded=True,
    chunk_rows=500,
)
