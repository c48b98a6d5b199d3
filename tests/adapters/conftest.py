"""Fixtures of the suites that run over the fake Kubernetes and over a real one."""

from collections.abc import Iterator

import pytest

from adapters import kubernetes_worlds


@pytest.fixture(scope="session")
def plane() -> Iterator[kubernetes_worlds.Plane]:
    with kubernetes_worlds.running_plane() as running:
        yield running


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def world(request: pytest.FixtureRequest) -> kubernetes_worlds.World:
    """A namespace of the fake, and of a real control plane."""
    if request.param == "fake":
        return kubernetes_worlds.FakeWorld(blocking=True)
    return kubernetes_worlds.RealWorld(request.getfixturevalue("plane"))
