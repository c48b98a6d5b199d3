"""The order of a stage: made purely, stored under its own digest."""

from collections.abc import Mapping

from scalequest_jobs.contract import fingerprint, graph
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef, order_key
from scalequest_jobs.contract.compute import StageCompute
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Order, RunIdentity, Stage


def make(
    stage: Stage,
    node: Node,
    spec: Spec,
    *,
    run: RunIdentity,
    inputs: Mapping[str, ArtifactRef],
    engine_identity: str,
) -> Order:
    """Return the order for a node whose inputs are committed. Same input, same order."""
    override = spec.compute.stages.get(stage.name, StageCompute(resources={}))
    return Order(
        run=run,
        node=node.name,
        stage=stage.name,
        stage_version=stage.version,
        generator=node.generator,
        domain=spec.domain,
        parameters=node.parameters.model_dump(mode="json"),
        inputs=dict(inputs),
        seed=spec.seed,
        fingerprint=graph.stage_fingerprint(stage, node, spec, inputs, engine_identity),
        shards=override.shards if stage.sharded else 1,
        chunk_rows=(override.chunk_rows or stage.chunk_rows) if stage.chunk_rows else 0,
        engine=spec.compute.engine,
    )


def stored(order: Order) -> tuple[ObjectRef, bytes]:
    """Return where an order goes, with its digest, and its bytes."""
    data = order.encode()
    sha256 = fingerprint.sha256(data)
    return ObjectRef(key=order_key(order.run.uid, order.node, sha256), sha256=sha256, size=len(data)), data
