"""What must hold of every version of every object, whatever happens."""

import json
from dataclasses import dataclass, field
from typing import Any

from fake_kubernetes.store import Change, Store
from scalequest_jobs.contract import names
from scalequest_jobs.contract.artifact import ArtifactRef, StageManifest
from scalequest_jobs.contract.status import MAX_STATUS_BYTES, RunStatus, StageState, StageStatus
from scalequest_jobs.execution import reading
from scalequest_operator import cluster
from schedules.bucket import Bucket

Key = tuple[str, str]
"""A run's UID and one of its stages."""


class BrokenError(AssertionError):
    """An invariant does not hold."""


def _is_over(job: cluster.Body) -> bool:
    conditions = job.get("status", {}).get("conditions", [])
    return any(each["type"] in {"Complete", "Failed"} and each["status"] == "True" for each in conditions)


def key_of(body: cluster.Body) -> Key:
    metadata = body["metadata"]
    return metadata["labels"][names.Label.RUN_UID], metadata["annotations"][names.Annotation.NODE]


@dataclass
class Invariants:
    """Reads every change of the store once. `is_alone`: no second operator writes, so more must hold."""

    store: Store
    bucket: Bucket
    is_alone: bool
    seen: int = 0
    status_writes: int = 0
    events: int = 0
    jobs: dict[str, cluster.Body] = field(default_factory=dict)
    statuses: dict[str, RunStatus] = field(default_factory=dict)
    orders_of: dict[tuple[str, str, int], str] = field(default_factory=dict)

    def check(self) -> None:
        """Hold what happened since the last call against every invariant."""
        for change in self.store.since(self.seen):
            self.seen = change.version
            match change.place.plural:
                case "jobs":
                    self._check_job(change)
                case "scalequestruns":
                    self._check_run(change.body)
                case "events":
                    self.events += (
                        change.before is None and change.body["source"]["component"] == names.MANAGER
                    )

    def _check_job(self, change: Change) -> None:
        body = change.body
        uid = body["metadata"]["uid"]
        if change.gone:
            self.jobs.pop(uid, None)
            return
        self.jobs[uid] = body
        if change.before is None:
            self._check_new_job(body)

    def _check_new_job(self, body: cluster.Body) -> None:
        run_uid, node = key_of(body)
        attempt = int(body["metadata"]["labels"][names.Label.ATTEMPT])
        others = [job for job in self.jobs.values() if key_of(job) == (run_uid, node) and job is not body]
        same = [job for job in others if job["metadata"]["labels"][names.Label.ATTEMPT] == str(attempt)]
        self._demand(not same, f"two Jobs for attempt {attempt} of {node}")
        status = self.statuses.get(run_uid)
        if self.is_alone and status is not None:
            stage = status.stage_of(node)
            named = (stage.attempt, stage.job) == (attempt, body["metadata"]["name"])
            self._demand(named, f"the Job {attempt} of {node} was created, the status names {stage.job!r}")
            running = [job["metadata"]["name"] for job in others if not _is_over(job)]
            self._demand(not running, f"{node}: Job {attempt} beside the unfinished {running}")

    def _check_run(self, body: cluster.Body) -> None:
        uid = body["metadata"]["uid"]
        if (raw := body.get("status")) is None:
            return
        new, old = RunStatus.model_validate(raw), self.statuses.get(uid, RunStatus())
        if new == old:
            return
        self.statuses[uid] = new
        self.status_writes += 1
        self._demand(len(json.dumps(raw)) <= MAX_STATUS_BYTES, "the status is too large")
        if old.finished is not None:
            self._check_terminal(old, new)
        for stage in new.stages:
            self._check_stage(uid, old.stage_of(stage.name), stage)

    def _check_terminal(self, old: RunStatus, new: RunStatus) -> None:
        kept = {"observed_generation": 0, "phase": None}
        self._demand(
            old.model_copy(update=kept) == new.model_copy(update=kept), "a run that had ended was changed"
        )

    def _check_stage(self, uid: str, old: StageStatus, new: StageStatus) -> None:
        where = f"{new.name}: {old.state} {old.attempt} -> {new.state} {new.attempt}"
        if old.state.is_final:
            self._demand(new.state is old.state, f"{where}: a final stage was changed")
        if old.artifact is not None:
            self._demand(new.artifact == old.artifact, f"{where}: a committed artifact was changed")
        elif new.artifact is not None:
            self._check_commit(uid, new, where)
        self._demand((new.artifact is not None) == (new.state is StageState.SUCCEEDED), f"{where}: artifact")
        self._demand(new.failures >= old.failures, f"{where}: failures were forgotten")
        self._demand(new.disruptions >= old.disruptions, f"{where}: disruptions were forgotten")
        taken_back = old.state is StageState.STARTING and new.attempt == old.attempt - 1
        in_order = new.attempt in (old.attempt, old.attempt + 1) or taken_back
        self._demand(in_order, f"{where}: attempts are not numbered in order")
        if new.attempt > old.attempt:
            going_on = [job["metadata"]["name"] for job in self.unfinished() if key_of(job)[0] == uid]
            self._demand(old.job not in going_on, f"{where}: {old.job} was given up, and it goes on")

    def _check_commit(self, uid: str, stage: StageStatus, where: str) -> None:
        """A committed artifact is whole: one manifest of the stage, every chunk once, every object as digested."""
        assert stage.artifact is not None
        was_down, self.bucket.is_down = self.bucket.is_down, False
        hook, self.bucket.on_call = self.bucket.on_call, lambda: None
        try:
            manifest = self._manifest(stage.artifact.ref())
            for receipt in manifest.receipts:
                for ref in receipt.objects.values():
                    reading.read_object(self.bucket, ref)
        finally:
            self.bucket.is_down, self.bucket.on_call = was_down, hook
        chunks = [receipt.chunk for receipt in manifest.receipts]
        self._demand(chunks == list(range(len(chunks))) and bool(chunks), f"{where}: chunks {chunks}")
        self._demand(manifest.node == stage.name, f"{where}: the artifact is of {manifest.node}")
        self._demand(stage.cached or uid in stage.artifact.key, f"{where}: taken from another run")

    def _manifest(self, ref: ArtifactRef) -> StageManifest:
        return reading.read_manifest(self.bucket, ref)

    def unfinished(self) -> list[cluster.Body]:
        """Return the Jobs that hold or want resources."""
        return [job for job in self.jobs.values() if not _is_over(job)]

    def _demand(self, holds: Any, what: str) -> None:
        if not holds:
            raise BrokenError(what)
