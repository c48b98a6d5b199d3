"""The demo's run, smaller, with real training and real inference through the real command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scalequest_jobs import catalog
from tiny_world import against_truth, teacher

pytestmark = [pytest.mark.demo, pytest.mark.engine, pytest.mark.timeout(1500)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCALEQUEST = Path(sys.executable).with_name("scalequest")


def smaller(url: str) -> dict[str, Any]:
    """Return the demo's run with fewer rows and its files by absolute path."""
    document: dict[str, Any] = yaml.safe_load((EXAMPLES / "tiny-math.yaml").read_text())
    spec = document["spec"]
    spec["seedQuestions"] |= {"path": str(EXAMPLES / spec["seedQuestions"]["path"]), "maxRows": 600}
    spec["models"] = {name: {"path": str(EXAMPLES / model["path"])} for name, model in spec["models"].items()}
    spec["generators"] = [{**generator, "questions": 300} for generator in spec["generators"]]
    spec["fineTuning"]["epochs"] = 2
    spec["preference"] |= {"questions": 150, "heldOut": 10}
    spec["preference"]["rewriter"]["endpoint"]["url"] = url
    spec["filters"]["difficulty"] |= {"samples": 4}
    spec["gates"] = {"sample": 64}
    return document


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with teacher.TeacherServer(fail_every=7) as server:
        yield server.url


def local(document: dict[str, Any], workdir: Path) -> dict[str, dict[str, str]]:
    """Run `scalequest local`; return the last event of each stage."""
    path = workdir / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    command = [str(SCALEQUEST), "local", str(path), "--workdir", str(workdir)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"time"')]
    return {event["stage"]: event for event in events if event["event"] == "stage"}


@pytest.fixture(scope="module")
def first(workdir: Path, url: str) -> dict[str, dict[str, str]]:
    return local(smaller(url), workdir)


def test_every_stage_of_the_method_is_done(first: dict[str, dict[str, str]]) -> None:
    assert {name.partition("@")[0] for name in first} == {stage.name for stage in catalog.STAGES}
    assert {event["state"] for event in first.values()} == {"done"}


def test_the_dataset_verifies_back_to_the_seeds(first: dict[str, Any], workdir: Path) -> None:
    command = [str(SCALEQUEST), "verify", str(workdir / "datasets" / "tiny-math"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    outcome = json.loads(done.stdout)
    assert outcome["ok"]
    assert outcome["checks"] > 100


def test_the_filters_raise_the_solvable_rate_against_the_truth(first: dict[str, Any], workdir: Path) -> None:
    report = against_truth.report(workdir / "datasets" / "tiny-math")
    rates = [float(line.rpartition("%")[0].split()[-1]) for line in report.splitlines()[1:]]
    cleaned, selected, candidates, kept = rates[-4:]
    assert selected > cleaned
    assert kept > candidates


def test_the_model_hub_library_loads_the_dataset(
    first: dict[str, Any], workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    folder = workdir / "datasets" / "tiny-math"
    rows = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path))
    assert len(rows) == json.loads((folder / "report.json").read_text())["rows"] > 50
    assert rows[0]["messages"][0]["content"] == rows[0]["query"]


def test_a_second_run_does_no_stage_again(first: dict[str, Any], workdir: Path, url: str) -> None:
    assert {event["state"] for event in local(smaller(url), workdir).values()} == {"cached"}


def test_a_longer_judgement_runs_only_what_depends_on_it(
    first: dict[str, Any], workdir: Path, url: str
) -> None:
    document = smaller(url)
    document["spec"]["filters"]["solvability"]["maxTokens"] = 60
    done = {name for name, event in local(document, workdir).items() if event["state"] == "done"}
    assert "judge-solvability" in done
    assert done <= {
        "judge-solvability",
        "select-questions",
        "generate-responses",
        "score-responses",
        "select-responses",
        "publish-dataset",
    }
