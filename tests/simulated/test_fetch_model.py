"""The stage that brings a model from a hub: file by file, so that an interrupted attempt is not in vain."""

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import MODELS, make_run, write_inputs
from in_process import Launcher
from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import StageManifest
from scalequest_jobs.execution import models
from scalequest_jobs.stores.memory import MemoryStore
from scripted_world import WorldEngines
from servers import hub as hub_server
from servers.hub import COMMIT, REPOSITORY, Fault

FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"1" * 2000,
    "model-00002-of-00002.safetensors": b"2" * 3000,
    "pytorch_model.bin": b"a pickle",
    "tokenizer.json": b"{}",
}
NODE = "fetch-model@writer"


@pytest.fixture
def hubs() -> Iterator[hub_server.Hubs]:
    with hub_server.running_hub() as running:
        running.hub.files.update(FILES)
        yield running


@pytest.fixture
def launcher(hubs: hub_server.Hubs, tmp_path: Path) -> Launcher:
    write_inputs(tmp_path)
    spec = make_run(models={**MODELS, "writer": {"hub": REPOSITORY, "revision": COMMIT}}).spec
    return Launcher(spec, MemoryStore(), WorldEngines(), tmp_path, hub_endpoint=hubs.hub.address)


def fetched(hubs: hub_server.Hubs) -> list[str]:
    return [path.rpartition("/")[2] for path, _ in hubs.hub.requests if "/resolve/" in path]


def fetch(launcher: Launcher) -> StageManifest:
    launcher.run(until=NODE)
    return launcher.done[NODE][1]


def test_a_model_is_its_files_without_pickles(launcher: Launcher, tmp_path: Path) -> None:
    manifest = fetch(launcher)
    assert manifest.counts.rows_in == manifest.counts.rows_out == 4
    folder = models.materialise(launcher.store, manifest, tmp_path / "models")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: data for name, data in FILES.items() if not name.endswith(".bin")
    }


def test_an_interrupted_attempt_leaves_its_finished_files_to_the_next(
    launcher: Launcher, hubs: hub_server.Hubs
) -> None:
    hubs.hub.faults["model-00002-of-00002.safetensors"] = deque([Fault(kind="status", status=418)])
    with pytest.raises(ports.BadParametersError, match="418"):
        fetch(launcher)
    fetch(launcher)
    assert fetched(hubs).count("model-00001-of-00002.safetensors") == 1
    assert fetched(hubs).count("model-00002-of-00002.safetensors") == 2


def test_a_worker_that_is_asked_to_stop_stops_within_a_file(
    launcher: Launcher, hubs: hub_server.Hubs
) -> None:
    class AskedDuringTheWeights(threading.Event):
        def is_set(self) -> bool:
            return "model-00001-of-00002.safetensors" in fetched(hubs)

    launcher.stop = AskedDuringTheWeights()
    with pytest.raises(ports.StoppedError):
        fetch(launcher)
    receipts = [key for key in launcher.store.keys("runs/") if f"/{NODE}/" in key and "/receipt/" in key]
    assert len(receipts) == 1  # the configuration's


def test_a_repository_without_a_configuration_is_refused_before_its_weights_are_fetched(
    launcher: Launcher, hubs: hub_server.Hubs
) -> None:
    del hubs.hub.files["config.json"]
    with pytest.raises(ports.BadInputError, match=r"expected config\.json"):
        fetch(launcher)
    assert fetched(hubs) == []
