import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import builders
import in_process
import scripted_world
from scalequest_jobs import catalog
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import NO_COUNTS, StageManifest
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.status import Artifact, RunStatus, StageState, StageStatus
from scalequest_jobs.remote import dry_run, preview
from scalequest_jobs.remote.remote_run import RemoteRun
from scalequest_jobs.stores.memory import MemoryStore

PINNED = {
    "models": {name: {"hub": f"org/{name}", "revision": "0" * 40} for name in ("writer", "solver", "reward")}
}


def spec_of(**spec: Any) -> dict[str, Any]:
    return dict(builders.run_document(**spec)["spec"])


def prints(run: str, node: str) -> str:
    return fingerprint.digest([run, node])


class Earlier:
    """A run that ended, and the cache that it left."""

    def __init__(self, name: str, spec: dict[str, Any], *, minute: int = 0, vouched: bool = False) -> None:
        graph = catalog.plan(Spec.model_validate(spec, by_alias=True, by_name=False))
        self.cache = {
            prints(name, node.name): StageManifest(
                node=node.name,
                stage=node.stage,
                stage_version=catalog.stage(node.stage).version,
                kind="table",
                fingerprint=prints(name, node.name),
                inputs={},
                parameters=node.parameters.model_dump(mode="json") | ({"vouched": "v1"} if vouched else {}),
                engine={},
                receipts=(),
                counts=NO_COUNTS,
                started=0,
                finished=0,
                worker_seconds=0,
            )
            for node in graph.nodes
        }
        stages = tuple(
            StageStatus(
                name=node.name,
                state=StageState.SUCCEEDED,
                fingerprint=prints(name, node.name),
                artifact=Artifact(key=f"runs/{name}", sha256="a" * 64, content=f"content of {node.name}"),
            )
            for node in graph.nodes
        )
        self.run = RemoteRun(
            namespace="default",
            name=name,
            uid=name,
            generation=1,
            created=dt.datetime(2026, 1, 1, 0, minute, tzinfo=dt.UTC),
            is_deleting=False,
            spec=spec,
            status=RunStatus(stages=stages),
        )


def fates(
    spec: dict[str, Any], *earlier: Earlier, cache: Mapping[str, StageManifest] | None = None
) -> dict[str, str]:
    held = (
        {key: manifest for one in earlier for key, manifest in one.cache.items()} if cache is None else cache
    )
    parsed = Spec.model_validate(spec, by_alias=True, by_name=False)
    forecasts = preview.forecast(parsed, [one.run for one in earlier], held.get)
    return {forecast.node: forecast.fate.value for forecast in forecasts}


def test_without_earlier_runs_everything_runs() -> None:
    assert set(fates(spec_of()).values()) == {"runs"}


def test_the_same_run_again_comes_from_the_cache_but_for_what_nothing_pins() -> None:
    again = fates(spec_of(**PINNED), Earlier("first", spec_of(**PINNED)))
    assert {node for node, fate in again.items() if fate == "is read again"} == {"import-questions@seeds"}
    assert {fate for node, fate in again.items() if node != "import-questions@seeds"} == {"cached"}


def test_a_volume_that_the_platform_vouches_for_is_not_read_again() -> None:
    assert set(fates(spec_of(), Earlier("first", spec_of(), vouched=True)).values()) == {"cached"}


def test_a_changed_stage_runs_and_with_it_what_follows_and_nothing_else() -> None:
    changed = spec_of(responses={"model": "solver", "candidates": 4})
    again = fates(changed, Earlier("first", spec_of(), vouched=True))
    assert {node for node, fate in again.items() if fate == "runs"} == {
        "generate-responses",
        "score-responses",
        "select-responses",
        "publish-dataset",
    }


def test_two_files_on_volumes_are_told_apart_by_their_paths() -> None:
    other = spec_of(seedQuestions={"path": "other.jsonl", "answerColumn": "answer"})
    assert fates(other, Earlier("first", spec_of(), vouched=True))["import-questions@seeds"] == "runs"


def test_what_the_cache_lost_runs() -> None:
    first = Earlier("first", spec_of(), vouched=True)
    del first.cache[prints("first", "clean-questions")]
    again = fates(spec_of(), first)
    assert again["generate-questions@a"] == "cached"
    assert again["clean-questions"] == again["publish-dataset"] == "runs"


def test_another_version_of_a_stage_made_another_result() -> None:
    first = Earlier("first", spec_of(), vouched=True)
    key = prints("first", "clean-questions")
    first.cache[key] = first.cache[key].model_copy(update={"stage_version": 99})
    assert fates(spec_of(), first)["clean-questions"] == "runs"


def test_runs_of_another_profile_say_nothing() -> None:
    other = spec_of(compute={"profile": "other"})
    assert set(fates(spec_of(), Earlier("first", other, vouched=True)).values()) == {"runs"}


def test_the_newest_run_that_made_a_stage_is_named() -> None:
    old, new = Earlier("old", spec_of(), vouched=True), Earlier("new", spec_of(), vouched=True, minute=5)
    parsed = Spec.model_validate(spec_of(), by_alias=True, by_name=False)
    found = preview.forecast(parsed, [new.run, old.run], {**old.cache, **new.cache}.get)
    assert {forecast.run for forecast in found} == {"new"}


def test_a_run_of_a_spec_that_this_version_does_not_know_is_passed_over() -> None:
    strange = Earlier("first", spec_of(), vouched=True)
    strange.run.spec["unknown"] = 1
    assert set(fates(spec_of(), strange).values()) == {"runs"}


def test_what_is_foretold_of_a_store_is_what_happens(tmp_path: Path) -> None:
    """The stages that a second run takes from the cache are those that were said, by the first run's own store."""
    builders.write_inputs(tmp_path)
    store = MemoryStore()
    first = in_process.Launcher(builders.make_run().spec, store, scripted_world.WorldEngines(), tmp_path)
    first.run()
    earlier = Earlier("first", spec_of()).run
    stages = tuple(
        StageStatus(
            name=name,
            state=StageState.SUCCEEDED,
            fingerprint=manifest.fingerprint,
            artifact=Artifact(key=ref.key, sha256=ref.sha256, content=ref.content),
        )
        for name, (ref, manifest) in first.done.items()
    )
    earlier = dataclasses.replace(earlier, status=RunStatus(stages=stages))
    changed = builders.make_run(selection={"method": "majority"}).spec
    said = preview.forecast(changed, [earlier], lambda key: dry_run.look_up(store, key))

    second = in_process.Launcher(changed, store, scripted_world.WorldEngines(), tmp_path)
    second.run()
    assert [one.node for one in said if one.fate is preview.Fate.RUNS] == second.ran
    assert [one.node for one in said if one.fate is not preview.Fate.RUNS] == second.hits
    assert second.ran == ["select-responses", "publish-dataset"]
