"""The Arrow schema of every table that a stage leaves behind.

Ids are hashes of content, so that equal questions of two generators meet: `question_id` is 16 hex
digits of the sha256 of the normalised text (`filters/duplicates.py`), `sample_id` of its place in
the run.
"""

from typing import Final

import pyarrow as pa

_ID = pa.string()

SEEDS: Final = pa.schema(
    [
        ("seed_id", _ID),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
    ]
)

RAW_QUESTIONS: Final = pa.schema(
    [
        ("sample_id", _ID),
        ("generator", pa.string()),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("finish_reason", pa.string()),
        ("seed", pa.int64()),
    ]
)

REWRITES: Final = pa.schema(
    [
        ("sample_id", _ID),
        ("generator", pa.string()),
        ("direction", pa.string()),
        ("original", pa.string()),
        ("rewritten", pa.string()),
        ("raw_output", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("cost_micro_usd", pa.int64()),
    ]
)

PAIRS: Final = pa.schema(
    [
        ("pair_id", _ID),
        ("generator", pa.string()),
        ("direction", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("split", pa.string()),
    ]
)

QUESTIONS: Final = pa.schema(
    [
        ("question_id", _ID),
        ("sample_id", _ID),
        ("generator", pa.string()),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("language", pa.string()),
        ("language_score", pa.float32()),
        ("cluster_size", pa.int32()),
    ]
)

FAIL_RATES: Final = pa.schema(
    [
        ("seed_id", _ID),
        ("question", pa.string()),
        ("samples", pa.int32()),
        ("wrong", pa.int32()),
        ("fail_rate", pa.float32()),
    ]
)

DIFFICULTIES: Final = pa.schema([("question_id", _ID), ("difficulty", pa.float32())])

JUDGEMENTS: Final = pa.schema(
    [
        ("question_id", _ID),
        ("sample_id", _ID),
        ("generator", pa.string()),
        ("text", pa.string()),
        ("rationale", pa.string()),
        ("completion_tokens", pa.int32()),
        ("difficulty", pa.float32()),
    ]
)

SELECTED_QUESTIONS: Final = pa.schema(
    [
        ("question_id", _ID),
        ("sample_id", _ID),
        ("generator", pa.string()),
        ("text", pa.string()),
        ("difficulty", pa.float32()),
    ]
)

CANDIDATES: Final = pa.schema(
    [
        ("response_id", _ID),
        ("question_id", _ID),
        ("generator", pa.string()),
        ("query", pa.string()),
        ("candidate", pa.int16()),
        ("text", pa.string()),
        ("answer", pa.string()),
        ("tokens", pa.int32()),
        ("finish_reason", pa.string()),
        ("difficulty", pa.float32()),
    ]
)

SCORES: Final = pa.schema([("response_id", _ID), ("question_id", _ID), ("score", pa.float32())])

MESSAGE: Final = pa.struct([("role", pa.string()), ("content", pa.string())])

DATASET: Final = pa.schema(
    [
        ("question_id", _ID),
        ("response_id", _ID),
        ("query", pa.string()),
        ("response", pa.string()),
        ("messages", pa.list_(MESSAGE)),
        ("answer", pa.string()),
        ("generator", pa.string()),
        ("score", pa.float32()),
        ("margin", pa.float32()),
        ("agreement", pa.int16()),
        ("candidates", pa.int16()),
        ("difficulty", pa.float32()),
    ]
)

PUBLISHED: Final = pa.schema(
    [
        *DATASET,
        ("question_model", pa.string()),
        ("response_model", pa.string()),
        ("score_model", pa.string()),
    ]
)
"""The dataset with the digests of the models that wrote, answered and scored each row."""

REJECTS: Final = pa.schema(
    [
        ("record_id", _ID),
        ("stage", pa.string()),
        ("generator", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("limit", pa.float64()),
        ("detail", pa.string()),
        ("text", pa.string()),
    ]
)
"""One row for every record that a stage rejected: which stage, why, and how near it was."""

TABLES: Final[dict[str, pa.Schema]] = {
    "seeds": SEEDS,
    "raw-questions": RAW_QUESTIONS,
    "rewrites": REWRITES,
    "pairs": PAIRS,
    "questions": QUESTIONS,
    "fail-rates": FAIL_RATES,
    "difficulties": DIFFICULTIES,
    "judgements": JUDGEMENTS,
    "selected-questions": SELECTED_QUESTIONS,
    "candidates": CANDIDATES,
    "scores": SCORES,
    "dataset": DATASET,
    "rejects": REJECTS,
}
