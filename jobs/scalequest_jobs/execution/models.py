"""Model artifacts as folders on the worker's disk."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import ObjectRef, StageManifest
from scalequest_jobs.execution import reading


def model_digest(manifest: StageManifest) -> str:
    """Return the identity of a model: the digest of its files' names and digests."""
    return fingerprint.digest({name: ref.sha256 for name, ref in _files(manifest).items()})


def _files(manifest: StageManifest) -> dict[str, ObjectRef]:
    return {
        name: ref
        for receipt in manifest.receipts
        for name, ref in receipt.objects.items()
        if name != "rejects"
    }


def materialise(
    store: ports.ArtifactStore,
    manifest: StageManifest,
    cache: Path,
    *,
    check_stop: Callable[[], None] = lambda: None,
) -> Path:
    """Return a folder with the model's files, each checked against its digest.

    The folder is named by the model's digest and appears complete or not at all, so workers of one
    machine share it. Files on a volume are linked, not copied. `check_stop` is called before each file.
    """
    folder = cache / "models" / model_digest(manifest)[:32]
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        place_files(store, manifest, partial, check_stop=check_stop)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def place_files(
    store: ports.ArtifactStore,
    manifest: StageManifest,
    folder: Path,
    *,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Write an artifact's files into a folder, each checked against its digest."""
    for name, ref in _files(manifest).items():
        check_stop()
        place(store, ref, folder / name)


def place(store: ports.ArtifactStore, ref: ObjectRef, target: Path) -> None:
    """Write an object to a file, checked against its digest and never held in memory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if ref.path:
        target.symlink_to(Path(ref.path).absolute())
    else:
        store.download(ref.key, target)
    if not target.exists() or (seen := reading.file_sha256(target)) != ref.sha256:
        raise ports.BadInputError(
            f"file {ref.path or ref.key} is not what was recorded (expected sha256 {ref.sha256}, "
            f"seen {seen if target.exists() else 'no file'}); restore it, or start the run again"
        )


def folder_files(folder: Path) -> dict[str, Path]:
    """Return a folder's files by their path in it."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
