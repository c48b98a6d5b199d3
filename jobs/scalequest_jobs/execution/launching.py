"""A launcher's reads and writes: orders, cached artifacts, the commit of a stage."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract import commit, fingerprint, graph
from scalequest_jobs.contract.artifact import (
    ArtifactRef,
    CacheEntry,
    ObjectRef,
    ShardManifest,
    StageManifest,
    cache_key,
    order_key,
)
from scalequest_jobs.contract.compute import StageCompute
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Order, RunIdentity, Stage
from scalequest_jobs.execution import reading

logger = logging.getLogger(__name__)


def make_order(
    stage: Stage,
    node: Node,
    spec: Spec,
    *,
    run: RunIdentity,
    inputs: Mapping[str, ArtifactRef],
    engine_identity: str,
) -> Order:
    """Return the order for a node whose inputs are committed."""
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


def put_order(store: ports.ArtifactStore, order: Order) -> ObjectRef:
    """Write an order under its own digest."""
    data = order.encode()
    sha256 = fingerprint.sha256(data)
    key = order_key(order.run.uid, order.node, sha256)
    store.put(key, data)
    return ObjectRef(key=key, sha256=sha256, size=len(data))


def cached(store: ports.ArtifactStore, stage_fingerprint: str) -> tuple[ArtifactRef, StageManifest] | None:
    """Return the artifact that an earlier run committed for a fingerprint, if it is whole.

    Whole means: the manifest has its digest and every object its size. Content is checked by whoever
    reads it; an entry that points to something damaged counts as none.
    """
    try:
        entry = CacheEntry.model_validate_json(store.get(cache_key(stage_fingerprint)))
        manifest = reading.read_manifest(store, entry.artifact)
        damaged = [ref for ref in commit.object_refs([manifest]) if _size(store, ref) != ref.size]
    except ports.ObjectMissingError:
        return None
    except (pydantic.ValidationError, ports.BadInputError, OSError) as error:
        logger.warning("cache entry %s not used: %s", stage_fingerprint[:12], error)
        return None
    if damaged or manifest.fingerprint != stage_fingerprint:
        logger.warning("cache entry %s points to something damaged: %s", stage_fingerprint[:12], damaged)
        return None
    return entry.artifact, manifest


def _size(store: ports.ArtifactStore, ref: ObjectRef) -> int:
    return Path(ref.path).stat().st_size if ref.path else store.size(ref.key)


def commit_stage(
    store: ports.ArtifactStore, order: Order, kind: str, shards: Sequence[ArtifactRef]
) -> tuple[ArtifactRef, StageManifest]:
    """Verify the shards' manifests, write the stage's, and point the cache to it."""
    manifests = [_shard_manifest(store, ref) for ref in shards]
    manifest = commit.compose(order, kind, manifests)
    ref, data = commit.stage_object(order.run.uid, manifest)
    store.put(ref.key, data)
    store.put(cache_key(order.fingerprint), CacheEntry(fingerprint=order.fingerprint, artifact=ref).encode())
    return ref, manifest


def _shard_manifest(store: ports.ArtifactStore, ref: ArtifactRef) -> ShardManifest:
    data = reading.read_object(store, ObjectRef(key=ref.key, sha256=ref.sha256, size=0))
    return ShardManifest.model_validate_json(data)
