"""How tests are spread over workers (`pytest -n 2`): clusters wait, engines work, so they go side by side."""

from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

# Tests prove facts, benchmarks measure: on a busy machine an example may take its time.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")

_ON_THE_CLUSTER = "tests/cluster/"
_LONG = ("demo", "engine", "schedules", "cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that no worker is left with one of them at the end."""

    def rank(item: pytest.Item) -> int:
        if item.nodeid.startswith(_ON_THE_CLUSTER):
            return -1
        needs = {mark.name for mark in item.iter_markers()}
        return next((place for place, name in enumerate(_LONG) if name in needs), len(_LONG))

    items.sort(key=rank)


class ByFileAndCluster(LoadFileScheduling):
    """Each file goes to the next free worker, and all that shares the cluster to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return _ON_THE_CLUSTER if file.startswith(_ON_THE_CLUSTER) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFileAndCluster:
    """Replace pytest-xdist's own choice."""
    return ByFileAndCluster(config, log)
