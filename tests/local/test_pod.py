"""One stage in a process of its own, told its task by the environment: exit codes, last words, SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders import make_run, write_inputs
from in_process import Launcher
from scalequest_jobs import catalog, pod_surroundings, ports
from scalequest_jobs import pod as pod_module
from scalequest_jobs.contract.artifact import ArtifactRef, ShardManifest
from scalequest_jobs.execution import reading
from scalequest_jobs.stores.folder import FolderStore
from scripted_world import WorldEngines

SCRIPT = Path(__file__).resolve().parents[1] / "pod_world.py"
NODE = "generate-questions@a"


@dataclass
class Pod:
    """The order of one stage with everything before it done, and processes that carry it out."""

    folder: Path
    store: FolderStore
    environment: dict[str, str]

    def start(self, stage: str = "generate-questions", **changes: str) -> "subprocess.Popen[str]":
        environment = {name: value for name, value in {**self.environment, **changes}.items() if value}
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), stage], env=environment, stderr=subprocess.PIPE, text=True
        )

    def run(self, stage: str = "generate-questions", **changes: str) -> tuple[int, str]:
        """Return a process's exit code and what it wrote to stderr."""
        process = self.start(stage, **changes)
        _, stderr = process.communicate(timeout=120)
        return process.returncode, stderr

    @property
    def last_words(self) -> dict[str, Any]:
        words: dict[str, Any] = json.loads((self.folder / "termination-log").read_text())
        return words

    @property
    def receipts(self) -> list[str]:
        return [key for key in self.store.keys("") if f"/{NODE}/" in f"/{key}" and "/receipt/" in key]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    write_inputs(tmp_path)
    store = FolderStore(tmp_path / "store")
    launcher = Launcher(make_run().spec, store, WorldEngines(), tmp_path)
    node = catalog.plan(launcher.spec)[NODE]
    launcher.run(until=next(iter(node.inputs.values())))
    order = launcher.order(node)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "SCALEQUEST_STORE": str(tmp_path / "store"),
        "SCALEQUEST_ORDER_KEY": order.key,
        "SCALEQUEST_ORDER_SHA256": order.sha256,
        "SCALEQUEST_CACHE": str(tmp_path / "pod-cache"),
        "SCALEQUEST_POD_UID": "pod-1",
        "SCALEQUEST_TERMINATION_LOG": str(tmp_path / "termination-log"),
        "JOB_COMPLETION_INDEX": "0",
        "POD_PAUSED": str(tmp_path / "paused"),
    }
    return Pod(folder=tmp_path, store=store, environment=environment)


def test_a_stage_that_is_done_exits_0_and_names_its_manifest(pod: Pod) -> None:
    code, stderr = pod.run()
    assert code == 0, stderr
    words = pod.last_words
    ref = ArtifactRef(key=words["manifest"], sha256=words["sha256"])
    manifest = ShardManifest.model_validate_json(pod.store.get(ref.key))
    assert sum(receipt.counts.rows_in for receipt in manifest.receipts) == 60


def test_sigterm_ends_with_try_again_keeps_finished_chunks_and_the_next_attempt_adopts_them(pod: Pod) -> None:
    process = pod.start(POD_PAUSE_AFTER="50")  # chunks of 20 rows: two are done, the third is not
    while process.poll() is None and not (pod.folder / "paused").exists():
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 75, stderr
    assert pod.last_words["error"] == "TRY_AGAIN"
    kept = pod.receipts
    assert len(kept) == 2

    assert pod.run(SCALEQUEST_POD_UID="pod-2")[0] == 0
    assert set(kept) < set(pod.receipts)
    assert len(pod.receipts) == 3
    manifest = ShardManifest.model_validate_json(pod.store.get(pod.last_words["manifest"]))
    attempts = [receipt.objects["rows"].key.split("/")[-2].split("-")[1] for receipt in manifest.receipts]
    assert attempts == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"SCALEQUEST_ORDER_KEY": ""}, 64, "SCALEQUEST_ORDER_KEY is not set"),
        ({"SCALEQUEST_ORDER_SHA256": "0" * 64}, 65, f"expected {'0' * 64}"),
        ({"SCALEQUEST_ORDER_KEY": "orders/none"}, 65, "there is no order orders/none"),
        ({"JOB_COMPLETION_INDEX": "7"}, 64, "expected 0 to 0"),
        ({"SCALEQUEST_STORE": "ftp://host/bucket"}, 64, "is no address"),
        ({"SCALEQUEST_CACHE": "/dev/null/cache"}, 64, "mount a volume"),
    ],
)
def test_a_wrong_task_ends_with_its_exit_code_and_says_why(
    pod: Pod, environment: pytest.MonkeyPatch, changes: dict[str, str], code: int, words: str
) -> None:
    assert pod_module.run_stage("generate-questions", pod.environment | changes) == code
    assert words in pod.last_words["message"]


def test_an_order_for_another_stage_is_refused(pod: Pod, environment: pytest.MonkeyPatch) -> None:
    assert pod_module.run_stage("judge-solvability", pod.environment) == 64
    assert "the order is for generate-questions" in pod.last_words["message"]


def test_a_defect_leaves_its_last_words_and_its_traceback(pod: Pod) -> None:
    code, stderr = pod.run(POD_DEFECT="1")
    assert code == 1
    assert pod.last_words == {"error": "DEFECT", "message": "ZeroDivisionError: nobody thought of this"}
    assert "Traceback" in stderr


def test_a_damaged_chunk_of_an_earlier_attempt_is_made_anew(pod: Pod) -> None:
    assert pod.run()[0] == 0
    first = ShardManifest.model_validate_json(pod.store.get(pod.last_words["manifest"]))
    damaged = first.receipts[1].objects["rows"]
    pod.store.put(damaged.key, pod.store.get(damaged.key)[:-7])
    assert pod.run(SCALEQUEST_POD_UID="pod-2")[0] == 0
    second = ShardManifest.model_validate_json(pod.store.get(pod.last_words["manifest"]))
    assert second.receipts[0] == first.receipts[0]
    remade = second.receipts[1].objects["rows"]
    assert remade.key != damaged.key
    reading.verify_object(pod.store, remade)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HOME", "TMPDIR", "USER", "LOGNAME"):
        monkeypatch.setenv(name, "")  # noted, so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", None)
    return monkeypatch


@pytest.mark.parametrize("home", [None, "/nonexistent", "/proc"])
def test_a_home_that_cannot_be_written_and_temporary_space_move_into_the_cache(
    environment: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    if home:
        environment.setenv("HOME", home)
    pod_surroundings.settle(tmp_path / "cache")
    assert Path.home() == tmp_path / "cache" / "home"
    assert tempfile.gettempdir() == str(tmp_path / "cache" / "tmp")
    assert Path.home().is_dir()


def test_what_the_pod_gives_is_left_alone(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "USER": "somebody"}
    for name, value in given.items():
        environment.setenv(name, value)
    assert pod_surroundings.variables(os.environ, tmp_path / "cache") == {}


def test_a_user_id_without_a_name_gets_one(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setattr("os.getuid", lambda: 1_000_680_000)
    assert pod_surroundings.variables({"HOME": str(tmp_path), "TMPDIR": "/x"}, tmp_path) == {
        "USER": "scalequest"
    }


def test_a_cache_that_cannot_be_written_is_a_wrong_setting(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ports.BadParametersError, match=r"/dev/null/cache cannot be written"):
        pod_surroundings.settle(Path("/dev/null/cache"))
