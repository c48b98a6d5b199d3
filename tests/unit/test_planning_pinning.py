"""Which sources from outside may be cached."""

import pytest

from operator_builders import make_profile, make_spec
from scalequest_jobs import catalog
from scalequest_jobs.contract.stage import Node
from scalequest_operator.configuration import Profile
from scalequest_operator.planning import pinning


def node(name: str, **spec: object) -> Node:
    return catalog.plan(make_spec(**spec))[name]


def profile(*volumes: dict[str, object]) -> Profile:
    return make_profile(
        volumes=[{"name": f"v{n}", "claim": "c", **volume} for n, volume in enumerate(volumes)]
    )


def test_a_path_on_a_volume_with_a_version_is_pinned_by_it() -> None:
    pinned = [
        pinning.pin(node("fetch-model@writer"), profile({"mountPath": "/volumes/models", "version": version}))
        for version in ("1", "1", "2")
    ]
    assert all(each.cacheable for each in pinned)
    assert pinned[0].parameters.identity() == pinned[1].parameters.identity()
    assert pinned[0].parameters.identity() != pinned[2].parameters.identity()


@pytest.mark.parametrize(
    "volume",
    [
        {"mountPath": "/volumes/models"},
        {"mountPath": "/volumes/other", "version": "1"},
        {"mountPath": "/volumes/model", "version": "1"},
    ],
)
def test_a_path_without_a_version_or_on_no_volume_is_read_in_every_run(volume: dict[str, object]) -> None:
    unpinned = node("fetch-model@writer")
    assert pinning.pin(unpinned, profile(volume)) == unpinned
    assert not unpinned.cacheable


def test_the_innermost_volume_holds_a_path() -> None:
    outer = {"mountPath": "/volumes", "version": "outer"}
    inner = {"mountPath": "/volumes/models", "version": ""}
    assert not pinning.pin(node("fetch-model@writer"), profile(outer, inner)).cacheable


def test_seeds_on_a_volume_are_pinned_too_and_other_stages_are_left_alone() -> None:
    volumes = profile({"mountPath": "/volumes", "version": "1"})
    assert pinning.pin(node("import-questions@seeds"), volumes).cacheable
    for name in ("clean-questions", "publish-dataset"):
        unchanged = node(name)
        assert pinning.pin(unchanged, volumes) is unchanged


def test_a_hub_model_is_pinned_by_its_revision_already() -> None:
    hub = {"hub": "o/m", "revision": "a" * 40}
    models = {"writer": hub, "solver": hub, "reward": hub}
    fetched = node("fetch-model@writer", models=models)
    assert fetched.cacheable
    assert pinning.pin(fetched, profile({"mountPath": "/volumes", "version": "1"})) is fetched
