"""The CustomResourceDefinition, generated from `run.py` and `status.py`."""

from typing import Any, Final

import yaml

from scalequest_jobs.contract import cel, openapi
from scalequest_jobs.contract.run import API_VERSION, KIND, Metadata, Spec
from scalequest_jobs.contract.status import RunStatus

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
_WIDE_COLUMNS: Final = (
    ("Profile", "string", ".spec.compute.profile"),
    ("Started", "date", ".status.started"),
    ("Finished", "date", ".status.finished"),
)


def crd() -> dict[str, Any]:
    """Return the CRD as a mapping."""
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
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> openapi.Schema:
    """Return the schema of a run."""
    name = openapi.of_model(Metadata)["properties"]["name"]
    run: openapi.Schema = {
        "type": "object",
        "description": "One run: from seed questions to a published dataset, by the method of the ScaleQuest "
        "paper (arXiv 2410.18693). Defaults are the paper's where it states a value.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": openapi.of_model(Spec),
            "status": _status(),
        },
        "x-kubernetes-validations": [cel.of_run_name(name["pattern"], name["maxLength"])],
    }
    cel.attach(run)
    openapi.tell_defaults(run)
    return run


def _status() -> openapi.Schema:
    status = openapi.without_defaults(openapi.of_model(RunStatus))
    for field, key in (("stages", "name"), ("conditions", "type")):
        status["properties"][field] |= {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": [key],
        }
    return status


def _columns() -> list[dict[str, Any]]:
    columns = [{"name": name, "type": kind, "jsonPath": path} for name, kind, path in _COLUMNS]
    wide = [
        {"name": name, "type": kind, "jsonPath": path, "priority": 1} for name, kind, path in _WIDE_COLUMNS
    ]
    return columns + wide


def render() -> str:
    """Return the CRD as YAML, with a line that says where it comes from."""
    body = yaml.safe_dump(crd(), sort_keys=False, width=120, allow_unicode=False)
    return f"# Generated from jobs/scalequest_jobs/contract/run.py by `make generate`; do not edit.\n{body}"
