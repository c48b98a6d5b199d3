"""Objects as files in a folder: the store of `scalequest local`."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from scalequest_jobs import ports
from scalequest_jobs.stores import atomic, files, keys


class FolderStore:
    """Keeps each object in a file of the key's name under `root`, which is made when first written to.

    A write is a temporary file in the same folder, fsync, rename, fsync of the folder; it may be
    repeated. A key and a longer key below it ("a" and "a/b") cannot both exist. Several processes
    may share the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        with self._writing(key) as target:
            target.write(data)

    def get(self, key: str) -> bytes:
        """Return an object's content."""
        with self._reading(key) as path:
            return path.read_bytes()

    def size(self, key: str) -> int:
        """Return an object's length in bytes."""
        with self._reading(key) as path:
            return path.stat().st_size

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file without holding it in memory."""
        with files.reading_from(path):
            source = path.open("rb")
        with source, self._writing(key) as target:
            shutil.copyfileobj(source, target, 1024 * 1024)

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a file; the file appears only when it is complete."""
        with self._reading(key) as stored:
            source = stored.open("rb")
        with source, files.writing_to(path), atomic.writing(path) as target:
            shutil.copyfileobj(source, target, 1024 * 1024)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted; unfinished files are no objects."""
        deepest = keys.checked_prefix(prefix).rpartition("/")[0]
        with files.reading_from(self._root):
            found = [path.relative_to(self._root).as_posix() for path in _objects(self._root / deepest)]
        return sorted(key for key in found if key.startswith(prefix))

    def describe(self) -> str:
        """Return the folder's address."""
        return f"folder {self._root}"

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[BinaryIO]:
        path = self._root / keys.checked(key)
        with files.writing_to(path), atomic.writing(path) as target:
            yield target

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[Path]:
        path = self._root / keys.checked(key)
        with files.reading_from(path):
            if not path.is_file():
                raise ports.ObjectMissingError(f"no object {key!r} in {self.describe()}")
            yield path


def _objects(folder: Path) -> Iterator[Path]:
    """Yield the finished files below a folder, which need not exist. Raises OSError."""
    for parent, _, names in os.walk(folder, onerror=_raise_unless_missing):
        yield from (Path(parent, name) for name in names if not name.startswith(atomic.TEMPORARY_MARK))


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
