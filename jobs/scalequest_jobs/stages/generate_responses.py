"""Answer each question several times, all candidates in one request."""

from collections.abc import Sequence
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint, tables
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage
from scalequest_jobs.execution import conversation, streaming
from scalequest_jobs.execution.chunks import Chunk, Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.filters import answer_format
from scalequest_jobs.stages import fetch_model, select_questions

NAME = "generate-responses"


class ResponseParameters(Parameters):
    """How the responder is asked."""

    candidates: int
    temperature: float
    top_p: float
    max_tokens: int
    prompt: str | None


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return the one node."""
    responses = spec.responses
    parameters = ResponseParameters(
        candidates=responses.candidates,
        temperature=responses.temperature,
        top_p=responses.top_p,
        max_tokens=responses.max_tokens,
        prompt=spec.prompts.response,
    )
    inputs = {"questions": select_questions.NAME, "model": fetch_model.node_for(responses.model)}
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs=inputs),)


def run(context: StageContext[ResponseParameters]) -> None:
    """Generate the candidates; one that is cut off or has no final answer is rejected at once."""
    parameters = context.parameters
    questions = context.table("questions").to_pylist()
    context.begin(len(questions), fan_out=parameters.candidates)
    if all(context.log.is_committed(chunk) for chunk in context.chunks):
        return
    domain = context.domain.with_prompts(response=parameters.prompt)
    generator = context.generator("model")
    sampling = ports.Sampling(
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        max_tokens=parameters.max_tokens,
        samples=parameters.candidates,
        stop_ids=generator.tokenizer.stop_ids,
    )

    def requests(chunk: Chunk) -> list[ports.Request]:
        return [
            conversation.request(
                context,
                generator.tokenizer,
                chunk=chunk,
                row=row,
                messages=[ports.Message(role="user", content=domain.response_prompt(questions[row]["text"]))],
                sampling=sampling,
            )
            for row in range(chunk.first, chunk.last)
        ]

    streaming.run(
        context,
        engine=generator.generate,
        requests=requests,
        finish=lambda chunk, done: _outcome(context, questions, chunk, done),
        tokens=conversation.token_counts,
    )


def _outcome(
    context: StageContext[ResponseParameters],
    questions: list[dict[str, Any]],
    chunk: Chunk,
    done: Sequence[ports.Completion],
) -> Outcome:
    rows: list[dict[str, object]] = []
    rejects: list[Reject] = []
    for completion in done:
        question = questions[chunk.first + completion.index]
        for number, sample in enumerate(completion.samples):
            response_id = fingerprint.digest([question["question_id"], number, sample.text])[:16]
            verdict = answer_format.judge(
                sample.text, finish_reason=sample.finish_reason, extract=context.domain.extract_answer
            )
            if verdict.keep:
                rows.append(_row(context, question, number, sample, response_id))
            else:
                rejects.append(
                    Reject(
                        record_id=response_id,
                        reason=verdict.reason,
                        text=sample.text,
                        generator=question["generator"],
                        detail=question["question_id"],
                    )
                )
    return Outcome(
        rows_in=len(chunk) * context.parameters.candidates,
        rows_out=len(rows),
        rows=rows_table(rows, tables.CANDIDATES),
        rejects=rejects,
        prompt_tokens=sum(completion.prompt_tokens for completion in done),
        completion_tokens=sum(conversation.token_counts(completion)[1] for completion in done),
    )


def _row(
    context: StageContext[ResponseParameters],
    question: dict[str, Any],
    number: int,
    sample: ports.Sample,
    response_id: str,
) -> dict[str, object]:
    return {
        "response_id": response_id,
        "question_id": question["question_id"],
        "generator": question["generator"],
        "query": question["text"],
        "candidate": number,
        "text": sample.text.strip(),
        "answer": context.domain.extract_answer(sample.text),
        "tokens": len(sample.token_ids),
        "finish_reason": sample.finish_reason,
        "difficulty": question["difficulty"],
    }


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.GENERATE,
    output="candidates",
    parameters=ResponseParameters,
    nodes=nodes,
    run=run,
    source="2.5: five candidates of each question",
    sharded=True,
    chunk_rows=500,
)
