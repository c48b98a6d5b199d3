"""A worker's side of the commit protocol: chunks, receipts, the shard's manifest.

Data first, then the receipt, then (after all chunks) the manifest; every key carries the attempt,
so no key has two writers. An interrupted worker loses its unfinished chunk, nothing else.
"""

import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint, tables
from scalequest_jobs.contract.artifact import (
    ArtifactKeys,
    ArtifactRef,
    Counts,
    ObjectRef,
    Receipt,
    ShardManifest,
)
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.execution import reading

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Rows `first` to `last` (exclusive) of a stage's input: the unit of commit and resume."""

    index: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A record that a stage does not pass on, with the reason and how near it was."""

    record_id: str
    reason: str
    text: str
    generator: str = ""
    score: float | None = None
    limit: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a chunk came to: rows (in the stage's schema) or files, and rejects."""

    rows_in: int
    rows_out: int
    rows: pa.Table | None = None
    rejects: Sequence[Reject] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    objects: Mapping[str, ObjectRef] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro_usd: int = 0

    def counts(self) -> Counts:
        """Return the counts; raises ValueError when rows are lost or invented."""
        rejected: dict[str, int] = {}
        for reject in self.rejects:
            rejected[reject.reason] = rejected.get(reject.reason, 0) + 1
        return Counts(
            rows_in=self.rows_in,
            rows_out=self.rows_out,
            rejected=dict(sorted(rejected.items())),
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cost_micro_usd=self.cost_micro_usd,
        )


def plan_chunks(total: int, chunk_rows: int, shard: int, shards: int) -> tuple[Chunk, ...]:
    """Return a shard's chunks of `total` rows; all shards' chunks together cover each row once.

    Chunks are numbered over the whole stage, so their seeds do not depend on the number of shards.
    `chunk_rows` 0 makes one chunk of everything; without rows there is one empty chunk.
    """
    size = chunk_rows or max(total, 1)
    count = max(1, math.ceil(total / size))
    own = range(shard * count // shards, (shard + 1) * count // shards)
    return tuple(Chunk(index=i, first=i * size, last=min((i + 1) * size, total)) for i in own)


def new_attempt(pod_uid: str) -> str:
    """Return a name that no other attempt has: a restarted container keeps its pod's UID."""
    return f"{pod_uid}-{secrets.token_hex(8)}"


class ShardLog:
    """What one attempt of one shard commits, and what it adopts from earlier attempts."""

    def __init__(
        self,
        store: ports.ArtifactStore,
        order: Order,
        *,
        output: str,
        shard: int,
        attempt: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._order = order
        self._output = output
        self._shard = shard
        self._attempt = attempt
        self._clock = clock
        self._started = clock()
        self._chunk_started = self._started
        self._keys = ArtifactKeys(order.run.uid, order.node, order.fingerprint)
        self._receipts: dict[int, Receipt] = {}

    def adopt(self, chunks: Sequence[Chunk]) -> tuple[Receipt, ...]:
        """Take over valid receipts that earlier attempts of this shard left for these chunks."""
        wanted = {chunk.index: chunk for chunk in chunks}
        for key in self._store.keys(self._keys.receipts(self._shard)):
            receipt = self._valid_receipt(key)
            chunk = wanted.get(receipt.chunk) if receipt else None
            if receipt and chunk and (receipt.first, receipt.last) == (chunk.first, chunk.last):
                self._receipts.setdefault(receipt.chunk, receipt)
        return tuple(self._receipts.values())

    def _valid_receipt(self, key: str) -> Receipt | None:
        try:
            receipt = Receipt.model_validate_json(self._store.get(key))
            if receipt.fingerprint != self._order.fingerprint:
                return None
            for ref in receipt.objects.values():
                reading.verify_object(self._store, ref)
        except (pydantic.ValidationError, ports.BadInputError, ports.ObjectMissingError) as error:
            logger.warning("not adopted: %s: %s", key, error)
            return None
        return receipt

    def is_committed(self, chunk: Chunk) -> bool:
        """Say whether the chunk exists already."""
        return chunk.index in self._receipts

    def commit(self, chunk: Chunk, outcome: Outcome) -> Receipt:
        """Make a chunk exist: its objects first, then its receipt. Checks conservation."""
        objects = dict(outcome.objects)
        if outcome.rows is not None:
            if outcome.rows.num_rows != outcome.rows_out:
                raise ValueError(f"{outcome.rows.num_rows} rows where {outcome.rows_out} are counted")
            objects["rows"] = self._put_table(chunk, "rows", outcome.rows, tables.TABLES[self._output])
        if outcome.rejects:
            rejects = self._rejects(outcome.rejects)
            objects["rejects"] = self._put_table(chunk, "rejects", rejects, tables.REJECTS)
        for name, path in outcome.files.items():
            objects[name] = self._upload(chunk, name, path)
        receipt = Receipt(
            fingerprint=self._order.fingerprint,
            chunk=chunk.index,
            first=chunk.first,
            last=chunk.last,
            counts=outcome.counts(),
            objects=objects,
            facts=dict(outcome.facts),
            started=self._chunk_started,
            finished=self._clock(),
        )
        self._store.put(self._keys.receipt(self._shard, chunk.index, self._attempt), receipt.encode())
        self._receipts[chunk.index] = receipt
        self._chunk_started = receipt.finished
        return receipt

    def _rejects(self, rejects: Sequence[Reject]) -> pa.Table:
        rows = [{**vars(reject), "stage": self._order.node} for reject in rejects]
        return pa.Table.from_pylist(rows, schema=tables.REJECTS)

    def _put_table(self, chunk: Chunk, name: str, table: pa.Table, schema: pa.Schema) -> ObjectRef:
        data = reading.encode(table, schema)
        key = self._keys.object(self._shard, chunk.index, self._attempt, f"{name}.parquet")
        self._store.put(key, data)
        return ObjectRef(key=key, sha256=fingerprint.sha256(data), size=len(data))

    def _upload(self, chunk: Chunk, name: str, path: Path) -> ObjectRef:
        key = self._keys.object(self._shard, chunk.index, self._attempt, name)
        self._store.upload(key, path)
        return ObjectRef(key=key, sha256=reading.file_sha256(path), size=path.stat().st_size)

    def finish(self, chunks: Sequence[Chunk], engine: Mapping[str, str]) -> ArtifactRef:
        """Make the shard exist, when all its chunks do; return its manifest's key and digest."""
        if missing := [chunk.index for chunk in chunks if not self.is_committed(chunk)]:
            raise RuntimeError(f"{self._order.node} ended without the chunks {missing}")
        manifest = ShardManifest(
            fingerprint=self._order.fingerprint,
            shard=self._shard,
            shards=self._order.shards,
            receipts=tuple(self._receipts[chunk.index] for chunk in chunks),
            engine=dict(engine),
            started=self._started,
            finished=self._clock(),
        )
        key, data = self._keys.shard_manifest(self._shard, self._attempt), manifest.encode()
        self._store.put(key, data)
        return ArtifactRef(key=key, sha256=fingerprint.sha256(data))
