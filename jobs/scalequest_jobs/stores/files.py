"""What failures of the local disk mean to a stage."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scalequest_jobs import ports

_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_CLASH: Final = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Map an OSError of a block that writes `path`."""
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error


@contextlib.contextmanager
def reading_from(path: Path) -> Iterator[None]:
    """Map an OSError of a block that reads the local file `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ports.BadInputError(f"file {path} does not exist") from error
    except OSError as error:
        raise _read_error(path, error) from error


def _write_error(path: Path, error: OSError) -> ports.StageError:
    if error.errno in _DENIED:
        return ports.BadParametersError(
            f"{path} cannot be written ({error.strerror}); give the worker's user write access to its folder"
        )
    if error.errno in _CLASH:
        return ports.BadInputError(
            f"{path} cannot be written ({error.strerror}): a name is used for a file and for a folder"
        )
    if error.errno in _FULL:
        return ports.TryAgainError(
            f"{path} cannot be written: the disk is full ({error.strerror}); free space"
        )
    return ports.TryAgainError(f"{path} cannot be written: {error.strerror or error}")


def _read_error(path: Path, error: OSError) -> ports.StageError:
    if error.errno in _DENIED:
        return ports.BadParametersError(
            f"{path} cannot be read ({error.strerror}); give the worker's user read access"
        )
    if error.errno in _CLASH:
        return ports.BadInputError(f"{path} cannot be read ({error.strerror}): expected a file")
    return ports.TryAgainError(f"{path} cannot be read: {error.strerror or error}")
