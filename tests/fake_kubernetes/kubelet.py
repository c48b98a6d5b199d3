"""A node's life with a pod, one explicit step at a time: bind, run, end, evict.

It speaks to any `cluster.KubeApi` as an administrator, so the same steps drive pods of the fake and of a real control plane.
"""

from collections.abc import Callable
from typing import Any, Protocol

from fake_kubernetes import wire
from fake_kubernetes.store import Place, Store, timestamp
from scalequest_operator import cluster

NODE = "node-1"


class Doors(Protocol):
    """What a scheduler and a kubelet may do, and an operator may not."""

    def bind(self, pod: cluster.Body, node: str) -> None:
        """Put a pod on a node."""

    def remove(self, pod: cluster.Body) -> None:
        """Say that a pod's containers are gone: a delete without grace."""

    def delete(self, pod: cluster.Body) -> None:
        """Ask for a pod's end: a delete with its own grace."""


class StoreDoors:
    """The doors of the fake."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def bind(self, pod: cluster.Body, node: str) -> None:
        self._store.update(_place(pod), lambda body: body["spec"].update(nodeName=node))

    def remove(self, pod: cluster.Body) -> None:
        self._store.delete(_place(pod), uid=pod["metadata"]["uid"], grace_seconds=0)

    def delete(self, pod: cluster.Body) -> None:
        self._store.delete(_place(pod), uid=pod["metadata"]["uid"])


class Kubelet:
    """Runs pods by hand. Each step takes a pod by name, reads it, and writes what a node would write."""

    def __init__(
        self, api: cluster.KubeApi, doors: Doors, *, wall: Callable[[], float], namespace: str = "default"
    ) -> None:
        self._api = api
        self._doors = doors
        self._wall = wall
        self._namespace = namespace

    def pod(self, name: str) -> cluster.Body:
        return self._api.get(cluster.PODS, self._namespace, name)

    def pods(self, job: str) -> list[cluster.Body]:
        """Return the pods of a Job, by index."""
        selector = f"batch.kubernetes.io/job-name={job}"
        found = self._api.list(cluster.PODS, self._namespace, label_selector=selector).items
        return sorted(found, key=lambda pod: (_index(pod), pod["metadata"]["creationTimestamp"]))

    def bind(self, name: str, node: str = NODE) -> None:
        """Schedule a pod: from now on its devices are held."""
        self._doors.bind(self.pod(name), node)
        self._write(name, lambda status: self._set_condition(status, "PodScheduled", "True"))

    def refuse(self, name: str, message: str) -> None:
        """Leave a pod pending: no node fits."""
        self._write(
            name,
            lambda status: self._set_condition(
                status, "PodScheduled", "False", reason="Unschedulable", message=message
            ),
        )

    def wait(self, name: str, reason: str, message: str = "") -> None:
        """Let a bound pod's containers wait, for example for an image: ErrImagePull."""
        waiting = {"waiting": {"reason": reason, "message": message}}
        self._write(name, lambda status: status.update(containerStatuses=self._containers(name, waiting)))

    def run(self, name: str) -> None:
        """Start a pod's containers, on a node of its own choice where it has none yet."""
        if not self.pod(name)["spec"].get("nodeName"):
            self.bind(name)
        running = {"running": {"startedAt": timestamp(self._wall())}}

        def start(status: dict[str, Any]) -> None:
            status["phase"] = "Running"
            status.setdefault("startTime", timestamp(self._wall()))
            status["containerStatuses"] = self._containers(name, running, ready=True)
            self._set_condition(status, "Ready", "True")

        self._write(name, start)

    def finish(self, name: str, exit_code: int = 0, *, message: str = "", reason: str = "") -> None:
        """End a pod's containers. A pod that was asked to end goes, once its finalizers let it."""
        if self.pod(name)["status"]["phase"] == "Pending":
            self.run(name)
        ended = {
            "exitCode": exit_code,
            "reason": reason or ("Completed" if exit_code == 0 else "Error"),
            "message": message,
            "startedAt": self.pod(name)["status"]["startTime"],
            "finishedAt": timestamp(self._wall()),
        }

        def end(status: dict[str, Any]) -> None:
            status["phase"] = "Failed" if exit_code else "Succeeded"
            status["containerStatuses"] = self._containers(name, {"terminated": ended})
            self._set_condition(status, "Ready", "False")

        self._write(name, end)
        if "deletionTimestamp" in (pod := self.pod(name))["metadata"]:
            self._doors.remove(pod)

    def disrupt(self, name: str, reason: str = "EvictionByEvictionAPI") -> None:
        """Ask for a pod's end as an eviction, a preemption or a taint does; `finish` it then, unless its node is lost."""
        self._write(
            name,
            lambda status: self._set_condition(
                status, "DisruptionTarget", "True", reason=reason, message="disrupted"
            ),
        )
        self._doors.delete(self.pod(name))

    def delete(self, name: str) -> None:
        """Ask for a pod's end by hand."""
        self._doors.delete(self.pod(name))

    def delete_by_force(self, name: str) -> None:
        """Delete a pod without asking its node."""
        self._doors.remove(self.pod(name))

    def _write(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        status = wire.copied(self.pod(name)["status"])
        change(status)
        operation = {"op": "replace", "path": "/status", "value": status}
        self._api.patch(cluster.PODS, self._namespace, name, [operation], subresource="status")

    def _containers(self, name: str, state: dict[str, Any], *, ready: bool = False) -> list[dict[str, Any]]:
        return [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "ready": ready,
                "restartCount": 0,
                "state": state,
            }
            for container in self.pod(name)["spec"]["containers"]
        ]

    def _set_condition(self, status: dict[str, Any], kind: str, value: str, **more: str) -> None:
        kept = [each for each in status.get("conditions", []) if each["type"] != kind]
        new = {"type": kind, "status": value, "lastTransitionTime": timestamp(self._wall()), **more}
        status["conditions"] = [*kept, new]


def _place(pod: cluster.Body) -> Place:
    metadata = pod["metadata"]
    return Place(plural="pods", namespace=metadata["namespace"], name=metadata["name"])


def _index(pod: cluster.Body) -> int:
    return int(pod["metadata"].get("annotations", {}).get("batch.kubernetes.io/job-completion-index", -1))
