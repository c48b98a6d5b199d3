"""Run files: YAML to a validated `ScaleQuestRun`, with errors that a person can act on."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import pydantic
import yaml

from scalequest_jobs import catalog, ports
from scalequest_jobs.contract import crd, openapi
from scalequest_jobs.contract.run import ScaleQuestRun


class RunFileError(ports.BadParametersError):
    """A run file is not valid; `problems` has one line for each fault."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path}: " + "\n  ".join(["not a valid ScaleQuestRun:", *problems]))
        self.problems = problems


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a number with an exponent needs no dot."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def load(path: Path) -> ScaleQuestRun:
    """Return the run in a YAML file.

    Raises:
        RunFileError: the file is missing, not YAML, or breaks a rule; each fault with its field,
            what was seen and what is expected.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise RunFileError(path, [f"cannot be read: {error.strerror}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunFileError(path, [f"not YAML: {error}"]) from error
    if not isinstance(document, dict):
        seen = "empty" if document is None else f"a {type(document).__name__}"
        raise RunFileError(path, [f"{seen}, expected one object with apiVersion and kind"])
    return parse(document, path)


def parse(document: dict[str, Any], path: Path = Path("run")) -> ScaleQuestRun:
    """Return the run in a parsed document, read as the API server reads it; raises RunFileError."""
    try:
        run = ScaleQuestRun.model_validate_json(_as_sent(document), strict=True, by_alias=True, by_name=False)
    except pydantic.ValidationError as error:
        raise RunFileError(path, _problems(error)) from error
    known = {stage.name for stage in catalog.STAGES}
    if unknown := sorted(set(run.spec.compute.stages) - known):
        lines = [
            f"spec.compute.stages.{name}: no such stage; the stages are {sorted(known)}" for name in unknown
        ]
        raise RunFileError(path, lines)
    return run


def _as_sent(document: dict[str, Any]) -> str:
    """Return the JSON that the API server would see: 2.0 is the number 2, and most nulls say nothing."""
    plain = json.loads(json.dumps(document, default=str), parse_float=_number)
    return json.dumps(openapi.without_nulls(plain, _schema()))


@functools.cache
def _schema() -> openapi.Schema:
    return crd.schema()


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


_EXPECTED = {
    "tuple_type": "expected a list",
    "dict_type": "expected an object",
    "model_type": "expected an object",
}
_BRANCH = re.compile(r"constrained-|literal\[")
"""How pydantic names the branches of a union, which are no part of a field's path."""


def _problems(error: pydantic.ValidationError) -> list[str]:
    """Return a line for each fault; the faults of a union's branches become one."""
    expected: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    lines: list[str] = []
    for fault in error.errors():
        if fault["type"] == "value_error":
            lines += str(fault["ctx"]["error"]).split("; ")
            continue
        field = ".".join(str(part) for part in fault["loc"] if not _BRANCH.match(str(part)))
        expected.setdefault(field, []).append(_expected(fault))
        seen[field] = "" if fault["type"] in ("extra_forbidden", "missing") else repr(fault["input"])[:80]
        if fault["type"] == "too_short" and any(place.startswith(f"{field}.") for place in expected):
            # A list of bad items counts as empty; the items are named already.
            del expected[field]
    for field, parts in expected.items():
        lines.append(f"{field}: {', or '.join(parts)}" + (f"; seen {seen[field]}" if seen[field] else ""))
    return lines


def _expected(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown field; remove it or correct its name (`scalequest explain` lists the fields)"
    if fault["type"] == "missing":
        return "missing; it is required"
    return _EXPECTED.get(fault["type"], f"{fault['msg'][0].lower()}{fault['msg'][1:]}")
