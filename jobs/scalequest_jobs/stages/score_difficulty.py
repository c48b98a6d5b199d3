"""Give each cleaned question of a generator a difficulty: its expected fail rate."""

from collections.abc import Sequence

from scalequest_jobs import ports
from scalequest_jobs.contract import tables
from scalequest_jobs.contract.filtering import DifficultyFilter
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage, node_name
from scalequest_jobs.execution import streaming
from scalequest_jobs.execution.chunks import Chunk, Outcome
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.stages import clean_questions, fetch_model, train_difficulty_scorer

NAME = "score-difficulty"


def scored(spec: Spec) -> tuple[str, ...]:
    """Return the generators whose questions are scored: those with a cut, when a model scores."""
    difficulty = spec.filters.difficulty
    if difficulty is None or difficulty.scorer == "passRate":
        return ()
    return tuple(generator.name for generator in spec.generators if generator.difficulty)


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each generator that has a difficulty cut."""
    difficulty = spec.filters.difficulty
    return tuple(
        Node(
            name=node_name(NAME, generator),
            stage=NAME,
            generator=generator,
            parameters=Parameters(),
            inputs={"questions": clean_questions.NAME, "model": _scorer(difficulty)},
        )
        for generator in scored(spec)
        if difficulty
    )


def _scorer(difficulty: DifficultyFilter) -> str:
    return (
        train_difficulty_scorer.NAME
        if difficulty.scorer == "train"
        else fetch_model.node_for(difficulty.scorer)
    )


def run(context: StageContext[Parameters]) -> None:
    """Score the questions with a one-output head, as raw logits; one longer than its window gets none."""
    generator = context.order.generator
    rows = [row for row in context.table("questions").to_pylist() if row["generator"] == generator]
    context.begin(len(rows))
    if all(context.log.is_committed(chunk) for chunk in context.chunks):
        return
    scorer = context.engines.scorer(context.model("model"), kind="head")
    context.engine.update(scorer.identity)
    context.reporter.activity("scoring")

    def requests(chunk: Chunk) -> list[ports.ScoreRequest]:
        return [
            ports.ScoreRequest(
                chunk=chunk.index,
                index=row - chunk.first,
                token_ids=tuple(scorer.tokenizer.encode(rows[row]["text"])),
            )
            for row in range(chunk.first, chunk.last)
        ]

    def finish(chunk: Chunk, scores: Sequence[ports.Score]) -> Outcome:
        questions = rows[chunk.first : chunk.last]
        scored_rows: list[dict[str, object]] = [
            {"question_id": question["question_id"], "difficulty": score.value}
            for question, score in zip(questions, scores, strict=True)
        ]
        table = rows_table(scored_rows, tables.DIFFICULTIES)
        return Outcome(rows_in=len(chunk), rows_out=len(chunk), rows=table)

    streaming.run(
        context, engine=scorer.score, requests=requests, finish=finish, tokens=lambda _score: (0, 0)
    )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.SCORE,
    output="difficulties",
    parameters=Parameters,
    nodes=nodes,
    run=run,
    source="2.4: difficulty scores of the synthetic questions",
    sharded=True,
    chunk_rows=5_000,
)
