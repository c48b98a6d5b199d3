"""Label and field selectors, as far as the operator may use them."""

import re
from typing import Any

from scalequest_operator import cluster, errors

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)$")

_FIELDS = {
    "pods": {"spec.nodeName", "status.phase"},
    "events": {"involvedObject.name", "involvedObject.uid", "involvedObject.kind", "reason", "type"},
}
"""Fields of a resource that the API server can select by, beside the name and the namespace."""


def labels_match(selector: str, body: cluster.Body) -> bool:
    """Tell whether an object's labels fit every requirement of a selector."""
    labels: dict[str, str] = body["metadata"].get("labels") or {}
    return all(_fits(term.strip(), labels) for term in _terms(selector))


def fields_match(selector: str, body: cluster.Body, resource: cluster.Resource) -> bool:
    """Tell whether an object's fields fit; refuse fields that the API server does not select by."""
    known = {"metadata.name", "metadata.namespace"} | _FIELDS.get(resource.plural, set())
    for term in filter(None, selector.split(",")):
        name, equals, wanted = term.partition("=")
        if not equals or name not in known:
            raise errors.InvalidError(f"field label not supported: {term}")
        if str(_field(body, name) or "") != wanted.removeprefix("="):
            return False
    return True


def _terms(selector: str) -> list[str]:
    return [term for term in re.split(r",(?![^(]*\))", selector) if term.strip()]


def _fits(term: str, labels: dict[str, str]) -> bool:
    if found := _SET.match(term):
        values = {value.strip() for value in found["values"].split(",")}
        return (labels.get(found["key"]) in values) == (found["operator"] == "in")
    if "!=" in term:
        key, _, value = term.partition("!=")
        return labels.get(key) != value
    if "=" in term:
        key, _, value = term.partition("=")
        return labels.get(key) == value.removeprefix("=")
    return term[1:] not in labels if term.startswith("!") else term in labels


def _field(body: cluster.Body, path: str) -> Any:
    value: Any = body
    for part in path.split("."):
        value = (value or {}).get(part)
    return value
