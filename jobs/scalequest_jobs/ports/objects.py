"""Objects by key."""

from pathlib import Path
from typing import Protocol

from scalequest_jobs.ports.errors import StageError


class ObjectMissingError(StageError):
    """No object has this key; the message names the key and the store."""


class ArtifactStore(Protocol):
    """Objects by key. Nothing else is relied on: no rename, no conditional write, no overwrite.

    Keys are `/`-separated relative paths. A write is atomic (a reader sees all of it or nothing)
    and durable once the call returns. Reading back one's own write always works. Every method
    raises TryAgainError when the store cannot be reached, and `get`, `size` and `download` raise
    ObjectMissingError for a key that does not exist.
    """

    def put(self, key: str, data: bytes) -> None:
        """Write an object; the store checks the content digest on the way in where it can."""

    def get(self, key: str) -> bytes:
        """Return an object's content."""

    def size(self, key: str) -> int:
        """Return an object's length in bytes."""

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file without holding it in memory."""

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a file; the file appears only when it is complete."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted. Never used to decide what is committed."""

    def describe(self) -> str:
        """Return the store's address for messages, without credentials."""
