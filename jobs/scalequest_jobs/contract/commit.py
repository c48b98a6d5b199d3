"""The launcher's side of the commit protocol: shard manifests become a stage manifest, purely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import (
    NO_COUNTS,
    ArtifactKeys,
    ArtifactRef,
    ObjectRef,
    ShardManifest,
    StageManifest,
)
from scalequest_jobs.contract.stage import Order


class CommitError(ValueError):
    """Shard manifests do not make a whole stage; the message says what is wrong."""


def compose(order: Order, kind: str, shards: Sequence[ShardManifest]) -> StageManifest:
    """Return the stage manifest of all shards of an order.

    Same input, same manifest. `kind` is the stage's output.

    Raises:
        CommitError: a shard is missing, is of another order, or the chunks leave a gap.
    """
    ordered = sorted(shards, key=lambda manifest: manifest.shard)
    if [manifest.shard for manifest in ordered] != list(range(order.shards)):
        raise CommitError(f"{order.node}: shards {[m.shard for m in ordered]} of {order.shards} are there")
    if any(m.fingerprint != order.fingerprint or m.shards != order.shards for m in ordered):
        raise CommitError(f"{order.node}: a shard manifest is of another order")
    receipts = tuple(receipt for manifest in ordered for receipt in manifest.receipts)
    _check_cover(order, [(receipt.chunk, receipt.first, receipt.last) for receipt in receipts])
    return StageManifest(
        node=order.node,
        stage=order.stage,
        stage_version=order.stage_version,
        generator=order.generator,
        kind=kind,
        fingerprint=order.fingerprint,
        inputs=order.inputs,
        parameters=order.parameters,
        engine=_engine(ordered),
        receipts=receipts,
        counts=sum((receipt.counts for receipt in receipts), NO_COUNTS),
        started=min(manifest.started for manifest in ordered),
        finished=max(manifest.finished for manifest in ordered),
        worker_seconds=sum(receipt.finished - receipt.started for receipt in receipts),
    )


def _check_cover(order: Order, chunks: Sequence[tuple[int, int, int]]) -> None:
    end = 0
    for number, (index, first, last) in enumerate(chunks):
        if index != number or first != end:
            raise CommitError(
                f"{order.node}: chunk {index} starts at row {first}, expected chunk {number} at {end}"
            )
        end = last


def _engine(shards: Sequence[ShardManifest]) -> dict[str, str]:
    """Return the engine of all shards; values that differ between shards are joined."""
    merged: dict[str, set[str]] = {}
    for manifest in shards:
        for name, value in manifest.engine.items():
            merged.setdefault(name, set()).add(value)
    return {name: ", ".join(sorted(values)) for name, values in sorted(merged.items())}


def stage_object(run_uid: str, manifest: StageManifest) -> tuple[ArtifactRef, bytes]:
    """Return where a stage manifest goes, with its digest, and its bytes."""
    data = manifest.encode()
    sha256 = fingerprint.sha256(data)
    key = ArtifactKeys(run_uid, manifest.node, manifest.fingerprint).stage_manifest(sha256)
    return ArtifactRef(key=key, sha256=sha256, content=manifest.content()), data


def object_refs(manifests: Iterable[StageManifest]) -> list[ObjectRef]:
    """Return every object that the manifests commit to."""
    return [ref for m in manifests for receipt in m.receipts for ref in receipt.objects.values()]
