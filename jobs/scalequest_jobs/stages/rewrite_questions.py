"""Rewrite a generator's questions, each in one direction at random: solvability or difficulty."""

import random
from collections.abc import Sequence
from typing import Any, ClassVar

from scalequest_jobs import ports
from scalequest_jobs.contract import tables
from scalequest_jobs.contract.run import Endpoint, Preference, Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage, node_name
from scalequest_jobs.domains.base import Direction, Domain, Rewrite
from scalequest_jobs.execution import conversation, streaming
from scalequest_jobs.execution.chunks import Chunk, Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.stages import fetch_model, sample_preference_questions

NAME = "rewrite-questions"


class RewriteParameters(Parameters):
    """Who rewrites and how. The endpoint's address, price and limits do not change the data."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"endpoint"})

    endpoint: Endpoint | None
    endpoint_model: str
    solvability_share: float
    temperature: float
    top_p: float
    max_tokens: int
    prompts: dict[str, str | None]


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each generator: a CPU worker for an endpoint, a GPU worker for a model."""
    if spec.preference is None:
        return ()
    model = spec.preference.rewriter.model
    return tuple(
        Node(
            name=node_name(NAME, generator.name),
            stage=NAME,
            generator=generator.name,
            parameters=_parameters(spec, spec.preference),
            inputs={
                "questions": node_name(sample_preference_questions.NAME, generator.name),
                **({"model": fetch_model.node_for(model)} if model else {}),
            },
            role=Role.GENERATE if model else Role.CPU,
        )
        for generator in spec.generators
    )


def _parameters(spec: Spec, preference: Preference) -> RewriteParameters:
    rewriter = preference.rewriter
    return RewriteParameters(
        endpoint=rewriter.endpoint,
        endpoint_model=rewriter.endpoint.model if rewriter.endpoint else "",
        solvability_share=preference.solvability_share,
        temperature=rewriter.temperature,
        top_p=rewriter.top_p,
        max_tokens=rewriter.max_tokens,
        prompts={
            "rewrite_solvability": spec.prompts.rewrite_solvability,
            "rewrite_difficulty": spec.prompts.rewrite_difficulty,
        },
    )


def run(context: StageContext[RewriteParameters]) -> None:
    """Ask for one rewrite of each question; what comes back without its final section is rejected."""
    reader = context.reader("questions")
    context.begin(len(reader))
    if all(context.log.is_committed(chunk) for chunk in context.chunks):
        return
    work = _Work(context, reader.table().to_pylist())
    if context.parameters.endpoint:
        work.by_endpoint(context.parameters.endpoint)
    else:
        work.by_model()


class _Work:
    """The rewriting of one shard."""

    def __init__(self, context: StageContext[RewriteParameters], questions: list[dict[str, Any]]) -> None:
        self._context = context
        self._questions = questions
        self._domain: Domain = context.domain.with_prompts(**context.parameters.prompts)

    def _direction(self, row: int) -> Direction:
        share = self._context.parameters.solvability_share
        draw = random.Random(self._context.seed("direction", row)).random()
        return "solvability" if draw < share else "difficulty"

    def _todo(self, chunk: Chunk) -> list[int]:
        rows = range(chunk.first, chunk.last)
        return [row for row in rows if not _unfit(self._questions[row])]

    def _messages(self, row: int) -> tuple[ports.Message, ...]:
        prompt = self._domain.rewrite_prompt(self._direction(row), self._questions[row]["text"])
        return (
            ports.Message(role="system", content=self._domain.system_prompt),
            ports.Message(role="user", content=prompt),
        )

    def by_endpoint(self, endpoint: Endpoint) -> None:
        """Rewrite through a chat endpoint."""
        settings = conversation.endpoint_settings(
            endpoint, self._context.settings.api_key_file, spent=self._context.adopted.cost_micro_usd
        )
        client = self._context.engines.chat(settings, self._context.stop)
        self._context.engine.update(client.identity)
        self._context.reporter.activity(f"rewriting with {endpoint.model}")
        parameters = self._context.parameters

        def requests(chunk: Chunk) -> list[ports.ChatRequest]:
            return [
                ports.ChatRequest(
                    chunk=chunk.index,
                    index=row - chunk.first,
                    messages=self._messages(row),
                    temperature=parameters.temperature,
                    top_p=parameters.top_p,
                    max_tokens=parameters.max_tokens,
                )
                for row in self._todo(chunk)
            ]

        try:
            streaming.run(
                self._context,
                engine=client.complete,
                requests=requests,
                finish=lambda chunk, replies: self._outcome(chunk, list(replies)),
                tokens=lambda reply: (reply.prompt_tokens, reply.completion_tokens),
            )
        finally:
            client.close()

    def by_model(self) -> None:
        """Rewrite with a model of the run."""
        parameters = self._context.parameters
        generator = self._context.generator("model")
        sampling = ports.Sampling(
            temperature=parameters.temperature,
            top_p=parameters.top_p,
            max_tokens=parameters.max_tokens,
            stop_ids=generator.tokenizer.stop_ids,
        )

        def requests(chunk: Chunk) -> list[ports.Request]:
            return [
                conversation.request(
                    self._context,
                    generator.tokenizer,
                    chunk=chunk,
                    row=row,
                    messages=self._messages(row),
                    sampling=sampling,
                )
                for row in self._todo(chunk)
            ]

        streaming.run(
            self._context,
            engine=generator.generate,
            requests=requests,
            finish=lambda chunk, done: self._outcome(chunk, [conversation.as_reply(item) for item in done]),
            tokens=conversation.token_counts,
        )

    def _outcome(self, chunk: Chunk, replies: Sequence[ports.ChatReply]) -> Outcome:
        rows: list[dict[str, object]] = []
        rejects = [
            self._reject(row, reason)
            for row in range(chunk.first, chunk.last)
            if (reason := _unfit(self._questions[row]))
        ]
        for reply in replies:
            row = chunk.first + reply.index
            reason, rewrite = self._parse(row, reply)
            if reason:
                rejects.append(self._reject(row, reason, detail=reply.error or (reply.text or "")[-200:]))
            else:
                rows.append(self._row(row, reply, rewrite))
        return Outcome(
            rows_in=len(chunk),
            rows_out=len(rows),
            rows=rows_table(rows, tables.REWRITES),
            rejects=rejects,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(reply.completion_tokens for reply in replies),
            cost_micro_usd=sum(reply.cost_micro_usd for reply in replies),
        )

    def _parse(self, row: int, reply: ports.ChatReply) -> tuple[str, str]:
        """Return the reason why a reply is unfit, or "" and the rewritten question."""
        if reply.text is None:
            return "refused", ""
        if reply.finish_reason == "length":
            return "truncated_rewrite", ""
        rewrite: Rewrite = self._domain.parse_rewrite(self._direction(row), reply.text)
        return ("", rewrite.text) if rewrite.text else (rewrite.status, "")

    def _reject(self, row: int, reason: str, detail: str = "") -> Reject:
        question = self._questions[row]
        return Reject(
            record_id=question["sample_id"],
            reason=reason,
            text=question["text"],
            generator=question["generator"],
            detail=detail,
        )

    def _row(self, row: int, reply: ports.ChatReply, rewritten: str) -> dict[str, object]:
        question = self._questions[row]
        return {
            "sample_id": question["sample_id"],
            "generator": question["generator"],
            "direction": self._direction(row),
            "original": question["text"],
            "rewritten": rewritten,
            "raw_output": reply.text,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "cost_micro_usd": reply.cost_micro_usd,
        }


def _unfit(question: dict[str, Any]) -> str:
    """Return why a question is not worth a rewrite: "truncated", "empty", or ""."""
    if question["finish_reason"] != "stop":
        return "truncated"
    return "" if question["text"] else "empty"


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.CPU,
    output="rewrites",
    parameters=RewriteParameters,
    nodes=nodes,
    run=run,
    source="2.3: one direction each, at random; Figs 10 and 11",
    chunk_rows=200,
)
