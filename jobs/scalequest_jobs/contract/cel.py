"""Rules in the Common Expression Language, which the API server holds every object against."""

import json
from collections.abc import Sequence
from typing import Any

from scalequest_jobs.contract import rules, updates

Validation = dict[str, Any]
Schema = dict[str, Any]


def attach(schema: Schema) -> None:
    """Add the rules of the spec to a run's schema, each where it belongs."""
    for rule in rules.RULES:
        _at(schema, rule.at.path).append(_when_created(rule))
    for change in updates.RULES:
        _at(schema, "spec").append(_when_changed(change))


def _at(schema: Schema, path: str) -> list[Validation]:
    """Return the list of the rules at a place of a schema."""
    for name in path.split("."):
        inner = schema.get("items") or schema.get("additionalProperties")
        schema = inner if name == "*" and inner else schema["properties"][name]
    found: list[Validation] = schema.setdefault("x-kubernetes-validations", [])
    return found


def of_run_name(pattern: str, length: int) -> Validation:
    """Return the rule of a run's name."""
    return {
        "rule": f"self.metadata.name.size() <= {length} && self.metadata.name.matches({text(pattern)})",
        "message": f"shorten metadata.name to at most {length} lower-case letters, digits and hyphens: "
        "it stands in the names of the run's Jobs",
        "fieldPath": ".metadata.name",
    }


def key_rule(pattern: str, longest: int) -> Validation:
    """Return the rule of a map's keys."""
    return {
        "rule": f"self.all(name, name.size() <= {longest} && name.matches({text(pattern)}))",
        "message": f"each name must match {pattern} and have at most {longest} characters",
    }


def number_or_word(minimum: int, maximum: int, words: Sequence[str]) -> Validation:
    """Return the rule of a field that takes a whole number or one of a few words."""
    return {
        "rule": f"type(self) == int ? self >= {minimum} && self <= {maximum} : self in {json.dumps(words)}",
        "message": f"give a whole number from {minimum} to {maximum}, or {' or '.join(words)}",
    }


def text(value: str) -> str:
    """Return a literal of CEL."""
    return json.dumps(value)


def _when_created(rule: rules.Rule[Any]) -> Validation:
    """Return a rule that is held when a run is created.

    What it reads cannot change later. So a rule that a new version adds never keeps people from
    suspending or cancelling the runs that they have. Below the spec the API server sees to that
    itself: it forgives what did not change.
    """
    out: Validation = {"rule": rule.cel, "message": rule.message}
    if rule.at.path == "spec":
        out |= {"rule": f"oldSelf.hasValue() || ({rule.cel})", "optionalOldSelf": True}
    if rule.cel_seen:
        out["messageExpression"] = f"{text(f'{rule.message}, not ')} + {rule.cel_seen}"
    if rule.field:
        out["fieldPath"] = f".{rule.field}"
    return out


def _when_changed(rule: updates.Rule) -> Validation:
    return {
        "rule": rule.cel,
        "message": rule.message,
        "reason": "FieldValueForbidden",
        "fieldPath": f".{rule.field}",
    }
