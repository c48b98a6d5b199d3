"""The documents say what the code does: commands exist, run files validate, folders are named."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from scalequest_jobs.__main__ import app
from scalequest_jobs.contract.launch import Env
from scalequest_jobs.local import run_file

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "docs" / "user-guide.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "ARCHITECTURE.md",
]


def text() -> str:
    return "\n".join(document.read_text() for document in DOCUMENTS)


def test_every_run_file_in_the_user_guide_is_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "user-guide.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        run_file.parse(yaml.safe_load(block))


def test_every_command_and_option_in_the_documents_exists() -> None:
    commands = re.findall(r"^\s*scalequest (\w+)((?: [^\n#]*)?)", text(), re.MULTILINE)
    assert commands
    for command, rest in commands:
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, command
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown.output, f"{command} {option}"


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)`", text())) | set(
        re.findall(r"^make ([a-z0-9-]+)", text(), re.MULTILINE)
    )
    assert named <= targets


def test_every_variable_of_a_pod_is_documented() -> None:
    guide = (ROOT / "docs" / "user-guide.md").read_text()
    assert [name.value for name in Env if f"`{name.value}`" not in guide] == []


@pytest.mark.parametrize("package", ["jobs/scalequest_jobs"])
def test_the_architecture_names_every_part_of_a_package(package: str) -> None:
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    parts = [path for path in (ROOT / package).iterdir() if path.is_dir() and not path.name.startswith("__")]
    assert [path.name for path in parts if f"{path.name}/" not in architecture] == []
