"""A launcher's reads and writes: orders, cached artifacts, the commit of a stage."""

import itertools
import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract import commit, fingerprint, orders
from scalequest_jobs.contract.artifact import (
    ArtifactKeys,
    ArtifactRef,
    CacheEntry,
    ObjectRef,
    ShardManifest,
    StageManifest,
    cache_key,
)
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.execution import reading

logger = logging.getLogger(__name__)


def put_order(store: ports.ArtifactStore, order: Order) -> ObjectRef:
    """Write an order under its own digest."""
    ref, data = orders.stored(order)
    store.put(ref.key, data)
    return ref


def cached(
    store: ports.ArtifactStore, stage_fingerprint: str, *, sees_volumes: bool = True
) -> tuple[ArtifactRef, StageManifest] | None:
    """Return the artifact that an earlier run committed for a fingerprint, if it is whole.

    Whole means: the manifest has its digest and every object its size; files on volumes are left out by
    a launcher that does not see them. Content is checked by whoever reads it; an entry that points to
    something damaged counts as none.
    """
    try:
        entry = CacheEntry.model_validate_json(store.get(cache_key(stage_fingerprint)))
        manifest = reading.read_manifest(store, entry.artifact)
        refs = [ref for ref in commit.object_refs([manifest]) if sees_volumes or not ref.path]
        damaged = [ref for ref in refs if _size(store, ref) != ref.size]
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


def find_shards(
    store: ports.ArtifactStore, order: Order, named: Mapping[int, ArtifactRef]
) -> dict[int, ArtifactRef]:
    """Return a manifest for every shard of an order that has a valid one.

    Those that workers named are taken; for the others the manifests that attempts left are looked
    for. Any valid one will do: its digest is what is committed, once. One that is not what its worker
    named was changed since, and is not taken at all.
    """
    keys = ArtifactKeys(order.run.uid, order.node, order.fingerprint)
    found: dict[int, ArtifactRef] = {}
    for shard in range(order.shards):
        prefix = keys.shard_manifests(shard)
        candidates = [named[shard]] if shard in named and named[shard].key.startswith(prefix) else []
        known = {ref.key for ref in candidates}
        for ref in itertools.chain(candidates, _left_behind(store, prefix, known)):
            if _is_valid(store, order, shard, ref):
                found[shard] = ref
                break
    return found


def _left_behind(store: ports.ArtifactStore, prefix: str, known: Container[str]) -> Iterator[ArtifactRef]:
    for key in store.keys(prefix):
        if key not in known:
            yield ArtifactRef(key=key, sha256=fingerprint.sha256(store.get(key)))


def _is_valid(store: ports.ArtifactStore, order: Order, shard: int, ref: ArtifactRef) -> bool:
    try:
        manifest = _shard_manifest(store, ref)
    except (pydantic.ValidationError, ports.BadInputError, ports.ObjectMissingError) as error:
        logger.warning("not taken: shard manifest %s: %s", ref.key, error)
        return False
    mine = (order.fingerprint, shard, order.shards)
    return (manifest.fingerprint, manifest.shard, manifest.shards) == mine


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
