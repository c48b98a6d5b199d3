"""The dataset card and the Croissant description."""

import json
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from scalequest_jobs.publishing import funnel

_ROWS: Final = "data/train-*.parquet"

_BODY: Final = """
# {name}

{rows:,} {domain} problems with solutions, synthesised by the ScaleQuest method (arXiv 2410.18693): models
wrote questions, and each question that passed the filters was answered {candidates} times; the answer kept was
chosen by {method}. Everything here is written by models and may be wrong.

## Fields

| field | meaning |
|---|---|
| `query`, `response` | the question and the kept answer |
| `messages` | the same as a conversation |
| `answer` | final answer extracted from the response |
| `question_id`, `response_id` | hashes of their content |
| `generator`, `question_model`, `response_model`, `score_model` | who wrote, answered and scored it: name, and digests of the models' files |
| `score`, `margin` | score of the kept answer, and its lead over the second best |
| `agreement`, `candidates` | how many of the candidates give the kept answer, and how many there were |
| `difficulty` | expected fail rate of the question, 0 easy to 1 hard, where the run measures one |

## How it was made

{funnel}

{gates}
## Files

- `data/`: Parquet shards, and the same rows as `train.jsonl.zst`
- `rejects/`: every record that a stage rejected, with stage, reason, score and limit
- `lineage.json`: digest of every stage's manifest, back to the seed questions; `report.json`: the figures above
"""


def card(
    *,
    name: str,
    domain: str,
    license_name: str,
    languages: Sequence[str],
    rows: int,
    candidates: int,
    method: str,
    stages: Sequence[funnel.FunnelRow],
    gates: str,
) -> str:
    """Return the README.md of a dataset, with the metadata that the model hub reads."""
    import huggingface_hub

    data = huggingface_hub.DatasetCardData(
        license=license_name,
        language=list(languages),
        pretty_name=name,
        task_categories=["text-generation"],
        tags=["synthetic", "scalequest", domain],
        configs=[
            {"config_name": "default", "data_files": [{"split": "train", "path": _ROWS}]},
        ],
    )
    body = _BODY.format(
        name=name,
        domain=domain,
        rows=rows,
        candidates=candidates,
        method=method,
        funnel=funnel.markdown(stages),
        gates=gates,
    )
    return f"---\n{data.to_yaml()}\n---\n{body}"


def gates_markdown(gates: dict[str, dict[str, Any]]) -> str:
    """Return what was measured after each training stage; empty without training."""
    if not gates:
        return ""
    lines = ["Measured on a sample after each training stage:", ""]
    for node, gate in gates.items():
        warnings = gate.get("warnings") or []
        lines.append(f"- `{node}`: {_figures(gate)}" + "".join(f"\n  - warning: {text}" for text in warnings))
    return "\n".join([*lines, ""])


def _figures(gate: dict[str, Any]) -> str:
    rates = ("stop_rate", "self_duplicate_rate", "seed_copy_rate", "length_ratio")
    figures = [f"{name.replace('_', ' ')} {gate[name]:.3f}" for name in rates]
    for place in ("from_seeds", "from_before"):
        if drift := gate.get(place):
            words = f"words {drift['words']:.3f} bits (noise {drift['words_noise']:.3f})"
            numbers = f"numbers {drift['numbers']:.3f} bits (noise {drift['numbers_noise']:.3f})"
            figures.append(f"drift {place.replace('_', ' ')}: {words}, {numbers}")
    return "; ".join(figures)


def croissant(*, name: str, license_name: str, files: Sequence[tuple[str, str]], schema: pa.Schema) -> str:
    """Return the Croissant metadata of the Parquet shards; `files` are paths with their sha256.

    Columns of one value a row are described; `messages` repeats `query` and `response`.
    """
    import mlcroissant  # a second and a half, for the one stage that publishes

    types = {
        pa.string(): mlcroissant.DataType.TEXT,
        pa.float32(): mlcroissant.DataType.FLOAT32,
        pa.int16(): mlcroissant.DataType.INT16,
    }
    shards = [
        mlcroissant.FileObject(
            id=path, name=path, content_url=path, encoding_formats=["application/x-parquet"], sha256=sha256
        )
        for path, sha256 in files
    ]
    fields = [
        mlcroissant.Field(
            id=f"rows/{column.name}",
            name=column.name,
            data_types=types[column.type],
            source=mlcroissant.Source(file_set="shards", extract=mlcroissant.Extract(column=column.name)),
        )
        for column in schema
        if column.type in types
    ]
    every_shard = mlcroissant.FileSet(
        id="shards", name="shards", includes=[_ROWS], encoding_formats=["application/x-parquet"]
    )
    metadata = mlcroissant.Metadata(
        name=name,
        description="Synthetic instruction data made by the ScaleQuest method",
        license=[license_name],
        distribution=[*shards, every_shard],
        record_sets=[mlcroissant.RecordSet(id="rows", name="rows", fields=fields)],
    )
    return json.dumps(metadata.to_json(), indent=2, default=str)
