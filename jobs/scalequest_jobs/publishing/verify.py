"""Checking a published dataset: every digest, from its files back to the seed questions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from scalequest_jobs import ports
from scalequest_jobs.contract import tables
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef, StageManifest
from scalequest_jobs.execution import reading
from scalequest_jobs.filters import duplicates
from scalequest_jobs.publishing import address

_NO_VOLUMES: Mapping[str, Path] = {}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One fact that was held against the store: `ok`, or what is wrong."""

    subject: str
    ok: bool
    message: str = ""


def verify(
    dataset: Path,
    store: ports.ArtifactStore,
    artifact: ArtifactRef,
    volumes: Mapping[str, Path] = _NO_VOLUMES,
) -> Iterator[Check]:
    """Check the exported files, then every manifest and object upstream, and the rows between them.

    Args:
        dataset: the exported folder.
        store: where the run's artifacts are.
        artifact: the dataset's manifest.
        volumes: where folders that the run's workers saw are on this machine.

    Yields:
        One check for each exported file, stage manifest, object and edge of the graph.
    """
    try:
        manifest = reading.read_manifest(store, artifact)
    except ports.StageError as error:
        yield Check(subject=artifact.key, ok=False, message=str(error))
        return
    yield from _exported(dataset, manifest)
    yield from _rows(dataset)
    yield from _upstream(store, manifest, volumes)


def _exported(dataset: Path, manifest: StageManifest) -> Iterator[Check]:
    expected = {name: ref for receipt in manifest.receipts for name, ref in receipt.objects.items()}
    for name, ref in sorted(expected.items()):
        path = dataset / name
        seen = reading.file_sha256(path) if path.is_file() else "no file"
        message = "" if seen == ref.sha256 else f"sha256 is {seen}, published was {ref.sha256}"
        yield Check(subject=f"file {name}", ok=not message, message=message)
    present = {str(path.relative_to(dataset)) for path in dataset.rglob("*") if path.is_file()}
    for name in sorted(present - set(expected) - {address.FILE_NAME}):
        yield Check(subject=f"file {name}", ok=False, message="is not part of the published dataset")


def _rows(dataset: Path) -> Iterator[Check]:
    """Check that each row's id is its question's, and that no question is there twice."""
    seen: set[str] = set()
    for path in sorted((dataset / "data").glob("*.parquet")):
        subject = f"rows of {path.name}"
        try:
            table = pq.read_table(path)
        except (OSError, ValueError) as error:
            yield Check(subject=subject, ok=False, message=f"cannot be read: {error}")
            continue
        if table.schema.names != tables.PUBLISHED.names:
            yield Check(subject=subject, ok=False, message=f"has the columns {table.schema.names}")
            continue
        pairs = zip(table.column("question_id").to_pylist(), table.column("query").to_pylist(), strict=True)
        wrong = [question_id for question_id, query in pairs if duplicates.question_id(query) != question_id]
        repeated = [value for value in table.column("question_id").to_pylist() if value in seen]
        seen.update(table.column("question_id").to_pylist())
        message = f"{len(wrong)} wrong ids, {len(repeated)} repeated" if wrong or repeated else ""
        yield Check(subject=subject, ok=not message, message=message)


def _upstream(
    store: ports.ArtifactStore, dataset: StageManifest, volumes: Mapping[str, Path]
) -> Iterator[Check]:
    manifests: dict[str, StageManifest] = {dataset.node: dataset}
    todo = list(dataset.inputs.values())
    known: set[str] = set()
    while todo:
        ref = todo.pop()
        if ref.key in known:
            continue
        known.add(ref.key)
        try:
            manifest = reading.read_manifest(store, ref)
        except ports.StageError as error:
            yield Check(subject=f"manifest {ref.key}", ok=False, message=str(error))
            continue
        yield Check(subject=f"manifest {manifest.node}", ok=True)
        manifests[manifest.node] = manifest
        todo += manifest.inputs.values()
    for node, manifest in sorted(manifests.items()):
        yield from _objects(store, node, manifest, volumes)
    yield from _conservation(manifests)


def _objects(
    store: ports.ArtifactStore, node: str, manifest: StageManifest, volumes: Mapping[str, Path]
) -> Iterator[Check]:
    for receipt in manifest.receipts:
        for name, ref in sorted(receipt.objects.items()):
            subject = f"object {node} chunk {receipt.chunk} {name}"
            try:
                reading.verify_object(store, _on_this_machine(ref, volumes))
            except ports.StageError as error:
                yield Check(subject=subject, ok=False, message=str(error))
            else:
                yield Check(subject=subject, ok=True)


def _on_this_machine(ref: ObjectRef, volumes: Mapping[str, Path]) -> ObjectRef:
    for there, here in volumes.items():
        if ref.path and Path(ref.path).is_relative_to(there):
            return ref.model_copy(update={"path": str(here / Path(ref.path).relative_to(there))})
    return ref


_WHOLE_INPUT = {
    "build-preference-pairs": ("rewrites",),
    "clean-questions": ("raw:",),
    "estimate-fail-rates": ("seeds",),
    "generate-responses": ("questions",),
    "judge-solvability": ("questions",),
    "publish-dataset": ("rows",),
    "rewrite-questions": ("questions",),
    "score-responses": ("candidates",),
    "select-questions": ("judgements",),
    "select-responses": ("candidates",),
    "train-difficulty-scorer": ("labels",),
    "train-question-generator": ("seeds",),
    "train-question-preference": ("pairs",),
}
"""The inputs whose rows a stage must account for to the last one."""


def _conservation(manifests: dict[str, StageManifest]) -> Iterator[Check]:
    """Check that what a stage took in is what the stages before it put out."""
    by_key = {manifest.fingerprint: manifest for manifest in manifests.values()}
    for node, manifest in sorted(manifests.items()):
        prefixes = _WHOLE_INPUT.get(manifest.stage)
        if prefixes is None:
            continue
        sources = [ref for name, ref in manifest.inputs.items() if name.startswith(prefixes)]
        found = [_by_ref(ref, by_key) for ref in sources]
        if None in found:
            continue
        given = sum(source.counts.rows_out for source in found if source)
        taken = max((receipt.last for receipt in manifest.receipts), default=0)
        message = "" if given == taken else f"was given {given} rows and accounts for {taken}"
        yield Check(subject=f"rows into {node}", ok=not message, message=message)


def _by_ref(ref: ArtifactRef, by_fingerprint: dict[str, StageManifest]) -> StageManifest | None:
    """Return the manifest that a reference names; its key holds the start of the fingerprint."""
    return next((m for f, m in by_fingerprint.items() if f"/{m.node}/{f[:16]}/" in ref.key), None)
