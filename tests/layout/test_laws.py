"""Laws of the layout that no linter checks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scalequest_jobs import catalog, domains, filters

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "jobs" / "scalequest_jobs", ROOT / "operator" / "scalequest_operator")


@pytest.mark.parametrize("folder", ["operator", "jobs"])
def test_the_root_folders_hold_one_package_and_no_loose_module(folder: str) -> None:
    """`operator/__init__.py` would shadow the standard module and break Python itself."""
    assert [path.name for path in (ROOT / folder).glob("*.py")] == []
    packages = [
        path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name.startswith("scale")
    ]
    assert packages == [f"scalequest_{folder}"]


def test_the_catalog_names_exactly_the_files_of_stages() -> None:
    files = {path.stem for path in (PACKAGES[0] / "stages").glob("*.py")} - {"__init__"}
    assert {stage.name.replace("-", "_") for stage in catalog.STAGES} == files


def test_the_registry_of_filters_names_exactly_its_files() -> None:
    files = {path.stem for path in (PACKAGES[0] / "filters").glob("*.py")} - {"__init__", "verdict"}
    assert {name for name, _ in filters.FILTERS} == files


def test_every_domain_has_a_file_of_its_name() -> None:
    for domain in domains.DOMAINS:
        assert (PACKAGES[0] / "domains" / f"{domain.name}.py").exists()


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]


def test_no_module_is_named_for_leftovers() -> None:
    assert [path for path in modules() if path.stem in {"utils", "helpers", "common", "misc"}] == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_a_module_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_every_package_states_its_law() -> None:
    for package in PACKAGES:
        for init in package.rglob("__init__.py"):
            assert "Law:" in init.read_text(), init


def test_keys_are_built_in_one_place() -> None:
    """Keys in the bucket come from `contract/artifact.py` alone."""
    pattern = re.compile(r'f?"(runs|cache)/')
    found = {path.name for path in modules() if pattern.search(path.read_text())}
    assert found == {"artifact.py"}


def test_planning_asks_no_clock_and_touches_no_file() -> None:
    files = (PACKAGES[1] / "planning").glob("*.py")
    impure = re.compile(
        r"\.now\(|\.utcnow\(|\bopen\(|^import (time|threading|asyncio|os|random)\b", re.MULTILINE
    )
    assert {
        path.name: impure.findall(path.read_text()) for path in files if impure.search(path.read_text())
    } == {}


def test_the_catalog_loads_no_heavy_library() -> None:
    """What import-linter proves of the text, this proves of a running process."""
    code = (
        "import sys, scalequest_jobs.catalog, scalequest_jobs.execution.worker;"
        "print([m for m in ('torch', 'transformers', 'trl', 'vllm', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_no_requirement_file_names_an_index() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        assert "://" not in path.read_text(), path


def test_every_stage_and_field_is_in_the_reference() -> None:
    stages = (ROOT / "docs" / "reference" / "stages.md").read_text()
    assert [stage.name for stage in catalog.STAGES if f"`{stage.name}`" not in stages] == []
    assert "spec.filters.solvability.model" in (ROOT / "docs" / "reference" / "run.md").read_text()


def test_every_local_link_in_the_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
