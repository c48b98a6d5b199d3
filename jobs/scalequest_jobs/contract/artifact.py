"""Keys in the bucket, and the records that make chunks, shards and artifacts exist.

Every key has one writer: `<attempt>` is the pod's UID and a nonce drawn at start. A worker writes a
chunk's objects, then its receipt, then the shard's manifest last; the launcher verifies that and
composes the stage's manifest, whose key is its digest. Readers follow digests and never list.
"""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from scalequest_jobs.contract import fingerprint, progress

Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]


class Record(pydantic.BaseModel):
    """A record written to the store as canonical JSON."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    def encode(self) -> bytes:
        """Return the record's bytes; equal records have equal bytes."""
        return fingerprint.canonical(self.model_dump(mode="json"))


class ObjectRef(Record):
    """An object and what its content must be. `path` names a file on a volume instead of a key."""

    key: str = ""
    path: str = ""
    sha256: Sha256
    size: int


class ArtifactRef(Record):
    """A committed stage: the key of its manifest, the manifest's digest, and its content's identity.

    `content` is the digest of the objects alone, whenever and wherever they were made; fingerprints
    of later stages use it.
    """

    key: str
    sha256: Sha256
    content: str = ""


class Counts(Record):
    """What went in and came out. Units are rows, or samples asked for where a stage multiplies."""

    rows_in: int
    rows_out: int
    rejected: dict[str, int] = {}
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro_usd: int = 0

    @pydantic.model_validator(mode="after")
    def check_conservation(self) -> Counts:
        """Refuse counts that lose or invent a row."""
        if self.rows_in != self.rows_out + sum(self.rejected.values()):
            raise ValueError(
                f"rows are not conserved: {self.rows_in} in, {self.rows_out} out, rejected {self.rejected}"
            )
        return self

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            rows_in=self.rows_in + other.rows_in,
            rows_out=self.rows_out + other.rows_out,
            rejected=progress.merge(self.rejected, other.rejected),
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost_micro_usd=self.cost_micro_usd + other.cost_micro_usd,
        )


NO_COUNTS = Counts(rows_in=0, rows_out=0)


class Receipt(Record):
    """Makes a chunk exist. `first` to `last` (exclusive) are the rows of the stage's input.

    `objects` maps names inside the artifact to objects: "rows" and "rejects" of a table, or the
    files of a model or dataset. `facts` holds what the stage measured (gates, training figures).
    """

    fingerprint: Sha256
    chunk: int
    first: int
    last: int
    counts: Counts
    objects: dict[str, ObjectRef]
    facts: dict[str, Any] = {}
    started: float
    finished: float


class ShardManifest(Record):
    """Makes a shard exist: the receipts of all its chunks, in order."""

    fingerprint: Sha256
    shard: int
    shards: int
    receipts: tuple[Receipt, ...]
    engine: dict[str, str] = {}
    started: float
    finished: float


class StageManifest(Record):
    """Makes an artifact exist: all chunks of a stage, in order, and where they came from."""

    node: str
    stage: str
    stage_version: int
    generator: str = ""
    kind: str
    fingerprint: Sha256
    inputs: dict[str, ArtifactRef]
    parameters: dict[str, Any]
    engine: dict[str, str]
    receipts: tuple[Receipt, ...]
    counts: Counts
    started: float
    finished: float
    worker_seconds: float

    def objects(self, name: str) -> list[ObjectRef]:
        """Return the objects of this name, in chunk order."""
        return [receipt.objects[name] for receipt in self.receipts if name in receipt.objects]

    def content(self) -> str:
        """Return the identity of what the artifact holds: the digests of its objects, by name."""
        return fingerprint.digest(
            [{name: ref.sha256 for name, ref in receipt.objects.items()} for receipt in self.receipts]
        )

    def facts(self) -> dict[str, Any]:
        """Return what the stage measured; later chunks win."""
        return {name: fact for receipt in self.receipts for name, fact in receipt.facts.items()}


class CacheEntry(Record):
    """Points from a fingerprint to an artifact of any earlier run in the bucket."""

    fingerprint: Sha256
    artifact: ArtifactRef


class ArtifactKeys:
    """Every key of one stage of one run. Nothing else builds keys."""

    def __init__(self, run_uid: str, node: str, stage_fingerprint: str) -> None:
        self._root = f"runs/{run_uid}/{node}/{stage_fingerprint[:16]}"

    def _shard(self, shard: int) -> str:
        return f"{self._root}/shard={shard:04d}"

    def receipts(self, shard: int) -> str:
        """Return the prefix under which a shard's receipts are, for adopting those of earlier attempts."""
        return f"{self._shard(shard)}/receipt/"

    def receipt(self, shard: int, chunk: int, attempt: str) -> str:
        """Return the key of a chunk's receipt."""
        return f"{self.receipts(shard)}{chunk:06d}/{attempt}.json"

    def object(self, shard: int, chunk: int, attempt: str, name: str) -> str:
        """Return the key of one of a chunk's objects."""
        return f"{self._shard(shard)}/chunk={chunk:06d}/{attempt}/{name}"

    def checkpoints(self, shard: int) -> str:
        """Return the prefix of a training stage's checkpoint receipts."""
        return f"{self._shard(shard)}/checkpoint-receipt/"

    def checkpoint_receipt(self, shard: int, step: int, attempt: str) -> str:
        """Return the key of a checkpoint's receipt."""
        return f"{self.checkpoints(shard)}{step:08d}/{attempt}.json"

    def checkpoint(self, shard: int, step: int, attempt: str, name: str) -> str:
        """Return the key of one of a checkpoint's files."""
        return f"{self._shard(shard)}/checkpoint={step:08d}/{attempt}/{name}"

    def shard_manifests(self, shard: int) -> str:
        """Return the prefix of a shard's manifests, one for each attempt that finished it."""
        return f"{self._shard(shard)}/manifest/"

    def shard_manifest(self, shard: int, attempt: str) -> str:
        """Return the key of a shard's manifest."""
        return f"{self.shard_manifests(shard)}{attempt}.json"

    def stage_manifest(self, sha256: str) -> str:
        """Return the key of the stage's manifest."""
        return f"{self._root}/stage-{sha256}.json"

    def all_progress(self) -> str:
        """Return the prefix of the progress records of all shards."""
        return f"{self._root}/progress/"

    def progress(self, shard: int, attempt: str) -> str:
        """Return the key of a worker's progress record."""
        return f"{self.all_progress()}shard={shard:04d}/{attempt}.json"


def order_key(run_uid: str, node: str, sha256: str) -> str:
    """Return the key of an order."""
    return f"runs/{run_uid}/{node}/orders/{sha256}.json"


def cache_key(stage_fingerprint: str) -> str:
    """Return the key of a cache entry."""
    return f"cache/{stage_fingerprint}.json"
