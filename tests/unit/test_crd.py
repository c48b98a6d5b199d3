"""The CRD: bounded, documented, and with the rules and defaults of the models."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cluster.admission import corpus
from scalequest_jobs.contract import crd, openapi, rules, updates
from scalequest_jobs.local import run_file

SCHEMA = crd.schema()


def parts(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    inner = {f".{name}": field for name, field in schema.get("properties", {}).items()}
    inner |= {f".{star}": schema[star] for star in ("items", "additionalProperties") if star in schema}
    for name, field in inner.items():
        yield from parts(field, f"{path}{name}")


PARTS = dict(parts(SCHEMA["properties"]["spec"], "spec")) | dict(
    parts(SCHEMA["properties"]["status"], "status")
)


def is_bounded(schema: dict[str, Any]) -> bool:
    match schema.get("type"):
        case "string":
            return any(bound in schema for bound in ("maxLength", "enum", "format"))
        case "array":
            return "maxItems" in schema
        case "object":
            return "properties" in schema or {"additionalProperties", "maxProperties"} <= set(schema)
        case None:
            return "x-kubernetes-int-or-string" in schema
        case _:
            return True


def test_every_text_list_and_map_has_a_bound() -> None:
    assert [path for path, schema in PARTS.items() if not is_bounded(schema)] == []


def test_nothing_unknown_is_kept() -> None:
    assert [path for path, schema in PARTS.items() if "x-kubernetes-preserve-unknown-fields" in schema] == []


def test_every_field_is_described_without_marks() -> None:
    fields = {path: schema for path, schema in PARTS.items() if not path.endswith(("items", "Properties"))}  # fmt: skip
    assert [path for path, schema in fields.items() if not schema.get("description")] == []
    texts = [str(schema.get("description", "")) for schema in PARTS.values()]
    assert [
        text for text in texts if "(P " in text or "(C)" in text or "(ours)" in text or "\n" in text
    ] == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Answers (P 2.5).", "Answers (paper, section 2.5)."),
        ("Judges (P 2.4, Fig 12).", "Judges (paper, section 2.4, figure 12)."),
        ("Measured (P App B, Table 6).", "Measured (paper, appendix B, table 6)."),
        ("None there (P 3, ours).", "None there (paper, section 3, not in the paper)."),
        ("Rate (C); two\nlines (ours).", "Rate (as the authors' code); two lines (not in the paper)."),
        ("QPO (Fig).", "QPO (Fig)."),
    ],
)
def test_sources_are_written_out(written: str, read: str) -> None:
    assert openapi.readable(written) == read


def test_every_rule_stands_in_the_schema_with_its_message_and_field() -> None:
    placed = [
        (rule["message"], rule.get("fieldPath", ""))
        for schema in PARTS.values()
        for rule in schema.get("x-kubernetes-validations", [])
    ]
    for rule in (*rules.RULES, *updates.RULES):
        assert (rule.message, f".{rule.field}" if rule.field else "") in placed


def test_the_defaults_of_the_schema_are_those_of_the_models() -> None:
    required = {"storage", "seedQuestions", "models", "generators", "filters", "responses"}
    few = [(f"spec.{name}", corpus.GONE) for name in corpus.FULL["spec"] if name not in required]
    few += [("spec.generators.0.difficulty", corpus.GONE), ("spec.generators.1.difficulty", corpus.GONE)]
    few += [("spec.filters.difficulty", corpus.GONE)]
    bare = corpus.edited(*few)
    assert run_file.parse(with_defaults(bare, SCHEMA)).spec == run_file.parse(bare).spec


def with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [with_defaults(item, schema["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    absent = {
        name: field["default"] for name, field in fields.items() if "default" in field and name not in value
    }
    return {
        name: with_defaults(item, fields.get(name) or schema.get("additionalProperties") or {})
        for name, item in (value | absent).items()
    }


def test_null_stays_only_where_it_means_none() -> None:
    nullable = [path for path, schema in PARTS.items() if schema.get("nullable")]
    assert nullable == ["spec.fineTuning", "spec.filters.duplicates"]
    kept = {
        "spec": {"fineTuning": None, "seed": None, "models": {"a": None, "b": {"key": None}}, "other": None}
    }
    assert openapi.without_nulls(kept, SCHEMA) == {
        "spec": {"fineTuning": None, "models": {"b": {}}, "other": None}
    }


def test_a_union_that_kubernetes_cannot_say_is_an_error_here() -> None:
    union = {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "array", "items": {"type": "string"}}]}
    with pytest.raises(TypeError, match="no structural schema says this union"):
        openapi.structural(union, {})


def test_the_crd_is_far_below_the_limit_of_a_mebibyte() -> None:
    text = crd.render()
    assert yaml.safe_load(text) == crd.crd()
    assert len(text) < 256 * 1024
