"""Publish the dataset: Parquet shards, JSON Lines, rejects, card, Croissant, report, lineage."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scalequest_jobs.contract import tables
from scalequest_jobs.contract.artifact import StageManifest
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import DATASET, Node, Parameters, Role, Stage
from scalequest_jobs.execution import models, reading
from scalequest_jobs.execution.chunks import Outcome
from scalequest_jobs.execution.context import StageContext
from scalequest_jobs.publishing import card, funnel
from scalequest_jobs.question_models import training
from scalequest_jobs.stages import fetch_model, select_responses

NAME = "publish-dataset"


class PublishParameters(Parameters):
    """Names for the card, and which nodes' models wrote, answered and scored."""

    name: str
    license: str
    languages: tuple[str, ...]
    shard_rows: int
    method: str
    candidates: int
    question_models: dict[str, str]
    response_model: str
    score_model: str


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return the one node; it reads the manifests of all stages before it."""
    selection = spec.selection
    parameters = PublishParameters(
        name=spec.publish.name or "",
        license=spec.publish.license,
        languages=spec.filters.language.keep,
        shard_rows=spec.publish.shard_rows,
        method=selection.method,
        candidates=spec.responses.candidates,
        question_models={generator.name: training.final(spec, generator) for generator in spec.generators},
        response_model=fetch_model.node_for(spec.responses.model),
        score_model=fetch_model.node_for(selection.model) if selection.model else "",
    )
    inputs = {"rows": select_responses.NAME, "stage:*": "*"}
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs=inputs),)


def run(context: StageContext[PublishParameters]) -> None:
    """Write all files of the dataset and commit them as one artifact."""
    context.begin(context.manifest("rows").counts.rows_out)
    if context.log.is_committed(context.chunks[0]):
        return
    folder = context.scratch / "dataset"
    manifests = {node: context.manifest(name) for node, name in context.inputs("stage").items()}
    rows = _published(context, manifests)
    shards = _write_rows(rows, folder, context.parameters.shard_rows)
    _write_rejects(context, manifests, folder)
    _write_documents(context, manifests, folder, rows.num_rows, shards)
    context.commit_whole(
        Outcome(rows_in=rows.num_rows, rows_out=rows.num_rows, files=models.folder_files(folder))
    )


def _published(context: StageContext[PublishParameters], manifests: Mapping[str, StageManifest]) -> pa.Table:
    parameters = context.parameters
    digests = {
        node: models.model_digest(manifests[node])
        for node in {*parameters.question_models.values(), parameters.response_model, parameters.score_model}
        - {""}
    }
    rows = context.table("rows").sort_by("question_id")
    generators = rows.column("generator").to_pylist()
    columns = {
        "question_model": [digests[parameters.question_models[generator]] for generator in generators],
        "response_model": [digests[parameters.response_model]] * len(generators),
        "score_model": [digests.get(parameters.score_model)] * len(generators),
    }
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows.cast(tables.PUBLISHED)


def _write_rows(rows: pa.Table, folder: Path, shard_rows: int) -> list[Path]:
    """Write Parquet shards and one JSON Lines file; an empty dataset has one empty shard."""
    (folder / "data").mkdir(parents=True)
    count = max(1, -(-rows.num_rows // shard_rows))
    shards = [folder / "data" / f"train-{index:05d}-of-{count:05d}.parquet" for index in range(count)]
    for index, path in enumerate(shards):
        pq.write_table(
            rows.slice(index * shard_rows, shard_rows), path, compression="zstd", compression_level=3
        )
    with pa.CompressedOutputStream(str(folder / "data" / "train.jsonl.zst"), "zstd") as stream:
        for batch in rows.to_batches(max_chunksize=10_000):
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
            stream.write("".join(lines).encode())
    return shards


def _write_rejects(
    context: StageContext[PublishParameters], manifests: Mapping[str, StageManifest], folder: Path
) -> None:
    """Write every stage's rejects, one file a stage, so that none is held with another's."""
    (folder / "rejects").mkdir()
    for node, manifest in manifests.items():
        if manifest.objects("rejects"):
            table = reading.TableReader(context.store, manifest, "rejects").table()
            pq.write_table(
                table, folder / "rejects" / f"{node}.parquet", compression="zstd", compression_level=3
            )


def _write_documents(
    context: StageContext[PublishParameters],
    manifests: Mapping[str, StageManifest],
    folder: Path,
    rows: int,
    shards: list[Path],
) -> None:
    parameters = context.parameters
    name = parameters.name or context.order.run.name
    stages = funnel.funnel(manifests)
    gates = dict(_gates(manifests))
    text = card.card(
        name=name,
        domain=context.order.domain,
        license_name=parameters.license,
        languages=parameters.languages,
        rows=rows,
        candidates=parameters.candidates,
        method=parameters.method,
        stages=stages,
        gates=card.gates_markdown(gates),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    described = [(str(path.relative_to(folder)), reading.file_sha256(path)) for path in shards]
    (folder / "croissant.json").write_text(
        card.croissant(name=name, license_name=parameters.license, files=described, schema=tables.PUBLISHED),
        encoding="utf-8",
    )
    report = {
        "run": context.order.run.name,
        "rows": rows,
        "stages": [row.as_dict() for row in stages],
        "gates": gates,
    }
    _write_json(folder / "report.json", report)
    lineage = {
        name.removeprefix("stage:"): ref.model_dump()
        for name, ref in sorted(context.order.inputs.items())
        if name.startswith("stage:")
    }
    _write_json(folder / "lineage.json", lineage)


def _gates(manifests: Mapping[str, StageManifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    for node, manifest in sorted(manifests.items()):
        if "gate" in (facts := manifest.facts()):
            yield node, facts["gate"]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


STAGE = Stage(
    name=NAME,
    version=2,
    role=Role.CPU,
    output=DATASET,
    parameters=PublishParameters,
    nodes=nodes,
    run=run,
    source="3.1: the published dataset",
)
