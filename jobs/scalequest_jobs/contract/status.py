"""What a run's status says: facts that cannot be observed again, and a summary for people.

At most MAX_STATUS_BYTES by construction (`fit`): whatever there is one of per record, chunk or shard lives in the bucket.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Final

import pydantic

from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.base import SpecModel

MAX_STATUS_BYTES: Final = 64 * 1024
MAX_REASONS: Final = 12
MAX_MESSAGE: Final = 1024
MAX_COUNTED: Final = 256


def rfc3339(moment: dt.datetime) -> str:
    """Return a moment as Kubernetes writes it: UTC, whole seconds."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Message = Annotated[str, pydantic.Field(max_length=MAX_MESSAGE)]
Name = Annotated[str, pydantic.Field(max_length=80)]
Digest = Annotated[str, pydantic.Field(max_length=64)]
Moment = Annotated[dt.datetime, pydantic.PlainSerializer(rfc3339, return_type=str)]


class StageState(StrEnum):
    """Where a stage stands."""

    WAITING = "Waiting"
    """For the stages before it."""
    STARTING = "Starting"
    """Its Job is about to be created, or was just now."""
    PENDING = "Pending"
    """Its Job exists and no pod runs yet."""
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    """Its artifact is committed."""
    FAILED = "Failed"

    @property
    def is_active(self) -> bool:
        """Whether a Job of the stage may exist."""
        return self in (StageState.STARTING, StageState.PENDING, StageState.RUNNING, StageState.SUSPENDED)

    @property
    def is_final(self) -> bool:
        """Whether nothing can change it."""
        return self in (StageState.SUCCEEDED, StageState.FAILED)


class Phase(StrEnum):
    """A run in one word, for people; nothing is decided by it."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    FAILING = "Failing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"


class ConditionType(StrEnum):
    """What is said of a run, each true, false or unknown, with a reason."""

    ACCEPTED = "Accepted"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    DEGRADED = "Degraded"
    COMPLETED = "Completed"
    FAILED = "Failed"


class Condition(SpecModel):
    """One aspect of a run, as the Kubernetes API conventions define it."""

    type: Name
    """Accepted, Running, Suspended, Degraded, Completed or Failed."""
    status: Annotated[str, pydantic.Field(pattern="^(True|False|Unknown)$", max_length=7)]
    """True, False or Unknown."""
    reason: Annotated[str, pydantic.Field(pattern="^[A-Za-z]+$", max_length=64)]
    """Why, in one word."""
    message: Message = ""
    """Why, in words."""
    observed_generation: int = 0
    """The generation of the spec that this was said of."""
    last_transition_time: Moment
    """When the status last changed."""


class Artifact(SpecModel):
    """A committed artifact: the key and sha256 of its manifest, and the digest of its content."""

    key: Annotated[str, pydantic.Field(max_length=1024)]
    """Key of the manifest in the bucket."""
    sha256: Digest
    """sha256 of the manifest."""
    content: Digest = ""
    """sha256 of what the manifest lists: equal content, equal digest."""

    def ref(self) -> ArtifactRef:
        """Return the reference that orders carry."""
        return ArtifactRef(key=self.key, sha256=self.sha256, content=self.content)


class Shards(SpecModel):
    """How many shards a stage has and which are done, as index ranges: `0-3,5`."""

    total: int
    """How many there are."""
    committed: Annotated[str, pydantic.Field(max_length=4096)] = ""
    """Those that are done, as index ranges."""
    running: int = 0
    """How many have a running pod."""


class StageProgress(SpecModel):
    """What the stage's workers reported last, added up."""

    rows_total: int = 0
    """Rows to do."""
    rows_done: int = 0
    """Rows done."""
    rows_per_second: Annotated[str, pydantic.Field(max_length=24)] = ""
    """A decimal number as text: API conventions advise against floats."""
    tokens_per_second: Annotated[str, pydantic.Field(max_length=24)] = ""
    """A decimal number as text, as above."""
    eta_seconds: int | None = None
    """Seconds to the end of the stage at this rate."""
    activity: Annotated[str, pydantic.Field(max_length=200)] = ""
    """What a worker is at, in its own words."""
    updated: Moment
    """When the last report was read."""


class StageStatus(SpecModel):
    """Where one stage of a run stands."""

    name: Name
    """Stage name, with its generator, model or file: `generate-questions@qwen`."""
    state: StageState
    attempt: int = 0
    """Jobs that were made for the stage."""
    job: Annotated[str, pydantic.Field(max_length=63)] = ""
    """Name of the attempt's Job."""
    fingerprint: Digest = ""
    """Identity of the stage's result."""
    order: Digest = ""
    """Digest of the order that its workers carry out."""
    cached: bool = False
    """Whether an earlier run's artifact was taken."""
    artifact: Artifact | None = None
    shards: Shards | None = None
    rows_in: int | None = None
    """Rows that went in."""
    rows_out: int | None = None
    """Rows that came out."""
    rejected: dict[str, int] = pydantic.Field(default_factory=dict, max_length=MAX_REASONS + 1)
    """Rejected rows by reason; the rarest are added up as `other`."""
    failures: int = 0
    """Pods that failed by themselves."""
    disruptions: int = 0
    """Pods that were lost to preemption, eviction or a lost node."""
    counted: Annotated[
        tuple[Annotated[str, pydantic.Field(max_length=12)], ...], pydantic.Field(max_length=MAX_COUNTED)
    ] = ()
    """Lost and failed pods that still exist and are in the two counts: the start of their UIDs."""
    counted_more: int = 0
    """How many such pods there are besides: the oldest ones."""
    progress: StageProgress | None = None
    started: Moment | None = None
    """When its first Job was made."""
    finished: Moment | None = None
    """When it succeeded or failed."""
    message: Message = ""
    """Why it waits, or how it ended."""


class Dataset(SpecModel):
    """The published dataset."""

    name: Name
    """Its name."""
    rows: int
    """Questions with a kept answer."""
    artifact: Artifact
    """Where it is."""


class Cost(SpecModel):
    """What the run has cost so far."""

    gpu_hours: Annotated[str, pydantic.Field(max_length=24)] = ""
    """GPU-hours, a decimal number as text."""
    usd: Annotated[str, pydantic.Field(max_length=24)] = ""
    """USD, a decimal number as text."""


class RunStatus(SpecModel):
    """Where a run stands."""

    observed_generation: int = 0
    """The generation of the spec that this is about."""
    phase: Phase | None = None
    """The run in one word."""
    stage: Annotated[str, pydantic.Field(max_length=200)] = ""
    """The stages at work."""
    conditions: Annotated[tuple[Condition, ...], pydantic.Field(max_length=8)] = ()
    """What is true of the run, each with a reason."""
    stages: Annotated[tuple[StageStatus, ...], pydantic.Field(max_length=200)] = ()
    """Where each stage stands."""
    dataset: Dataset | None = None
    cost: Cost | None = None
    started: Moment | None = None
    """When the run was accepted."""
    finished: Moment | None = None
    """When the run ended, for better or worse; nothing changes after it."""

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of a type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def stage_of(self, name: str) -> StageStatus:
        """Return a stage's status; a stage that is not listed is waiting."""
        return next(
            (stage for stage in self.stages if stage.name == name),
            StageStatus(name=name, state=StageState.WAITING),
        )

    def body(self) -> dict[str, object]:
        """Return the status as Kubernetes stores it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def message(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return text from outside as one that may stand in a status or an event: printable, on one line, cut."""
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def rejected_by_reason(rejected: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons with their counts; the others are added up as `other`."""
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[MAX_REASONS:])
    return dict(ordered[:MAX_REASONS]) | ({"other": rest} if rest else {})


def ranges(indexes: Mapping[int, object] | set[int] | frozenset[int]) -> str:
    """Return indexes as Kubernetes writes those of an Indexed Job: `1,3-5,7`."""
    parts: list[list[int]] = []
    for index in sorted(indexes):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def indexes(text: str) -> frozenset[int]:
    """Return the indexes of a text of ranges."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def fit(status: RunStatus, limit: int = MAX_STATUS_BYTES) -> RunStatus:
    """Return the status, without what people can do without where it would be larger than `limit` bytes.

    Nothing that decides is ever left out: states, attempts, artifacts and counts of lost pods stay.
    """
    for shorten in _SHORTER:
        if len(status.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True)) <= limit:
            return status
        status = status.model_copy(update={"stages": tuple(shorten(stage) for stage in status.stages)})
    conditions = (
        condition.model_copy(update={"message": message(condition.message, 200)})
        for condition in status.conditions
    )
    return status.model_copy(update={"conditions": tuple(conditions)})


def _without(*fields: str) -> Callable[[StageStatus], StageStatus]:
    empty = {name: StageStatus.model_fields[name].get_default(call_default_factory=True) for name in fields}
    return lambda stage: stage.model_copy(update=empty)


def _if_final(shorten: Callable[[StageStatus], StageStatus]) -> Callable[[StageStatus], StageStatus]:
    return lambda stage: shorten(stage) if stage.state.is_final else stage


def _with_few_counted(stage: StageStatus) -> StageStatus:
    kept = stage.counted[-4:]
    more = stage.counted_more + len(stage.counted) - len(kept)
    return stage.model_copy(update={"counted": kept, "counted_more": more})


def _with_shard_numbers(stage: StageStatus) -> StageStatus:
    shards = stage.shards and stage.shards.model_copy(update={"committed": ""})
    return stage.model_copy(update={"shards": shards})


_SHORTER: Final[tuple[Callable[[StageStatus], StageStatus], ...]] = (
    _if_final(_without("rejected")),
    _without("progress"),
    lambda stage: stage.model_copy(update={"message": stage.message[:80]}),
    _without("rejected", "message"),
    _if_final(_without("fingerprint", "job", "order", "counted", "counted_more")),
    _with_few_counted,
    _with_shard_numbers,
    _if_final(_without("shards", "started")),
)
