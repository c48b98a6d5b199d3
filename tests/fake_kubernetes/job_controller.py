"""The Job controller, for Indexed Jobs with `backoffLimitPerIndex`, one explicit step at a time.

Modelled on Kubernetes 1.36; `tests/adapters/test_job_controller.py` holds it to the real one.
"""

from collections.abc import Callable
from typing import Any

from fake_kubernetes import job_parts
from fake_kubernetes.job_sync import Sync
from fake_kubernetes.store import Place, Store, moment, timestamp
from scalequest_operator import cluster


class JobController:
    """Acts on every Job when `step` is called.

    `refusal`: what the API server says to every new pod, for example a quota's words. `next_due`: the moment (wall
    time) at which time alone makes another step worth while.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.refusal = ""
        self.next_due: float | None = None

    def step(self) -> bool:
        """Bring every Job one round further; tell whether anything changed."""
        before = self._store.version
        self.next_due = None
        self._release_orphans()
        for job in self._store.all("jobs"):
            if (ended := job_parts.ended_at(job)) is not None:
                self._expire(job, moment(ended))
            else:
                self._sync(job)
        return self._store.version != before

    def settle(self) -> None:
        """Step until only time or a kubelet can change anything."""
        while self.step():
            pass

    def _sync(self, job: cluster.Body) -> None:
        sync = Sync(job=job, pods=self._pods(job), now=self._store.wall())
        sync.decide()
        for pod in sync.to_delete:
            self._store.delete(_place(pod), uid=pod["metadata"]["uid"])
        for pod in sync.to_release:
            self._release(pod)
        for body in sync.to_create:
            self._create(job, body)
        self._wake_at(sync.next_due)
        # What was just done is only counted as done by the next round, which sees it.
        status = sync.status(self._pods(job))
        self._update(_job_place(job), lambda body: body.update(status=status))

    def _pods(self, job: cluster.Body) -> list[cluster.Body]:
        uid, namespace = job["metadata"]["uid"], job["metadata"]["namespace"]
        return self._store.all("pods", namespace, where=lambda pod: _owner_uid(pod) == uid)

    def _create(self, job: cluster.Body, body: cluster.Body) -> None:
        namespace = job["metadata"]["namespace"]
        if not self.refusal:
            self._store.create(cluster.PODS, namespace, body)
            return
        self._wake_at(self._store.wall() + job_parts.FIRST_BACKOFF_SECONDS)
        if not self._has_event(job):
            self._store.create(
                cluster.EVENTS, namespace, _failed_create(job, self.refusal, self._store.wall())
            )

    def _has_event(self, job: cluster.Body) -> bool:
        events = self._store.all("events", job["metadata"]["namespace"])
        return any(event["involvedObject"]["uid"] == job["metadata"]["uid"] for event in events)

    def _expire(self, job: cluster.Body, ended: float) -> None:
        for pod in self._pods(job):
            self._release(pod)
        if (seconds := job["spec"].get("ttlSecondsAfterFinished")) is not None:
            if self._store.wall() >= ended + seconds:
                self._store.delete(_job_place(job), uid=job["metadata"]["uid"])
            else:
                self._wake_at(ended + seconds)

    def _release_orphans(self) -> None:
        known = {job["metadata"]["uid"] for job in self._store.all("jobs")}
        for pod in self._store.all("pods", where=lambda pod: _owner_uid(pod) not in {"", *known}):
            self._release(pod)

    def _release(self, pod: cluster.Body) -> None:
        def release(body: cluster.Body) -> None:
            kept = [name for name in body["metadata"].get("finalizers", []) if name != job_parts.TRACKING]
            body["metadata"]["finalizers"] = kept
            if not kept:
                del body["metadata"]["finalizers"]

        if job_parts.is_tracked(pod):
            self._update(_place(pod), release)

    def _update(self, place: Place, change: Callable[[cluster.Body], None]) -> None:
        if self._store.find(place) is not None:
            self._store.update(place, change)

    def _wake_at(self, due: float | None) -> None:
        if due is not None:
            self.next_due = due if self.next_due is None else min(self.next_due, due)


def _owner_uid(body: cluster.Body) -> str:
    for owner in body["metadata"].get("ownerReferences", []):
        if owner.get("controller"):
            return str(owner["uid"])
    return ""


def _place(pod: cluster.Body) -> Place:
    metadata = pod["metadata"]
    return Place(plural="pods", namespace=metadata["namespace"], name=metadata["name"])


def _job_place(job: cluster.Body) -> Place:
    metadata = job["metadata"]
    return Place(plural="jobs", namespace=metadata["namespace"], name=metadata["name"])


def _failed_create(job: cluster.Body, refusal: str, now: float) -> dict[str, Any]:
    metadata = job["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}."},
        "involvedObject": {
            "apiVersion": job["apiVersion"],
            "kind": job["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": "Warning",
        "reason": "FailedCreate",
        "message": f"Error creating: {refusal}",
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
        "source": {"component": "job-controller"},
        "reportingComponent": "job-controller",
    }
