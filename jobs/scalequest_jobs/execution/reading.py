"""Reading artifacts: always by digest, from the manifest down; never by listing."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint, tables
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef, StageManifest

_BLOCK = 1 << 20
_MOST_IN_MEMORY = 64 << 20
"""Bytes. Weights and optimiser states are larger, and a worker's memory is not made for them."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_object(store: ports.ArtifactStore, ref: ObjectRef) -> bytes:
    """Return an object's content.

    Raises:
        BadInputError: the object is missing or its content is not what was committed.
    """
    with _gone_is_bad_input(store, ref):
        data = Path(ref.path).read_bytes() if ref.path else store.get(ref.key)
    _check_digest(store, ref, fingerprint.sha256(data))
    return data


def verify_object(store: ports.ArtifactStore, ref: ObjectRef) -> None:
    """Hold an object's content against its digest; a large one is read through a file.

    Raises:
        BadInputError: as `read_object`.
    """
    if ref.size <= _MOST_IN_MEMORY:
        read_object(store, ref)
        return
    with tempfile.TemporaryDirectory(prefix="scalequest-") as scratch, _gone_is_bad_input(store, ref):
        path = Path(ref.path or Path(scratch) / "object")
        if not ref.path:
            store.download(ref.key, path)
        _check_digest(store, ref, file_sha256(path))


@contextmanager
def _gone_is_bad_input(store: ports.ArtifactStore, ref: ObjectRef) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ports.BadInputError(
            f"there is no file {ref.path}, which was committed; restore it, or mount the volume that it is on"
        ) from error
    except ports.ObjectMissingError as error:
        raise ports.BadInputError(f"{ref.key} is gone from {store.describe()}; it was committed") from error


def _check_digest(store: ports.ArtifactStore, ref: ObjectRef, seen: str) -> None:
    if seen != ref.sha256:
        raise ports.BadInputError(
            f"{ref.key or ref.path} in {store.describe()} has sha256 {seen}, but {ref.sha256} was committed; "
            "restore the object, or delete the run and start it again"
        )


def read_manifest(store: ports.ArtifactStore, ref: ArtifactRef) -> StageManifest:
    """Return the stage manifest that a reference commits to, verified."""
    data = read_object(store, ObjectRef(key=ref.key, sha256=ref.sha256, size=0))
    try:
        return StageManifest.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise ports.BadInputError(f"{ref.key} is no stage manifest of this version: {error}") from error


class TableReader:
    """The rows of a committed table, whole or by range; each object is verified as it is read."""

    def __init__(self, store: ports.ArtifactStore, manifest: StageManifest, name: str = "rows") -> None:
        self.manifest = manifest
        self.schema: pa.Schema = tables.TABLES["rejects" if name == "rejects" else manifest.kind]
        self._store = store
        self._refs = manifest.objects(name)

    def table(self) -> pa.Table:
        """Return all rows."""
        return self._concat(self._read(ref) for ref in self._refs)

    def rows(self, first: int, last: int) -> pa.Table:
        """Return rows `first` to `last` (exclusive), reading only the chunks that hold them."""
        parts, start = [], 0
        for receipt, ref in self._chunks():
            end = start + receipt
            if start < last and first < end:
                parts.append(self._read(ref).slice(max(0, first - start), min(last, end) - max(first, start)))
            start = end
        return self._concat(parts)

    def __len__(self) -> int:
        return sum(length for length, _ in self._chunks())

    def _chunks(self) -> Iterable[tuple[int, ObjectRef]]:
        receipts = [receipt for receipt in self.manifest.receipts if "rows" in receipt.objects]
        return [(receipt.counts.rows_out, receipt.objects["rows"]) for receipt in receipts]

    def _read(self, ref: ObjectRef) -> pa.Table:
        return decode(read_object(self._store, ref), self.schema, ref.key)

    def _concat(self, parts: Iterable[pa.Table]) -> pa.Table:
        return pa.concat_tables([self.schema.empty_table(), *parts])


def decode(data: bytes, schema: pa.Schema, place: str) -> pa.Table:
    """Return the table in Parquet bytes, cast to the schema; `place` names it in errors."""
    table = pq.read_table(pa.BufferReader(data))
    if table.schema.names != schema.names:
        raise ports.BadInputError(f"{place} has the columns {table.schema.names}, expected {schema.names}")
    return table.cast(schema)


def encode(table: pa.Table, schema: pa.Schema) -> bytes:
    """Return Parquet bytes (zstd 3) of a table that has exactly this schema."""
    if table.schema != schema:
        raise ValueError(f"the table has the schema {table.schema}, expected {schema}")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3)
    return bytes(sink.getvalue())
