"""Which changes of Jobs and pods make a run ready, and when."""

from pathlib import Path
from typing import Any

from fake_clock import FakeClock
from fake_kubernetes.world import NAMESPACE, World
from scalequest_jobs.contract import names
from scalequest_operator import cluster
from scalequest_operator.controller import Children
from scalequest_operator.settings import Settings
from scalequest_operator.watch import Timing
from scalequest_operator.workqueue import SETTLE_SECONDS, RunKey, WorkQueue

KEY = RunKey(namespace=NAMESPACE, name="run")


def job_body() -> dict[str, Any]:
    labels = names.labels(run="run", run_uid="uid", stage="clean-questions", role="cpu", attempt=1)
    container = {"name": "worker", "image": "none"}
    template = {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"completions": 1, "parallelism": 1, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job", "namespace": NAMESPACE, "labels": labels},
        "spec": spec | {"podReplacementPolicy": "Failed", "template": template},
    }


def test_changes_are_gathered_for_a_moment_and_the_end_of_a_job_is_looked_at_at_once() -> None:
    world, clock = World(), FakeClock()
    queue = WorkQueue(monotonic=clock.monotonic)
    children = Children(world.client(), queue, Settings(configuration=Path()), Timing())

    def ready() -> bool:
        for informer in (children.job_informer, children.pod_informer):
            informer.step()
        if (key := queue.take_ready(clock.monotonic())) is None:
            return False
        queue.done(key)
        return key == KEY

    ready()
    world.api.create(cluster.JOBS, NAMESPACE, job_body())
    world.settle()
    assert not ready()
    clock.advance(SETTLE_SECONDS)
    assert ready()
    (pod,) = world.api.list(cluster.PODS, NAMESPACE).items
    world.kubelet.run(pod["metadata"]["name"])
    assert not ready()
    world.kubelet.finish(pod["metadata"]["name"], 0)
    world.until(
        lambda: "completionTime" in world.api.get(cluster.JOBS, NAMESPACE, "job")["status"], "the end"
    )
    assert ready()
