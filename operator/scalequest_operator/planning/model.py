"""The values that planning works on: what was observed, what is asked of the store, what is to be done."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scalequest_jobs.contract.artifact import ArtifactRef, Counts
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.contract.status import RunStatus, StageProgress
from scalequest_operator.configuration import Profile, StoreConfiguration

# ---- observed


@dataclass(frozen=True, kw_only=True)
class JobView:
    """What matters of a Job."""

    namespace: str
    name: str
    uid: str
    run: str
    run_uid: str
    node: str
    attempt: int
    order: str = ""
    queued: bool = False
    suspended: bool = False
    active: int = 0
    ready: int = 0
    completed: str = ""
    """Completed indexes as ranges: `0-3,5`."""
    finished: Literal["", "Complete", "Failed"] = ""
    reason: str = ""
    message: str = ""
    created: dt.datetime
    deleting: bool = False
    deadline_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class PodView:
    """What matters of a pod."""

    namespace: str
    name: str
    uid: str
    run: str
    run_uid: str
    node: str
    attempt: int
    job_uid: str
    index: int
    phase: str
    machine: str = ""
    """Name of the node that it is on."""
    waiting_reason: str = ""
    waiting_message: str = ""
    unschedulable: str = ""
    """The scheduler's words, when it finds no place."""
    disruption: str = ""
    """Reason of its DisruptionTarget condition; empty when there is none."""
    exit_code: int | None = None
    ended_reason: str = ""
    """Why the container ended, in the kubelet's word: Completed, Error, OOMKilled."""
    termination: str = ""
    """The worker's last words."""
    created: dt.datetime
    deleted: dt.datetime | None = None
    """By when it was to be gone."""

    @property
    def is_over(self) -> bool:
        """Whether its containers have ended."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as the API server has it. `spec` is None where `problem` says why it cannot be carried out."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    status: RunStatus
    created: dt.datetime
    deleted: dt.datetime | None = None
    finalizers: tuple[str, ...] = ()
    spec: Spec | None = None
    problem: str = ""
    unreadable: bool = False
    """Whether there is a status that this version cannot read: it is left as it is."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the configuration says about a run: its profile and store, or why it has none."""

    profile: Profile | None = None
    store: StoreConfiguration | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything that is known when a run is planned."""

    run: RunView
    setting: Setting
    jobs: tuple[JobView, ...] = ()
    pods: tuple[PodView, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    """Names of Jobs that the API server did not take lately, with its words."""

    def job(self, name: str) -> JobView | None:
        """Return the Job of this name, if it is there."""
        return next((job for job in self.jobs if job.name == name), None)

    def pods_of(self, node: str) -> tuple[PodView, ...]:
        """Return the pods of a stage, of all attempts."""
        return tuple(pod for pod in self.pods if pod.node == node)

    def pods_of_job(self, job: JobView) -> tuple[PodView, ...]:
        """Return the pods of one attempt of a stage."""
        return tuple(pod for pod in self.pods if pod.job_uid == job.uid)


# ---- questions to the store and the API server, and their answers


@dataclass(frozen=True, kw_only=True)
class PrepareStage:
    """Is there an artifact for the order's fingerprint? If not, write the order."""

    node: str
    sha256: str
    """The order's digest."""
    order: Order = field(compare=False)
    use_cache: bool = True


@dataclass(frozen=True, kw_only=True)
class CommitStage:
    """Make the stage's artifact of its shards' manifests; those that no pod named are looked for."""

    node: str
    sha256: str
    """The digest of the order that the shards were made by."""
    kind: str
    shards: tuple[tuple[int, ArtifactRef], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConfirmGone:
    """Does the API server itself say that there is no such Job?"""

    job: str


@dataclass(frozen=True, kw_only=True)
class ReadProgress:
    """What do the workers of a stage report?"""

    node: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Explain:
    """What is the newest warning event of an object?"""

    kind: Literal["Job", "Pod"]
    name: str
    uid: str


Question = PrepareStage | CommitStage | ConfirmGone | ReadProgress | Explain


@dataclass(frozen=True, kw_only=True)
class Committed:
    """The stage's artifact is in the store."""

    artifact: ArtifactRef
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """There was none; the order is in the store."""


@dataclass(frozen=True, kw_only=True)
class ShardsMissing:
    """The artifact cannot be made: these shards have no valid manifest."""

    shards: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Gone:
    """Whether the Job is gone."""

    gone: bool


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What the workers report, None before they do."""

    progress: StageProgress | None


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The event's words, empty when there is none."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Nobody answered: the store or the API server is unreachable or refuses. `final` when trying again is useless."""

    reason: str
    message: str
    final: bool = False


Answer = Committed | Ordered | ShardsMissing | Gone | Reported | Explained | Unavailable
Facts = Mapping[Question, Answer]


# ---- actions


@dataclass(frozen=True, kw_only=True)
class CreateJob:
    """Create a Job; one of the same name that is the run's own is adopted."""

    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SuspendJob:
    """Suspend or resume a Job, with what is left of the run's deadline."""

    name: str
    uid: str
    suspend: bool
    deadline_seconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class DeleteJob:
    """Delete a Job and, in the background, its pods."""

    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class FailPod:
    """Say of a pod on a lost machine that it failed by disruption: nobody else will."""

    name: str
    uid: str
    message: str
    is_marked: bool = False
    """Whether it has a DisruptionTarget condition already: a second one would be refused."""


@dataclass(frozen=True, kw_only=True)
class SetFinalizer:
    """Add or remove the run's finalizer."""

    present: bool


@dataclass(frozen=True, kw_only=True)
class DeleteRun:
    """Delete the run itself; its artifacts stay."""


Action = CreateJob | SuspendJob | DeleteJob | FailPod | SetFinalizer | DeleteRun


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A Kubernetes Event to be told."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to ask, or what to do: the status to write first, then the actions.

    A plan with questions is not carried out: it is made again with their answers.
    """

    status: RunStatus
    questions: tuple[Question, ...] = ()
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    again_seconds: float | None = None
    """When to look again even if nothing happens; None leaves it to the periodic look."""
    keeps_status: bool = False
    """Whether the status stays as the API server has it, because it could not be read."""
