"""The list of filters, their files and their reasons agree."""

import re
from pathlib import Path

import pytest

from scalequest_jobs import filters

FOLDER = Path(filters.__file__).parent
NO_FILTERS = {"__init__", "verdict"}


def test_every_file_is_listed_once_under_its_name() -> None:
    names = [name for name, _ in filters.FILTERS]
    assert sorted(names) == sorted({path.stem for path in FOLDER.glob("*.py")} - NO_FILTERS)
    assert all(module.__name__ == f"scalequest_jobs.filters.{name}" for name, module in filters.FILTERS)


@pytest.mark.parametrize("name", [name for name, _ in filters.FILTERS])
def test_the_reasons_in_the_code_are_the_reasons_that_are_declared(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text()
    given = set(re.findall(r"reason=\"(\w+)\"|_marked\(\"(\w+)\"", source))
    assert {reason for pair in given for reason in pair if reason} == filters.REASONS[name]


@pytest.mark.parametrize("name", [name for name, _ in filters.FILTERS])
def test_every_reason_is_explained_in_a_docstring(name: str) -> None:
    module = dict(filters.FILTERS)[name]
    docstrings = " ".join(vars(module)[f].__doc__ or "" for f in vars(module) if callable(vars(module)[f]))
    for reason in filters.REASONS[name]:
        assert f'"{reason}"' in docstrings
