"""The chart's files agree with each other and with the code, as far as that shows without Helm."""

import shutil
from pathlib import Path

import pytest
import yaml

from scalequest_jobs import __version__
from scalequest_operator import generate

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "scalequest-operator"
GENERATED = ("templates/crd.yaml", "values.schema.json", "README.md")


def test_what_the_chart_takes_from_code_is_up_to_date(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / generate.CHART)
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    generate.main(tmp_path)
    for name in GENERATED:
        assert (tmp_path / generate.CHART / name).read_text() == (CHART / name).read_text(), name
    page = Path("docs") / "reference" / "configuration.md"
    assert (tmp_path / page).read_text() == (ROOT / page).read_text()


def test_the_chart_installs_the_version_of_the_code() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_a_comment_documents_the_value_below_it_and_what_that_holds() -> None:
    values = "# -- What\n# it does.\na:\n  b: [1]\nc:\n  # -- Why.\n  d: {}\n"
    assert generate.documented(values) == [("a", {"b": [1]}, "What it does."), ("c.d", {}, "Why.")]


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"values\.yaml: a\.c has no comment"):
        generate.documented("a:\n  # -- Said.\n  b: 1\n  # Not said.\n  c: 2\n")
