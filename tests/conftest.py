"""How tests are spread over workers (`pytest -n 2 --dist loadgroup`): clusters wait, engines work, so they go side by side."""

import hypothesis
import pytest

# Tests prove facts, benchmarks measure: on a busy machine an example may take its time.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep everything that needs a cluster in one worker, which shares it, and begin with that."""
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.xdist_group("cluster"))
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)
