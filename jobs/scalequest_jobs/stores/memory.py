"""Objects in memory, for tests and dry runs."""

import threading
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.stores import atomic, files, keys


class MemoryStore:
    """Keeps objects in a dictionary. Nothing outlives the process."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        with self._lock:
            self._objects[keys.checked(key)] = bytes(data)

    def get(self, key: str) -> bytes:
        """Return an object's content."""
        with self._lock:
            found = self._objects.get(keys.checked(key))
        if found is None:
            raise ports.ObjectMissingError(f"no object {key!r} in {self.describe()}")
        return found

    def size(self, key: str) -> int:
        """Return an object's length in bytes."""
        return len(self.get(key))

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file."""
        with files.reading_from(path):
            self.put(key, path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a file; the file appears only when it is complete."""
        data = self.get(key)
        with files.writing_to(path), atomic.writing(path) as target:
            target.write(data)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""
        keys.checked_prefix(prefix)
        with self._lock:
            return sorted(key for key in self._objects if key.startswith(prefix))

    def describe(self) -> str:
        """Return a name for messages."""
        return "memory"
