"""Checkpoints of a training stage in the store: files first, then a receipt that makes them exist."""

import logging
import shutil
from pathlib import Path

import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ArtifactKeys, ObjectRef, Record, Sha256
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.execution import models, reading

logger = logging.getLogger(__name__)


class CheckpointReceipt(Record):
    """Makes a checkpoint exist."""

    fingerprint: Sha256
    step: int
    objects: dict[str, ObjectRef]


class CheckpointLog:
    """Saves a training job's checkpoints and finds the newest valid one of any attempt."""

    def __init__(self, store: ports.ArtifactStore, order: Order, *, shard: int, attempt: str) -> None:
        self._store = store
        self._order = order
        self._shard = shard
        self._attempt = attempt
        self._keys = ArtifactKeys(order.run.uid, order.node, order.fingerprint)

    def save(self, folder: Path, step: int) -> None:
        """Upload a checkpoint folder, then its receipt."""
        objects = {}
        for name, path in models.folder_files(folder).items():
            key = self._keys.checkpoint(self._shard, step, self._attempt, name)
            self._store.upload(key, path)
            objects[name] = ObjectRef(key=key, sha256=reading.file_sha256(path), size=path.stat().st_size)
        receipt = CheckpointReceipt(fingerprint=self._order.fingerprint, step=step, objects=objects)
        self._store.put(self._keys.checkpoint_receipt(self._shard, step, self._attempt), receipt.encode())

    def restore(self, folder: Path) -> Path | None:
        """Download the newest valid checkpoint into `folder/checkpoint-STEP`; None when there is none."""
        for key in reversed(self._store.keys(self._keys.checkpoints(self._shard))):
            try:
                return self._restore(key, folder)
            except (pydantic.ValidationError, ports.BadInputError, ports.ObjectMissingError) as error:
                logger.warning("checkpoint not used: %s: %s", key, error)
        return None

    def _restore(self, key: str, folder: Path) -> Path:
        receipt = CheckpointReceipt.model_validate_json(self._store.get(key))
        if receipt.fingerprint != self._order.fingerprint:
            raise ports.BadInputError("it is of other parameters")
        target = folder / f"checkpoint-{receipt.step}"
        shutil.rmtree(target, ignore_errors=True)  # what a damaged checkpoint of the same step left
        for name, ref in receipt.objects.items():
            models.place(self._store, ref, target / name)
        return target
