"""Clean the questions of all generators together: format, language, duplicates, contamination."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from scalequest_jobs.contract import tables
from scalequest_jobs.contract.filtering import DuplicateFilter, FormatFilter, LanguageFilter
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage, node_name
from scalequest_jobs.execution.chunks import Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.filters import contamination, duplicates, language
from scalequest_jobs.filters import format as format_filter
from scalequest_jobs.filters.verdict import Verdict
from scalequest_jobs.stages import generate_questions, import_questions

NAME = "clean-questions"

Row = dict[str, Any]


class CleanParameters(Parameters):
    """All filters that need no model."""

    format: FormatFilter
    language: LanguageFilter
    duplicates: DuplicateFilter | None
    contamination_ngram: int
    minhash: str


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return the one node."""
    filters = spec.filters
    parameters = CleanParameters(
        format=filters.format,
        language=filters.language,
        duplicates=filters.duplicates,
        contamination_ngram=filters.contamination.ngram,
        minhash=duplicates.algorithm()
        if filters.duplicates and filters.duplicates.method == "minhash"
        else "",
    )
    raw = {f"raw:{g.name}": node_name(generate_questions.NAME, g.name) for g in spec.generators}
    benchmarks = {
        f"benchmark:{source.name}": node_name(import_questions.NAME, f"benchmark-{source.name}")
        for source in filters.contamination.benchmarks
    }
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs={**raw, **benchmarks}),)


def run(context: StageContext[CleanParameters]) -> None:
    """Apply the filters in order; each sees only what the ones before it kept."""
    raw = [row for name in context.inputs("raw").values() for row in context.table(name).to_pylist()]
    context.begin(len(raw))
    if context.log.is_committed(context.chunks[0]):
        return
    rejects: list[Reject] = []
    rows = raw
    for activity, keep in _steps(context):
        context.check_stop()
        context.reporter.activity(activity)
        rows = keep(rows, rejects)
    context.commit_whole(
        Outcome(
            rows_in=len(raw),
            rows_out=len(rows),
            rows=rows_table(
                [{name: row[name] for name in tables.QUESTIONS.names} for row in rows], tables.QUESTIONS
            ),
            rejects=rejects,
        )
    )


def _steps(
    context: StageContext[CleanParameters],
) -> list[tuple[str, Callable[[list[Row], list[Reject]], list[Row]]]]:
    parameters = context.parameters
    benchmarks = {
        name: context.table(source).column("question").to_pylist()
        for name, source in context.inputs("benchmark").items()
    }
    return [
        (
            "checking the format",
            lambda rows, rejects: _apply(rows, rejects, [_format(row, parameters) for row in rows]),
        ),
        ("detecting languages", lambda rows, rejects: _languages(rows, rejects, parameters)),
        ("finding duplicates", lambda rows, rejects: _duplicates(rows, rejects, parameters.duplicates)),
        (
            "comparing with benchmarks",
            lambda rows, rejects: _contaminated(rows, rejects, benchmarks, parameters.contamination_ngram),
        ),
    ]


def _reject(row: Row, verdict: Verdict) -> Reject:
    return Reject(
        record_id=row["sample_id"],
        reason=verdict.reason,
        text=row["text"],
        generator=row["generator"],
        score=verdict.score,
        limit=verdict.limit,
        detail=verdict.detail,
    )


def _format(row: Row, parameters: CleanParameters) -> Verdict:
    return format_filter.judge(
        row["text"],
        tokens=row["tokens"],
        finish_reason=row["finish_reason"],
        minimum_tokens=parameters.format.min_tokens,
        maximum_tokens=parameters.format.max_tokens,
    )


def _languages(rows: list[Row], rejects: list[Reject], parameters: CleanParameters) -> list[Row]:
    wanted = parameters.language
    verdicts = [language.judge(row["text"], keep=wanted.keep, minimum_score=wanted.min_score) for row in rows]
    rows = [
        {**row, "language": verdict.detail or None, "language_score": verdict.score}
        for row, verdict in zip(rows, verdicts, strict=True)
    ]
    return _apply(rows, rejects, verdicts)


def _duplicates(rows: list[Row], rejects: list[Reject], parameters: DuplicateFilter | None) -> list[Row]:
    """Merge questions with one id always: ids must be unique from here on; near ones when asked to."""
    rows = [{**row, "question_id": duplicates.question_id(row["text"])} for row in rows]
    sizes = Counter(row["question_id"] for row in rows)
    rows = [{**row, "cluster_size": sizes[row["question_id"]]} for row in rows]
    exact = duplicates.judge_exact([row["question_id"] for row in rows], [row["sample_id"] for row in rows])
    rows = _apply(rows, rejects, exact)
    rows.sort(key=lambda row: str(row["question_id"]))
    if parameters is None or parameters.method == "exact":
        return rows
    return _near_duplicates(rows, rejects, parameters)


def _near_duplicates(rows: list[Row], rejects: list[Reject], parameters: DuplicateFilter) -> list[Row]:
    ids = [row["question_id"] for row in rows]
    clusters = duplicates.clusters(
        [row["text"] for row in rows], ids, threshold=parameters.threshold, ngram=parameters.ngram
    )
    near = [
        duplicates.judge_near(question_id, cluster, threshold=parameters.threshold)
        for question_id, cluster in zip(ids, clusters, strict=True)
    ]
    sizes = Counter[str]()
    for row, cluster in zip(rows, clusters, strict=True):
        sizes[cluster.representative] += row["cluster_size"]
    return _apply([{**row, "cluster_size": sizes[row["question_id"]]} for row in rows], rejects, near)


def _apply(rows: list[Row], rejects: list[Reject], verdicts: Sequence[Verdict]) -> list[Row]:
    """Return the rows whose verdict is to keep; the others join `rejects`."""
    judged = list(zip(rows, verdicts, strict=True))
    rejects += [_reject(row, verdict) for row, verdict in judged if not verdict.keep]
    return [row for row, verdict in judged if verdict.keep]


def _contaminated(
    rows: list[Row], rejects: list[Reject], benchmarks: dict[str, list[str]], ngram: int
) -> list[Row]:
    if not benchmarks:
        return rows
    index = contamination.NgramIndex.build(benchmarks, ngram=ngram)
    return _apply(rows, rejects, [contamination.judge(row["text"], index) for row in rows])


STAGE = Stage(
    name=NAME,
    version=2,
    role=Role.CPU,
    output="questions",
    parameters=CleanParameters,
    nodes=nodes,
    run=run,
    source="2.4 and App B: language; format and duplicates are ours",
)
