"""What is put on the control plane: runs, and for comparison bare Jobs of the same shape."""

import concurrent.futures
import copy
from collections.abc import Iterable
from typing import Any, Final

from scalequest_jobs.contract import names, run
from scalequest_operator import cluster

STAGES: Final = ("generate-responses", "score-responses", "select-responses", "publish-dataset")
"""The stages in which runs differ; what comes before them is in the cache."""


def run_body(name: str, namespace: str, temperature: float) -> cluster.Body:
    """Return a run; those that differ in temperature share all stages but STAGES."""
    spec = {
        "storage": {"bucket": "scalequest"},
        "seedQuestions": {"path": "tiny_world/seeds.jsonl", "column": "question"},
        "models": {"writer": {"path": "tiny_world/models/writer-a"}},
        "generators": [{"name": "a", "model": "writer", "questions": 60}],
        "fineTuning": None,
        "filters": {"solvability": {"model": "writer"}},
        "responses": {"model": "writer", "candidates": 2, "temperature": temperature},
        "selection": {"method": "majority-then-reward", "model": "writer"},
    }
    return {
        "apiVersion": run.API_VERSION,
        "kind": run.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def bare_job(job: cluster.Body, name: str) -> cluster.Body:
    """Return a Job of the same shape, with the same order, that belongs to no run."""
    spec = copy.deepcopy(job["spec"])
    for made in ("selector", "manualSelector"):
        spec.pop(made, None)
    labels = {
        names.Label.RUN.value: "bare",
        names.Label.RUN_UID.value: job["metadata"]["labels"][names.Label.RUN_UID],
    }
    annotations = {
        annotation.value: job["metadata"]["annotations"][annotation] for annotation in names.Annotation
    }
    spec["template"]["metadata"] = {"labels": labels, "annotations": annotations}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": job["metadata"]["namespace"],
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    }


def create(api: cluster.KubeApi, resource: cluster.Resource, bodies: Iterable[cluster.Body]) -> None:
    """Create objects as fast as a client with eight connections can."""

    def one(body: cluster.Body) -> Any:
        return api.create(resource, body["metadata"]["namespace"], body)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, bodies))
