"""What a stage is given: its parameters, its inputs, engines, and the means to commit chunks."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import NO_COUNTS, Counts, StageManifest
from scalequest_jobs.contract.stage import Order, Parameters
from scalequest_jobs.domains.base import Domain
from scalequest_jobs.execution import models, reading
from scalequest_jobs.execution.checkpoints import CheckpointLog
from scalequest_jobs.execution.chunks import Chunk, Outcome, ShardLog, plan_chunks
from scalequest_jobs.execution.reporting import Reporter

P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker's surroundings give it: folders and mounted secrets.

    `volumes` is the folder that relative volume paths start from.
    """

    cache: Path
    volumes: Path = Path()
    api_key_file: Path | None = None
    hub_endpoint: str | None = None
    hub_token_file: Path | None = None


@dataclass(kw_only=True)
class StageContext(Generic[P]):
    """One shard of one stage at work."""

    order: Order
    parameters: P
    domain: Domain
    shard: int
    store: ports.ArtifactStore
    engines: ports.Engines
    settings: WorkerSettings
    log: ShardLog
    checkpoints: CheckpointLog
    reporter: Reporter
    scratch: Path
    stop: threading.Event = field(default_factory=threading.Event)
    engine: dict[str, str] = field(default_factory=dict)
    chunks: tuple[Chunk, ...] = ()
    adopted: Counts = NO_COUNTS

    # --- inputs

    def manifest(self, name: str) -> StageManifest:
        """Return the manifest of an input."""
        return reading.read_manifest(self.store, self.order.inputs[name])

    def reader(self, name: str) -> reading.TableReader:
        """Return the rows of an input table, to be read by range."""
        return reading.TableReader(self.store, self.manifest(name))

    def table(self, name: str) -> pa.Table:
        """Return all rows of an input table."""
        return self.reader(name).table()

    def inputs(self, prefix: str) -> dict[str, str]:
        """Return the inputs named `prefix:WHICH`, as WHICH to input name, in the order given."""
        start = f"{prefix}:"
        return {name.removeprefix(start): name for name in self.order.inputs if name.startswith(start)}

    def model(self, name: str) -> Path:
        """Return a folder with an input model's files, each verified."""
        manifest = self.manifest(name)
        self.reporter.activity(f"fetching the model of {manifest.node}")
        return models.materialise(self.store, manifest, self.settings.cache, check_stop=self.check_stop)

    def generator(self, name: str) -> ports.TextGenerator:
        """Load an input model as bulk generator."""
        folder = self.model(name)
        self.reporter.activity(f"loading the model of {self.manifest(name).node}")
        generator = self.engines.generator(folder)
        self.engine.update(generator.identity)
        self.reporter.activity("generating")
        return generator

    def seed(self, *parts: str | int) -> int:
        """Return a 63-bit seed for a part of this stage; no two parts of a run share one."""
        return fingerprint.seed(self.order.seed, self.order.stage, self.order.generator, *parts)

    # --- work

    def begin(self, total: int, *, fan_out: int = 1) -> None:
        """Lay out this shard's chunks over `total` input rows and adopt what earlier attempts did.

        `fan_out` is how many units each row counts for: the samples asked of it.
        """
        self.chunks = plan_chunks(total, self.order.chunk_rows, self.shard, self.order.shards)
        self.adopted = sum((receipt.counts for receipt in self.log.adopt(self.chunks)), NO_COUNTS)
        self.reporter.begin(fan_out * sum(len(chunk) for chunk in self.chunks), self.adopted)

    def pending(self) -> Iterator[Chunk]:
        """Yield the chunks that are left to do.

        Raises:
            StoppedError: before the next chunk, when the worker was asked to stop.
        """
        for chunk in self.chunks:
            if not self.log.is_committed(chunk):
                self.check_stop()
                yield chunk

    def check_stop(self) -> None:
        """Raise StoppedError when the worker was asked to stop."""
        if self.stop.is_set():
            raise ports.StoppedError(
                "stopped as asked; finished chunks are committed and a rerun goes on from them"
            )

    def commit(self, chunk: Chunk, outcome: Outcome) -> Counts:
        """Make a chunk exist and count it."""
        counts = self.log.commit(chunk, outcome).counts
        self.reporter.committed(counts)
        return counts

    def commit_whole(self, outcome: Outcome) -> None:
        """Commit a stage that is one chunk."""
        (chunk,) = self.chunks
        self.commit(chunk, outcome)


def rows_table(rows: Sequence[dict[str, object]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of exactly this schema."""
    return pa.Table.from_pylist(list(rows), schema=schema)
