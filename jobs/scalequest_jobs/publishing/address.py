"""Where an exported dataset came from: the store and the digest of its manifest, in `scalequest.json`."""

import os
from pathlib import Path
from typing import Final

import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ArtifactRef

FILE_NAME: Final = "scalequest.json"


class DatasetAddress(pydantic.BaseModel):
    """The store (a relative folder starts at the dataset's) and the dataset's manifest."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    store: str
    artifact: ArtifactRef


def write(folder: Path, store_url: str, artifact: ArtifactRef) -> None:
    """Write the address into a dataset's folder; a folder store by its relative path."""
    is_folder = "://" not in store_url
    store = os.path.relpath(store_url, folder) if is_folder else store_url
    text = DatasetAddress(store=store, artifact=artifact).model_dump_json(indent=2)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> DatasetAddress:
    """Return the address in a dataset's folder, a relative store made absolute.

    Raises:
        BadInputError: the folder holds no published dataset.
    """
    try:
        found = DatasetAddress.model_validate_json((folder / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, pydantic.ValidationError) as error:
        raise ports.BadInputError(f"{folder} holds no published dataset: {FILE_NAME}: {error}") from error
    if "://" in found.store:
        return found
    return found.model_copy(update={"store": str((folder / found.store).resolve())})
