"""What tests do with runs on a cluster: submit, look, wait, and read what the workers committed."""

import contextlib
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.installation import Installation
from cluster.lab import waiting
from scalequest_jobs.contract import names
from scalequest_jobs.contract.artifact import ShardManifest, StageManifest
from scalequest_jobs.contract.status import ConditionType, RunStatus, StageState, StageStatus
from scalequest_jobs.execution import reading
from scalequest_jobs.ports import ArtifactStore
from scalequest_jobs.stores.address import open_store
from scalequest_operator import cluster, errors
from scalequest_operator.cluster_client import ClusterClient, connect

Body = dict[str, Any]


def tiny_spec(
    questions: int, *, shards: int = 3, chunk_rows: int = 4, profile: str = "default", **more: Any
) -> Body:
    """Return a spec of nine stages; runs that differ in `questions` share what comes before them by the cache."""
    return {
        "storage": {"bucket": "scalequest"},
        "seedQuestions": {"path": "tiny_world/seeds.jsonl", "column": "question", "maxRows": 40},
        "models": {"writer": {"path": "tiny_world/models/writer-a"}},
        "generators": [{"name": "a", "model": "writer", "questions": questions}],
        "fineTuning": {"enabled": False},
        "filters": {
            "solvability": {"model": "writer"},
            "duplicates": {"method": "minhash", "threshold": 0.95},
        },
        "responses": {"model": "writer", "candidates": 2},
        "compute": {
            "profile": profile,
            "stages": {"generate-questions": {"shards": shards, "chunkRows": chunk_rows}},
        },
        **more,
    }


@dataclass(kw_only=True)
class Runs:
    """The runs of one namespace."""

    installation: Installation

    def submit(self, name: str, spec: Mapping[str, Any]) -> None:
        """Create a run."""
        self.installation.cluster.kubectl.apply(
            {
                "apiVersion": "scalequest.io/v1alpha1",
                "kind": "ScaleQuestRun",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": spec,
            }
        )

    @property
    def namespace(self) -> str:
        return self.installation.namespace

    def kubectl(self, *arguments: str) -> str:
        return self.installation.cluster.kubectl(*arguments, f"--namespace={self.namespace}")

    @functools.cached_property
    def api(self) -> ClusterClient:
        """The API server, without a process for every look."""
        return connect(kubeconfig=str(self.installation.cluster.layout.kubeconfig))

    def body(self, name: str) -> Body:
        return self.api.get(cluster.RUNS, self.namespace, name)

    def status(self, name: str) -> RunStatus:
        return RunStatus.model_validate(self.body(name).get("status") or {})

    def stage(self, name: str, stage: str) -> StageStatus:
        return self.status(name).stage_of(stage)

    def jobs(self, name: str, stage: str = "") -> list[Body]:
        """Return a run's Jobs, by age, those of one kind of stage if named."""
        return self._owned(cluster.JOBS, name, stage)

    def pods(self, name: str, stage: str = "") -> list[Body]:
        """Return a run's pods, by age, those of one kind of stage if named."""
        return self._owned(cluster.PODS, name, stage)

    def _owned(self, resource: cluster.Resource, name: str, stage: str) -> list[Body]:
        selector = f"{names.Label.RUN}={name}" + (f",{names.Label.STAGE}={stage}" if stage else "")
        found = self.api.list(resource, self.namespace, label_selector=selector).items
        return sorted(found, key=lambda body: body["metadata"]["creationTimestamp"])

    def wait(
        self, name: str, holds: Callable[[RunStatus], bool], what: str, *, seconds: float = 120
    ) -> RunStatus:
        """Wait until a run's status is as `holds` says, and return it; the failure shows the whole status."""
        last = RunStatus()

        def look() -> bool:
            nonlocal last
            with contextlib.suppress(errors.UnavailableError):  # an outage is part of some tests
                last = self.status(name)
            return holds(last)

        try:
            waiting.until(look, what, seconds=seconds)
        except waiting.NotInTimeError as error:
            events = self.kubectl("get", "events", "--sort-by=.lastTimestamp")
            shown = json.dumps(last.body(), indent=1)
            raise AssertionError(f"{error}; the status:\n{shown}\n{events[-4000:]}") from error
        return last

    def wait_for_stage(self, name: str, stage: str, *states: StageState, seconds: float = 120) -> StageStatus:
        """Wait until a stage is in one of the states."""
        what = f"{name}: {stage} is {' or '.join(states)}"
        return self.wait(
            name, lambda status: status.stage_of(stage).state in states, what, seconds=seconds
        ).stage_of(stage)

    def wait_for_end(self, name: str, *, seconds: float = 240) -> RunStatus:
        """Wait until a run ended."""
        return self.wait(name, lambda status: status.finished is not None, f"{name} ends", seconds=seconds)

    def wait_for_pods(self, name: str, stage: str, number: int = 1, *, seconds: float = 60) -> list[Body]:
        """Wait until pods of a stage run, and return them."""

        def running() -> list[Body]:
            return [pod for pod in self.pods(name, stage) if is_running(pod)]

        waiting.until(
            lambda: len(running()) >= number, f"{name}: {number} pods of {stage} run", seconds=seconds
        )
        return running()

    def wait_for_chunks(self, name: str, stage: str, number: int = 1, *, seconds: float = 90) -> None:
        """Wait until a stage's workers committed chunks."""
        uid = self.body(name)["metadata"]["uid"]
        store = self.store()
        prefix = f"runs/{uid}/{stage}/"
        waiting.until(
            lambda: sum("/receipt/" in key for key in store.keys(prefix)) >= number,
            f"{name}: {stage} committed {number} chunks",
            seconds=seconds,
        )

    def delete(self, name: str, *, wait: bool = True) -> None:
        """Delete a run."""
        self.kubectl("delete", "scalequestrun", name, f"--wait={str(wait).lower()}", "--timeout=180s")

    def patch(self, name: str, spec: Mapping[str, Any]) -> None:
        """Change fields of a run's spec."""
        self.kubectl("patch", "scalequestrun", name, "--type=merge", f"--patch={json.dumps({'spec': spec})}")

    def store(self) -> ArtifactStore:
        """Open the bucket."""
        server = self.installation.cluster.s3
        return open_store(f"s3+{server.endpoint}/scalequest", credentials=server.access_key_file.parent)

    def manifest(self, name: str, stage: str) -> StageManifest:
        """Return a committed stage's manifest, its digest checked."""
        artifact = self.stage(name, stage).artifact
        assert artifact is not None, f"{name}: {stage} is not committed"
        return reading.read_manifest(self.store(), artifact.ref())

    def attempts(self, name: str, stage: str) -> set[str]:
        """Return the UIDs of the pods whose chunks a committed stage consists of."""
        keys = [
            ref.key for receipt in self.manifest(name, stage).receipts for ref in receipt.objects.values()
        ]
        return {key.split("/")[-2].rpartition("-")[0] for key in keys}

    def shard_manifests(self, name: str, stage: str) -> list[ShardManifest]:
        """Return every shard manifest that a worker of a stage left."""
        uid = self.body(name)["metadata"]["uid"]
        store = self.store()
        keys = [key for key in store.keys(f"runs/{uid}/{stage}/") if "/manifest/" in key]
        return [ShardManifest.model_validate_json(store.get(key)) for key in keys]

    def wait_for_events(self, name: str, *reasons: str) -> None:
        """Wait until a run has events of all these reasons: they are created after the status is written."""
        about = f"involvedObject.uid={self.body(name)['metadata']['uid']}"

        def are_told() -> bool:
            events = self.api.list(cluster.EVENTS, self.namespace, field_selector=about).items
            return {event["reason"] for event in events} >= set(reasons)

        waiting.until(are_told, f"{name}: events {', '.join(reasons)}", seconds=30)


def is_running(pod: Body) -> bool:
    """Tell whether a pod's worker runs and nobody asked it to end."""
    statuses = pod["status"].get("containerStatuses") or []
    started = any("running" in status["state"] for status in statuses)
    return started and "deletionTimestamp" not in pod["metadata"]


def condition(status: RunStatus, kind: ConditionType) -> tuple[str, str]:
    """Return a condition's status and reason."""
    found = status.condition(kind)
    return (found.status, found.reason) if found else ("", "")
