"""The CustomResourceDefinition, generated from `run.py`: structural OpenAPI with bounds and defaults."""

from typing import Any, Final

import yaml

from scalequest_jobs.contract.run import API_VERSION, KIND, Spec

GROUP: Final = API_VERSION.partition("/")[0]
VERSION: Final = API_VERSION.partition("/")[2]
PLURAL: Final = "scalequestruns"

_COLUMNS: Final = (
    ("Phase", "string", ".status.phase"),
    ("Stage", "string", ".status.stage"),
    ("Accepted", "integer", ".status.dataset.rows"),
    ("GPU-h", "string", ".status.cost.gpuHours"),
    ("Cost", "string", ".status.cost.usd"),
    ("Age", "date", ".metadata.creationTimestamp"),
)

_KEPT: Final = (
    "type", "description", "default", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties", "required",
)  # fmt: skip


def crd() -> dict[str, Any]:
    """Return the CRD as a mapping."""
    schema = Spec.model_json_schema(by_alias=True)
    spec = structural(schema, schema.get("$defs", {}))
    columns = [{"name": name, "type": kind, "jsonPath": path} for name, kind, path in _COLUMNS]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["sqr"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": _root(spec)},
                }
            ],
        },
    }


def _root(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "One run: from seed questions to a published dataset.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }


def structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema without references, unions and keywords that Kubernetes refuses.

    A field that may be null becomes nullable; a union of types keeps one constraint per type and
    accepts integers and strings as Kubernetes writes them.
    """
    schema, nullable = _resolved(schema, definitions)
    if "anyOf" in schema:
        return _union(schema, definitions, nullable=nullable)
    out: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        out["enum"] = [schema["const"]]
    if "exclusiveMinimum" in schema:
        out |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    if nullable:
        out["nullable"] = True
    if "default" in out and out["default"] is None:
        del out["default"]
    if isinstance(schema.get("properties"), dict):
        out["properties"] = {
            name: structural(value, definitions) for name, value in schema["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    if "items" in schema or schema.get("prefixItems"):
        out["items"] = structural(schema.get("items") or schema["prefixItems"][0], definitions)
    return out


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Follow references and strip null from unions; return the schema and whether null is allowed."""
    nullable = False
    while True:
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
        if "$ref" in schema:
            schema = {**definitions[schema["$ref"].rpartition("/")[2]], **rest}
            continue
        options = schema.get("anyOf", [])
        named = [option for option in options if option.get("type") != "null"]
        nullable = nullable or len(named) < len(options)
        if options and len(named) == 1:
            schema = {**named[0], **rest}
            continue
        return ({**rest, "anyOf": named} if options else schema), nullable


def _union(schema: dict[str, Any], definitions: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    options = [structural(option, definitions) for option in schema["anyOf"]]
    out = {key: schema[key] for key in ("description", "default") if schema.get(key) is not None}
    if {option["type"] for option in options} == {"integer", "string"}:
        out["x-kubernetes-int-or-string"] = True
        branches = [
            {key: value for key, value in option.items() if key not in ("type", "description")}
            for option in options
        ]
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
        out["allOf"] = [{"anyOf": branches}]
    else:
        widest = max(options, key=lambda option: option.get("maxLength", 0))
        out |= {key: widest[key] for key in ("type", "maxLength", "minLength") if key in widest}
    return out | ({"nullable": True} if nullable else {})


def render() -> str:
    """Return the CRD as YAML, with a line that says where it comes from."""
    body = yaml.safe_dump(crd(), sort_keys=False, width=120, allow_unicode=False)
    return f"# Generated from jobs/scalequest_jobs/contract/run.py by `make generate`; do not edit.\n{body}"
