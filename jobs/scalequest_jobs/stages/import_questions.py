"""Read a file of questions from outside: the seeds, or a benchmark.

One bad row is rejected with its row number; a file that is none ends the stage.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint, tables
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.sources import TextSource
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage, node_name
from scalequest_jobs.execution.chunks import Outcome, Reject
from scalequest_jobs.execution.context import StageContext, rows_table
from scalequest_jobs.filters import duplicates

NAME = "import-questions"
SEEDS = node_name(NAME, "seeds")

_COMPRESSIONS: Final = {".zst": "zstd", ".gz": "gzip"}


class ImportParameters(Parameters):
    """Where the file is and what to read of it.

    `content` is its sha256 when the launcher can see it; `vouched` names the content of a volume where
    the platform stands for it.
    """

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"key", "path"})

    key: str = ""
    path: str = ""
    column: str
    answer_column: str | None = None
    max_rows: int | None = None
    content: str = ""
    vouched: str = ""


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for the seeds and one for each benchmark."""
    sources = {"seeds": spec.seed_questions} | {
        f"benchmark-{source.name}": source for source in spec.filters.contamination.benchmarks
    }
    return tuple(
        Node(name=node_name(NAME, name), stage=NAME, parameters=_parameters(source), cacheable=False)
        for name, source in sources.items()
    )


def _parameters(source: TextSource) -> ImportParameters:
    return ImportParameters(
        key=source.key or "",
        path=source.path or "",
        column=source.column,
        answer_column=source.answer_column,
        max_rows=source.max_rows,
    )


def run(context: StageContext[ImportParameters]) -> None:
    """Read, check and commit the questions."""
    parameters = context.parameters
    data, place = read_source(context.store, context.settings.volumes, parameters.key, parameters.path)
    if parameters.content and fingerprint.sha256(data) != parameters.content:
        raise ports.BadInputError(f"{place} changed since the run was planned; start the run again")
    records = list(_records(data, place))[: parameters.max_rows]
    _check_columns(records, parameters, place)
    context.begin(len(records))
    if not context.log.is_committed(context.chunks[0]):
        context.commit_whole(_outcome(records, parameters, place))


def read_source(store: ports.ArtifactStore, volumes: Path, key: str, path: str) -> tuple[bytes, str]:
    """Return a source file's content and its name for messages."""
    if path:
        file = volumes / path
        try:
            return file.read_bytes(), str(path)
        except OSError as error:
            raise ports.BadInputError(
                f"cannot read {file}: {error.strerror}; check the path and the volume"
            ) from error
    try:
        return store.get(key), key
    except ports.ObjectMissingError as error:
        raise ports.BadInputError(
            f"{key} is not in {store.describe()}; upload it or correct the key"
        ) from error


def _records(data: bytes, place: str) -> Iterator[dict[str, Any] | str]:
    """Yield each row as a mapping, or as the error that makes it unreadable."""
    name = Path(place)
    try:
        if name.suffix in _COMPRESSIONS:
            data = pa.CompressedInputStream(pa.BufferReader(data), _COMPRESSIONS[name.suffix]).read()
            name = name.with_suffix("")
        if name.suffix == ".parquet":
            yield from pq.read_table(pa.BufferReader(data)).to_pylist()
        elif name.suffix in (".jsonl", ".json"):
            # JSON strings may hold U+2028 and others at which str.splitlines would cut a row in two.
            yield from (_json_row(line) for line in _text(data).split("\n") if line.strip())
        elif name.suffix == ".csv":
            yield from map(_csv_row, csv.DictReader(io.StringIO(_text(data), newline="")))
        else:
            raise ports.BadInputError(
                f"{place} has no known ending: use .parquet, .jsonl, .jsonl.zst or .csv"
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise ports.BadInputError(f"{place} cannot be read as {name.suffix}: {error}") from error


def _text(data: bytes) -> str:
    """Decode UTF-8 with or without the byte order mark that spreadsheets write."""
    return data.decode("utf-8-sig")


def _csv_row(row: dict[str | Any, Any]) -> dict[str, Any] | str:
    return f"{len(row[None])} cells more than the header" if None in row else row


def _json_row(line: str) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return f"not JSON: {error}"
    except UnicodeEncodeError as error:
        return f"half of a surrogate pair: {error.reason}"
    return row if isinstance(row, dict) else f"a JSON {type(row).__name__}, expected an object"


def _check_columns(records: list[dict[str, Any] | str], parameters: ImportParameters, place: str) -> None:
    seen = sorted({name for record in records if isinstance(record, dict) for name in record})
    wanted = [parameters.column] + ([parameters.answer_column] if parameters.answer_column else [])
    if not records:
        raise ports.BadInputError(f"{place} has no rows")
    if missing := [name for name in wanted if name not in seen]:
        raise ports.BadInputError(
            f"{place} has no column {missing[0]!r}; it has {seen}: correct the column's name"
        )


def _outcome(records: list[dict[str, Any] | str], parameters: ImportParameters, place: str) -> Outcome:
    rows: list[dict[str, object]] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    for number, record in enumerate(records, start=1):
        question = record.get(parameters.column) if isinstance(record, dict) else None
        reason = _fault(record, question)
        seed_id = duplicates.question_id(question) if isinstance(question, str) else f"row-{number}"
        if not reason and seed_id in seen:
            reason = "duplicate"
        if reason:
            detail = f"{place} row {number}" + (f": {record}" if isinstance(record, str) else "")
            rejects.append(
                Reject(record_id=seed_id, reason=reason, text=str(question or ""), detail=detail[:500])
            )
            continue
        seen.add(seed_id)
        assert isinstance(record, dict)
        answer = record.get(parameters.answer_column) if parameters.answer_column else None
        rows.append(
            {
                "seed_id": seed_id,
                "question": str(question).strip(),
                "answer": None if answer is None else str(answer).strip(),
                "source": place,
                "row": number,
            }
        )
    if not rows:
        raise ports.BadInputError(f"{place} has no usable row: {rejects[0].detail}: {rejects[0].reason}")
    return Outcome(
        rows_in=len(records), rows_out=len(rows), rows=rows_table(rows, tables.SEEDS), rejects=rejects
    )


def _fault(record: dict[str, Any] | str, question: object) -> str:
    if isinstance(record, str):
        return "unreadable"
    if question is None:
        return "missing"
    if not isinstance(question, str):
        return "not_text"
    return "" if question.strip() else "empty"


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.CPU,
    output="seeds",
    parameters=ImportParameters,
    nodes=nodes,
    run=run,
    source="2.2: seed questions",
)
