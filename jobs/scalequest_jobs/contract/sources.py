"""Where a run's inputs come from: files of questions, and models."""

from typing import Annotated

import pydantic

from scalequest_jobs.contract.base import ColumnName, Key, ShortName, SpecModel, VolumePath


class TextSource(SpecModel):
    """A file of questions: Parquet, JSON Lines (`.jsonl`, `.jsonl.zst`) or CSV."""

    key: Key | None = None
    """Object key in the bucket."""
    path: VolumePath | None = None
    """Path on a volume, instead of `key`."""
    column: ColumnName = "question"
    """Column or field that holds the question."""
    answer_column: ColumnName | None = None
    """Column or field that holds the final answer; needed by the trained difficulty scorer."""
    max_rows: Annotated[int, pydantic.Field(ge=1, le=10_000_000)] | None = None
    """Read at most this many rows, from the start."""


class Benchmark(TextSource):
    """A benchmark's questions, for decontamination."""

    name: ShortName
    """Name shown in verdicts."""


class ModelSource(SpecModel):
    """Where a model's safetensors, JSON and tokenizer files come from: one of three places."""

    hub: (
        Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", max_length=128)] | None
    ) = None
    """Repository on the model hub, `owner/name`."""
    revision: Annotated[str, pydantic.Field(max_length=40, pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit of the hub repository, 40 hex digits; a branch or tag can change and is refused."""
    key: Key | None = None
    """Key prefix of a folder in the bucket."""
    path: VolumePath | None = None
    """Folder on a volume."""
