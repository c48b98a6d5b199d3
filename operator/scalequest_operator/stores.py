"""The buckets of runs, opened once each with the operator's own credentials."""

import threading
from collections.abc import Callable
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.contract.run import Storage
from scalequest_jobs.stores.address import open_store
from scalequest_operator.configuration import StoreConfiguration

Opener = Callable[[StoreConfiguration, Storage], ports.ArtifactStore]


def open_bucket(store: StoreConfiguration, storage: Storage) -> ports.ArtifactStore:
    """Return a run's bucket at an S3 server. Outages are known within seconds: other runs wait for the same workers."""
    prefix = f"/{storage.prefix.strip('/')}" if storage.prefix else ""
    return open_store(
        f"s3+{store.endpoint}/{storage.bucket}{prefix}",
        credentials=Path(store.credentials_folder),
        region=store.region,
        ca_file=Path(store.ca_file) if store.ca_file else None,
        patient=False,
    )


class Buckets:
    """Opened buckets, shared by all runs that name the same place. Thread-safe."""

    def __init__(self, opener: Opener = open_bucket) -> None:
        self._opener = opener
        self._opened: dict[tuple[str, str, str | None], ports.ArtifactStore] = {}
        self._guard = threading.Lock()

    def open(self, store: StoreConfiguration, storage: Storage) -> ports.ArtifactStore:
        """Return the bucket; raises BadParametersError when the credentials cannot be read."""
        place = (store.endpoint, storage.bucket, storage.prefix)
        with self._guard:
            if place not in self._opened:
                self._opened[place] = self._opener(store, storage)
            return self._opened[place]

    def forget(self) -> None:
        """Open buckets anew: the configuration changed."""
        with self._guard:
            self._opened.clear()
