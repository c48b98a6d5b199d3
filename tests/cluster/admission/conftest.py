"""One API server, with the CRD, for all tests of admission."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.admission import corpus, server
from cluster.lab import cluster, kubectl, waiting
from scalequest_jobs.contract import crd

ROOT = Path(__file__).resolve().parents[3]


def serves_runs(ask: kubectl.Kubectl) -> bool:
    """Tell whether a new CRD has taken effect, which takes a moment."""
    try:
        ask("get", f"{crd.PLURAL}.{crd.GROUP}")
    except kubectl.KubectlError:
        return False
    return True


@pytest.fixture(scope="session")
def lab() -> Iterator[cluster.Cluster]:
    template = cluster.Cluster(name="", num_nodes=0, has_object_store=False)
    with cluster.temporary("admission", template) as running:
        running.kubectl("apply", "--server-side", "--filename", str(ROOT / "crds"))
        waiting.until(lambda: serves_runs(running.kubectl), "the API server to serve runs")
        yield running


@pytest.fixture(scope="session")
def admission(lab: cluster.Cluster) -> Iterator[server.Admission]:
    asked = server.Admission(str(lab.layout.kubeconfig))
    yield asked
    asked.close()


@pytest.fixture(scope="session")
def stored(admission: server.Admission) -> dict[str, Any]:
    """Return a run as the API server stored it."""
    answer = admission.create(corpus.kept(), dry_run=False)
    assert answer.stored, answer.refusals
    return answer.stored
