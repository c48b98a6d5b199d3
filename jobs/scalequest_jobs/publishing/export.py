"""A published dataset's files, copied from the store to a folder that appears as a whole or not at all."""

import shutil
import tempfile
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ArtifactRef, StageManifest
from scalequest_jobs.execution import models
from scalequest_jobs.publishing import address


def export(
    store: ports.ArtifactStore, store_url: str, artifact: tuple[ArtifactRef, StageManifest], target: Path
) -> Path:
    """Copy a published dataset from the store to a folder; a folder that was there is replaced as a whole.

    Every file is checked against its digest.

    Raises:
        BadInputError: a file is not what was published.
    """
    ref, manifest = artifact
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        models.place_files(store, manifest, partial)
        address.write(partial, store_url, ref)
        old = partial.with_name(f"{partial.name}-old")
        if target.exists():
            target.replace(old)
        partial.chmod(0o755)
        partial.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
