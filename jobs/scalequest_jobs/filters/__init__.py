"""Judgements of one record or one table.

Law: pure functions over values; no I/O, no clock, no heavy library. Every filter is one module with
the closed set of its reasons, and all of them stand in `FILTERS`.
"""

from collections.abc import Mapping
from types import ModuleType

from scalequest_jobs.filters import (
    agreement,
    answer_format,
    contamination,
    difficulty,
    duplicates,
    format,  # noqa: A004 - the filter's name; the builtin is not needed here
    language,
    reward,
    solvability,
)

FILTERS: tuple[tuple[str, ModuleType], ...] = (
    ("format", format),
    ("language", language),
    ("duplicates", duplicates),
    ("contamination", contamination),
    ("difficulty", difficulty),
    ("solvability", solvability),
    ("answer_format", answer_format),
    ("reward", reward),
    ("agreement", agreement),
)

REASONS: Mapping[str, frozenset[str]] = {name: module.REASONS for name, module in FILTERS}
