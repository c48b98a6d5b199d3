"""From a pydantic model's JSON schema to the structural schema that Kubernetes takes."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pydantic

from scalequest_jobs.contract import cel

Schema = dict[str, Any]

_KEPT: Final = (
    "type", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties", "required",
)  # fmt: skip

_SOURCES: Final = {"App": "appendix", "Fig": "figure", "Table": "table"}
_SOURCE: Final = re.compile(r" \(((?:P |C\b|ours\b)[^)]*)\)")


def of_model(model: type[pydantic.BaseModel]) -> Schema:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return structural(schema, schema.get("$defs", {}))


def structural(schema: Schema, definitions: Schema) -> Schema:
    """Return a JSON schema without references, unions and keywords that Kubernetes refuses.

    A field that may be null is nullable only where null differs from its default: elsewhere the
    API server drops null, and so do run files (`without_nulls`).
    """
    schema, takes_null = _resolved(schema, definitions)
    out: Schema = {"type": schema["type"]} if "type" in schema else {}
    if text := readable(schema.get("description", "")):
        out["description"] = text
    if "anyOf" in schema:
        out |= _union([structural(option, definitions) for option in schema["anyOf"]])
    out |= {key: schema[key] for key in _KEPT if schema.get(key) is not None}
    if "const" in schema:
        out["enum"] = [schema["const"]]
    if "exclusiveMinimum" in schema:
        out |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    if schema.get("format") == "date-time":
        out["format"] = "date-time"
    if takes_null and "default" in out:
        out["nullable"] = True
    return out | _parts(schema, out.get("default"), definitions)


def _parts(schema: Schema, default: Any, definitions: Schema) -> Schema:
    """Return what a schema says about the parts of its values."""
    out: Schema = {}
    if properties := schema.get("properties"):
        out["properties"] = {name: structural(value, definitions) for name, value in properties.items()}
        if isinstance(default, dict):
            out["default"] = _without_none(default)
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    for pattern, value in schema.get("patternProperties", {}).items():
        out["additionalProperties"] = structural(value, definitions)
        out["x-kubernetes-validations"] = [cel.key_rule(pattern, schema["propertyNames"]["maxLength"])]
    if "items" in schema or schema.get("prefixItems"):
        out["items"] = structural(schema.get("items") or schema["prefixItems"][0], definitions)
    return out


def _without_none(default: Schema) -> Schema:
    """Return an object's default as the API server stores it, where what is absent has no null."""
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in default.items()
        if value is not None
    }


def _resolved(schema: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """Follow references and strip null from unions; return the schema and whether null is allowed."""
    takes_null = False
    while True:
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
        if "$ref" in schema:
            schema = {**definitions[schema["$ref"].rpartition("/")[2]], **rest}
            continue
        options = schema.get("anyOf", [])
        named = [option for option in options if option.get("type") != "null"]
        takes_null = takes_null or len(named) < len(options)
        if options and len(named) == 1:
            schema = {**named[0], **rest}
            continue
        return ({**rest, "anyOf": named} if options else schema), takes_null


def _union(options: list[Schema]) -> Schema:
    """Return one schema for a whole number or fixed texts, or for several forms of text."""
    numbers = [option for option in options if option["type"] == "integer"]
    texts = [option for option in options if option["type"] == "string"]
    if len(numbers) + len(texts) != len(options) or len(numbers) > 1:
        raise TypeError(f"no structural schema says this union: {options}")
    if numbers:
        words = [word for option in texts for word in option["enum"]]
        rule = cel.number_or_word(numbers[0]["minimum"], numbers[0]["maximum"], words)
        return {"x-kubernetes-int-or-string": True, "x-kubernetes-validations": [rule]}
    forms = [option.get("pattern", "").removeprefix("^").removesuffix("$") for option in texts]
    forms += [re.escape(word) for option in texts for word in option.get("enum", [])]
    longest = max(option.get("maxLength", 0) for option in texts)
    return {"type": "string", "maxLength": longest, "pattern": f"^({'|'.join(filter(None, forms))})$"}


def readable(description: str) -> str:
    """Return a description on one line, with its sources in words: `(P 2.4)` is section 2.4 of the paper."""
    return _SOURCE.sub(lambda found: f" ({_source(found[1])})", " ".join(description.split()))


def _source(marks: str) -> str:
    if marks == "C":
        return "as the authors' code"
    words = []
    for mark in marks.split(", "):
        kind, _, number = mark.removeprefix("P ").partition(" ")
        place = f"{_SOURCES[kind]} {number}" if number else f"section {kind}"
        words.append("not in the paper" if mark == "ours" else place)
    return ", ".join(words) if marks == "ours" else f"paper, {', '.join(words)}"


def tell_defaults(schema: Schema) -> None:
    """Add the defaults of plain values to the descriptions: `kubectl explain` shows only these."""
    default = schema.get("default")
    if isinstance(default, str | int | float):
        shown = default if isinstance(default, str) else json.dumps(default)
        schema["description"] = f"{schema['description']} Default: {shown}."
    for part in _inner(schema):
        tell_defaults(part)


def without_defaults(schema: Schema) -> Schema:
    """Return a schema that adds nothing to what is written."""
    schema.pop("default", None)
    for part in _inner(schema):
        without_defaults(part)
    return schema


def _inner(schema: Schema) -> list[Schema]:
    others = [schema[key] for key in ("items", "additionalProperties") if key in schema]
    return [*schema.get("properties", {}).values(), *others]


def without_nulls(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a value without the nulls that the API server drops: those of fields that take none."""
    match value:
        case dict():
            fields, others = schema.get("properties", {}), schema.get("additionalProperties")
            known = {name: fields.get(name, others) for name in value}
            return {
                name: item if known[name] is None else without_nulls(item, known[name])
                for name, item in value.items()
                if item is not None or known[name] is None or known[name].get("nullable")
            }
        case list():
            return [without_nulls(item, schema.get("items", {})) for item in value]
        case _:
            return value
