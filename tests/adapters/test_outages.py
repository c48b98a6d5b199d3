"""What an informer and a lease make of a real API server that hangs, dies and comes back."""

import threading
import time
from collections.abc import Iterator

import kubernetes.client
import pytest

from adapters import kubernetes_worlds
from adapters.kubernetes_worlds import Plane, RealWorld, lease
from cluster.lab import waiting
from scalequest_operator import cluster_client
from scalequest_operator.cluster import LEASES
from scalequest_operator.lease import Lease, Terms
from scalequest_operator.watch import Informer, Subject, Timing

pytestmark = pytest.mark.cluster


@pytest.fixture
def world(plane: Plane) -> RealWorld:
    return kubernetes_worlds.RealWorld(plane)


@pytest.fixture
def impatient(plane: Plane) -> Iterator[cluster_client.ClusterClient]:
    """Lend a client that takes two seconds of silence for the end."""
    configuration: kubernetes.client.Configuration = plane.api._client.configuration
    client = cluster_client.ClusterClient(configuration, read_seconds=2, watch_grace_seconds=1)
    yield client
    client.close()


@pytest.fixture
def informer(world: RealWorld, impatient: cluster_client.ClusterClient) -> Iterator[Informer[str]]:
    world.api.create(LEASES, world.namespace, lease("kept"))
    subject = Subject(
        resource=LEASES,
        namespaces=[world.namespace],
        label_selector="",
        digest=lambda body: str(body["metadata"]["name"]),
        owner=lambda _: "all",
        on_change=lambda old, new: deleted.append(old) if new is None and old is not None else None,
    )
    deleted: list[str] = []
    informer = Informer(impatient, subject, timing=Timing(watch_seconds=1, max_backoff_seconds=1))
    informer.start()
    waiting.until(lambda: informer.synced, "the first list", seconds=10)
    yield informer
    informer.stop()
    assert deleted == [], "nothing is taken for deleted because the server was away"


def test_an_informer_notices_silence_and_goes_on_after_it(
    plane: Plane, world: RealWorld, informer: Informer[str]
) -> None:
    plane.cluster.pause("kube-apiserver")
    try:
        waiting.until(lambda: informer.age_seconds > 4, "silence", seconds=20)
    finally:
        plane.cluster.resume("kube-apiserver")
    waiting.until(lambda: informer.age_seconds < 2, "a sign of life", seconds=20)
    world.api.create(LEASES, world.namespace, lease("new"))
    waiting.until(lambda: informer.views("all") == ("kept", "new"), "what came after", seconds=10)


def test_an_informer_survives_the_death_of_the_api_server(
    plane: Plane, world: RealWorld, informer: Informer[str]
) -> None:
    plane.cluster.stop("kube-apiserver")
    waiting.until(lambda: informer.age_seconds > 3, "silence", seconds=20)
    assert informer.views("all") == ("kept",)
    plane.cluster.start("kube-apiserver")
    world.api.create(LEASES, world.namespace, lease("new"))
    waiting.until(lambda: informer.views("all") == ("kept", "new"), "what came after", seconds=20)


def test_a_holder_that_cannot_reach_the_api_server_ends_before_another_may_begin(
    plane: Plane, world: RealWorld
) -> None:
    lost, ended = [], threading.Event()

    def end(why: str) -> None:
        lost.append(why)
        ended.set()

    terms = Terms(duration_seconds=4, deadline_seconds=2.0, retry_seconds=0.5)
    holder = Lease(
        world.api, namespace=world.namespace, name="leader", identity="first", on_lost=end, terms=terms
    )
    assert holder.acquire(threading.Event())
    holder.start_renewing()
    plane.cluster.stop("kube-apiserver")
    begun = time.monotonic()
    try:
        assert ended.wait(10)
        assert time.monotonic() - begun < terms.duration_seconds
    finally:
        plane.cluster.start("kube-apiserver")
    assert "held by nobody else yet" in lost[0]
    second = Lease(
        world.api, namespace=world.namespace, name="leader", identity="second", on_lost=end, terms=terms
    )
    assert second.acquire(threading.Event())
