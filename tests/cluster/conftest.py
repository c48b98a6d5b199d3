"""The clusters that tests share. Nothing is built or started before a test asks."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.lab import images, layout, preflight, waiting
from cluster.lab.cluster import Cluster, temporary
from cluster.lab.kubectl import Kubectl, KubectlError

CRD = layout.ROOT / "crds"
GIVEN = "SCALEQUEST_TEST_KUBECONFIG"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give a cluster with two nodes of 8 GPUs, an S3 server, the CRD and no images of ours but the base."""
    if os.environ.get(GIVEN):
        pytest.skip(f"{GIVEN} is set, and this test needs a cluster whose nodes it may kill")
    _require(num_nodes=2)
    with temporary("pytest", Cluster(name="pytest")) as running:
        _install_crd(running.kubectl)
        yield running


@pytest.fixture(scope="session")
def cluster_with_images(cluster: Cluster) -> Cluster:
    """Give the same cluster with the images of this checkout on its nodes."""
    images.build_operator()
    images.build_jobs()
    cluster.load(images.OPERATOR, images.JOBS)
    return cluster


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """Give an API server with the CRD: that of SCALEQUEST_TEST_KUBECONFIG, or a control plane without nodes."""
    given = os.environ.get(GIVEN)
    if given:
        client = Kubectl(kubeconfig=Path(given))
        _install_crd(client)
        yield client
        return
    _require(num_nodes=0)
    template = Cluster(name="pytest-control-plane", num_nodes=0, has_object_store=False)
    with temporary("pytest-control-plane", template) as running:
        _install_crd(running.kubectl)
        yield running.kubectl


def _install_crd(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--filename", str(CRD))

    def is_served() -> bool:
        with contextlib.suppress(KubectlError):
            kubectl("get", "scalequestruns", "--all-namespaces")
            return True
        return False

    waiting.until(is_served, "the API server serves ScaleQuestRuns", seconds=30)


def _require(*, num_nodes: int) -> None:
    try:
        preflight.check(num_nodes)
    except preflight.MissingError as error:
        pytest.fail(str(error), pytrace=False)
