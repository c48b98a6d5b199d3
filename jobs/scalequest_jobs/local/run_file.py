"""Run files: YAML to a validated `ScaleQuestRun`, with errors that a person can act on."""

from pathlib import Path
from typing import Any

import pydantic
import yaml

from scalequest_jobs import ports
from scalequest_jobs.contract.run import ScaleQuestRun


class RunFileError(ports.BadParametersError):
    """A run file is not valid; `problems` has one line for each fault."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path}: " + "\n  ".join(["not a valid ScaleQuestRun:", *problems]))
        self.problems = problems


def load(path: Path) -> ScaleQuestRun:
    """Return the run in a YAML file.

    Raises:
        RunFileError: the file is missing, not YAML, or breaks a rule; each fault with its field,
            what was seen and what is expected.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFileError(path, [f"cannot be read: {error.strerror}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunFileError(path, [f"not YAML: {error}"]) from error
    if not isinstance(document, dict):
        raise RunFileError(
            path, [f"a {type(document).__name__}, expected one object with apiVersion and kind"]
        )
    return parse(document, path)


def parse(document: dict[str, Any], path: Path = Path("run")) -> ScaleQuestRun:
    """Return the run in a parsed document; raises RunFileError."""
    try:
        return ScaleQuestRun.model_validate(document)
    except pydantic.ValidationError as error:
        raise RunFileError(path, [line for fault in error.errors() for line in _lines(fault)]) from error


def _lines(fault: Any) -> list[str]:
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"]).split("; ")
    field = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return [
            f"{field}: unknown field; remove it or correct its name (`scalequest explain` lists the fields)"
        ]
    if fault["type"] == "missing":
        return [f"{field}: missing; it is required"]
    seen = repr(fault["input"])
    return [f"{field}: {fault['msg'][0].lower()}{fault['msg'][1:]}; seen {seen[:80]}"]
