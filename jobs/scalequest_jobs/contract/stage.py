"""What a stage declares about itself, and one stage of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import pydantic

from scalequest_jobs.contract.artifact import ArtifactRef, Record, Sha256
from scalequest_jobs.contract.compute import EngineSpec
from scalequest_jobs.contract.run import Spec

MODEL: Final = "model"
DATASET: Final = "dataset"


class Role(StrEnum):
    """What a stage's worker needs: its image and its device."""

    CPU = "cpu"
    TRAIN = "train"
    GENERATE = "generate"
    SCORE = "score"


class Parameters(pydantic.BaseModel):
    """Parameters of a stage. All are part of its fingerprint but those named in `NOT_IDENTITY`."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset()
    """Fields that change where or how fast the work is done, never its result."""

    def identity(self) -> dict[str, Any]:
        """Return the parameters that change the data, as plain JSON values."""
        return self.model_dump(mode="json", exclude=set(self.NOT_IDENTITY))


@dataclass(frozen=True, kw_only=True)
class Node:
    """One stage of one run. `inputs` maps the stage's names for its inputs to nodes.

    The input `PREFIX:*` from `*` stands for all nodes upstream of the others (`graph.build`).
    `cacheable` is False when the parameters do not pin the result (a folder on a volume), and
    `role` replaces the stage's where an instance needs another worker.
    """

    name: str
    stage: str
    parameters: Parameters
    inputs: Mapping[str, str] = field(default_factory=dict)
    generator: str = ""
    cacheable: bool = True
    role: Role | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the method, in one light file of `stages/`.

    `output` is a table's name (`tables.TABLES`), MODEL or DATASET. `version` is raised when the
    same parameters would make different data. `nodes(spec)` are its instances in a run, none when
    the spec leaves it out. `run(context)` does the work; `context` is a `StageContext`, typed there
    because the contract knows no execution. `chunk_rows` is the default size of a chunk, 0 for one
    chunk over everything. `source` cites the paper.
    """

    name: str
    version: int
    role: Role
    output: str
    parameters: type[Parameters]
    nodes: Callable[[Spec], tuple[Node, ...]]
    run: Callable[[Any], None]
    source: str
    sharded: bool = False
    chunk_rows: int = 0


class RunIdentity(Record):
    """Which run an order belongs to."""

    name: str
    namespace: str
    uid: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9-]+$", max_length=63)]


class Order(Record):
    """The immutable task of a stage's workers; no secrets. Its key ends in its digest.

    Only `stage` to `seed` and `engine_identity` make the fingerprint; the rest does not change data.
    """

    run: RunIdentity
    node: str
    stage: str
    stage_version: int
    generator: str = ""
    domain: str
    parameters: dict[str, Any]
    inputs: dict[str, ArtifactRef]
    seed: int
    fingerprint: Sha256
    shards: int = 1
    chunk_rows: int = 0
    engine: EngineSpec = EngineSpec()


def node_name(stage: str, instance: str = "") -> str:
    """Return the name of a stage's instance: `generate-questions@qwen`, or the stage's own."""
    return f"{stage}@{instance}" if instance else stage
