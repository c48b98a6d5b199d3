"""The order of tests over workers (`pytest -n 2 --dist loadfile`): what takes longest first, so that none is left with it at the end."""

import hypothesis
import pytest

# Tests prove facts, benchmarks measure: on a busy machine an example may take its time.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")

_LONG = (
    "tests/cluster/test_faults.py",
    "tests/cluster/test_end_to_end.py",
    "schedules",
    "demo",
    "engine",
    "cluster",
)
"""Files and markers, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort tests by what they need; those of one file stay together."""

    def rank(item: pytest.Item) -> int:
        known_by = {item.nodeid.partition("::")[0], *(mark.name for mark in item.iter_markers())}
        return next((place for place, name in enumerate(_LONG) if name in known_by), len(_LONG))

    items.sort(key=rank)
