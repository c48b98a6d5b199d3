"""The command line: what a user sees when a file, a folder or a name is wrong."""

import copy
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from builders import run_document, write_inputs
from scalequest_jobs.__main__ import app

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    write_inputs(tmp_path)
    return copy.deepcopy(run_document())


def invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def written(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_valid(example: Path) -> None:
    code, shown = invoke("validate", example)
    assert (code, "publish-dataset" in shown) == (0, True)


def test_a_stage_that_does_not_exist_is_refused_with_those_that_do(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    document["spec"]["compute"] = {"stages": {"generate-response": {"shards": 2}}}
    code, shown = invoke("validate", written(tmp_path, document))
    assert code == 64
    assert "spec.compute.stages.generate-response: no such stage" in shown
    assert "'generate-responses'" in shown


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("")
    code, shown = invoke("validate", path)
    assert (code, "empty, expected one object" in shown) == (64, True)


def test_a_missing_seed_file_is_named_by_its_whole_path(tmp_path: Path, document: dict[str, Any]) -> None:
    document["spec"]["seedQuestions"]["path"] = "nowhere.jsonl"
    code, shown = invoke("local", written(tmp_path, document), "--workdir", tmp_path / "work")
    assert code == 65
    assert f"cannot read {tmp_path / 'nowhere.jsonl'}: No such file" in shown


def test_a_missing_model_folder_is_named_by_its_whole_path(tmp_path: Path, document: dict[str, Any]) -> None:
    document["spec"]["models"]["solver"]["path"] = "nowhere"
    code, shown = invoke("local", written(tmp_path, document), "--workdir", tmp_path / "work")
    assert code == 65
    assert f"there is no folder {tmp_path / 'nowhere'}" in shown


def test_a_work_folder_that_is_a_file_is_refused_in_words(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "work").write_text("")
    code, shown = invoke("local", written(tmp_path, document), "--workdir", tmp_path / "work")
    assert code == 64
    assert "cannot be used as work folder" in shown


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_folder_without_a_dataset_is_refused_in_words(command: str, tmp_path: Path) -> None:
    code, shown = invoke(command, tmp_path)
    assert code == 65
    assert "holds no published dataset" in shown


def test_the_demo_says_what_to_do_when_its_port_is_taken(tmp_path: Path) -> None:
    run = yaml.safe_load((EXAMPLES / "tiny-math.yaml").read_text())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run["spec"]["preference"]["rewriter"]["endpoint"]["url"] = f"http://127.0.0.1:{port}/v1"
        command = [sys.executable, str(EXAMPLES / "demo.py"), str(written(tmp_path, run))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 75
    assert f"127.0.0.1:{port}: Address already in use; wait for another demo" in done.stderr
