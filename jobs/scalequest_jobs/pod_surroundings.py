"""What libraries expect around a process and a restricted pod does not give: a home, a name, temporary space.

Such a pod has a read-only root file system, a small /tmp, and a user id without a name, for which the
container runtime sets HOME=/. vLLM, torch, triton, CUDA and the Hugging Face libraries keep caches under
HOME, torch asks for the user's name, and py3langid unpacks more than 64 MB into the temporary folder.
"""

import getpass
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scalequest_jobs import ports

_USER: Final = "scalequest"


def settle(cache: Path) -> None:
    """Make the cache folder, and point what `os.environ` lacks into it.

    Call it before a heavy library is imported: some read HOME only then.

    Raises:
        BadParametersError: the folder cannot be written.
    """
    wanted = variables(os.environ, cache)
    try:
        for folder in {cache, *(Path(value) for name, value in wanted.items() if name != "USER")}:
            folder.mkdir(parents=True, exist_ok=True)
            _try_to_write(folder)
    except OSError as error:
        raise ports.BadParametersError(
            f"the cache folder {cache} cannot be written ({error.strerror}); mount a volume there that the worker's "
            "user may write to"
        ) from error
    os.environ.update(wanted)
    tempfile.tempdir = None  # forget the folder that was found without TMPDIR


def variables(environment: Mapping[str, str], cache: Path) -> dict[str, str]:
    """Return the variables to set: HOME unless it can be written to, TMPDIR and USER unless they are known."""
    wanted: dict[str, str] = {}
    if not _can_be_written(environment.get("HOME")):
        wanted["HOME"] = str(cache / "home")
    if not environment.get("TMPDIR"):
        wanted["TMPDIR"] = str(cache / "tmp")
    if not _has_name():
        wanted["USER"] = _USER
    return wanted


def _can_be_written(folder: str | None) -> bool:
    if not folder:
        return False
    try:
        _try_to_write(Path(folder))
    except OSError:
        return False
    return True


def _try_to_write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        pass


def _has_name() -> bool:
    try:
        return bool(getpass.getuser())
    except (KeyError, OSError):  # KeyError before Python 3.13
        return False
