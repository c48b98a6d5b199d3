"""A tiny catalog for whole runs: two parallel stages, one of them sharded, and a join. No engines, no rows."""

from collections.abc import Mapping

import pytest

from scalequest_jobs import catalog
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import DATASET, Node, Parameters, Role, Stage
from scalequest_jobs.stages import publish_dataset

SHARDED = "generate-questions@a"
SINGLE = "fetch-model@writer"


class NoParameters(Parameters):
    """The tiny stages do the same work in every run."""


def _stage(
    node: str, role: Role, output: str, *, inputs: Mapping[str, str] | None = None, sharded: bool = False
) -> Stage:
    name = node.partition("@")[0]

    def nodes(spec: Spec) -> tuple[Node, ...]:
        return (Node(name=node, stage=name, parameters=NoParameters(), inputs=inputs or {}),)

    return Stage(
        name=name,
        version=1,
        role=role,
        output=output,
        parameters=NoParameters,
        nodes=nodes,
        run=lambda _: None,
        source="none: a test's stage",
        sharded=sharded,
        chunk_rows=1,
    )


STAGES = (
    _stage(SHARDED, Role.GENERATE, "questions", sharded=True),
    _stage(SINGLE, Role.CPU, "model"),
    _stage(publish_dataset.NAME, Role.CPU, DATASET, inputs={"rows": SHARDED, "model": SINGLE}),
)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the tiny stages in the place of the method's."""
    monkeypatch.setattr(catalog, "STAGES", STAGES)
