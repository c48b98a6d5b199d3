"""Writing questions with a generator: the prefix alone as prompt, one sample a request."""

from collections.abc import Sequence
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint, tables
from scalequest_jobs.execution import conversation, streaming
from scalequest_jobs.execution.chunks import Chunk, Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.question_models import format as question_format


def write_questions(
    context: StageContext[Any], *, count: int, temperature: float, top_p: float, max_tokens: int
) -> None:
    """Write `count` raw questions with the input `model` and commit them chunk by chunk.

    Prompts are identical, so variety rests on seeds alone: each request has its own, and n=1.
    """
    context.begin(count)
    if all(context.log.is_committed(chunk) for chunk in context.chunks):
        return
    generator = context.generator("model")
    form = question_format.load(context.model("model"), generator.tokenizer)
    sampling = ports.Sampling(
        temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop_ids=form.stop_ids
    )

    def requests(chunk: Chunk) -> list[ports.Request]:
        return [
            ports.Request(
                chunk=chunk.index,
                index=row - chunk.first,
                prompt_ids=form.prefix_ids,
                sampling=sampling,
                seed=context.seed("question", row),
                chunk_seed=context.seed("chunk", chunk.index),
            )
            for row in range(chunk.first, chunk.last)
        ]

    def finish(chunk: Chunk, completions: Sequence[ports.Completion]) -> Outcome:
        return _outcome(context, chunk, completions)

    streaming.run(
        context, engine=generator.generate, requests=requests, finish=finish, tokens=conversation.token_counts
    )


def _outcome(context: StageContext[Any], chunk: Chunk, completions: Sequence[ports.Completion]) -> Outcome:
    rows: list[dict[str, object]] = []
    rejects: list[Reject] = []
    generator = context.order.generator
    for completion in completions:
        row = chunk.first + completion.index
        (sample,) = completion.samples
        sample_id = fingerprint.digest([context.order.fingerprint, row])[:16]
        if sample.finish_reason == "abort":
            rejects.append(Reject(record_id=sample_id, reason="aborted", text="", generator=generator))
            continue
        rows.append(
            {
                "sample_id": sample_id,
                "generator": generator,
                "text": sample.text.strip(),
                "tokens": len(sample.token_ids),
                "finish_reason": sample.finish_reason,
                "seed": context.seed("question", row),
            }
        )
    return Outcome(
        rows_in=len(chunk),
        rows_out=len(rows),
        rows=rows_table(rows, tables.RAW_QUESTIONS),
        rejects=rejects,
        prompt_tokens=sum(completion.prompt_tokens for completion in completions),
        completion_tokens=sum(conversation.token_counts(completion)[1] for completion in completions),
    )
