"""Which files of a hub repository make a model.

Source: Hugging Face hub API, `/api/models/REPO/revision/COMMIT?blobs=true`: `sha` is the commit, each
of `siblings` has `rfilename`, `size`, `blobId` (git's id of the content) and, for a large file,
`lfs.sha256`.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from scalequest_jobs import ports
from scalequest_jobs.stores import keys

_GIB: Final = 1024**3
_WANTED: Final = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})
"""Weights, configuration, vocabularies, SentencePiece models and chat templates: no code, no pickles."""
_PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".ckpt"})
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubLimits:
    """What is too much, in bytes and files. The defaults hold a 235B model in 16 bits."""

    file_bytes: int = 64 * _GIB
    total_bytes: int = 512 * _GIB
    file_count: int = 2000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file as the hub declares it. `size` may be unknown; of the digests at most one is given."""

    path: str
    size: int | None
    sha256: str = ""
    git_blob: str = ""


def is_model_file(path: str) -> bool:
    """Say whether a path names a file of a model: by its suffix, see above."""
    return PurePosixPath(path).suffix in _WANTED


def wanted(listing: Any, repository: str, revision: str, limits: HubLimits) -> list[Entry]:
    """Return the model's files, sorted by path.

    Raises BadParametersError when the hub lists another commit, and BadInputError when there are no
    safetensors weights, a path could leave the target folder, or the sizes pass the limits.
    """
    if not isinstance(listing, dict) or not isinstance(listing.get("siblings"), list):
        raise ports.BadInputError(
            f"{repository}: the hub's listing has no `siblings`; is it a model hub's address?"
        )
    if listing.get("sha") != revision:
        raise ports.BadParametersError(
            f"{repository}: asked for commit {revision}, the hub lists {str(listing.get('sha'))[:40]!r}; give a commit"
        )
    entries = [_entry(sibling, repository) for sibling in listing["siblings"]]
    chosen = sorted(
        (e for e in entries if PurePosixPath(e.path).suffix in _WANTED), key=lambda entry: entry.path
    )
    _check_paths(chosen, repository)
    _check_weights(entries, repository)
    _check_limits(chosen, repository, limits)
    return chosen


def _entry(sibling: Any, repository: str) -> Entry:
    name = sibling.get("rfilename") if isinstance(sibling, dict) else None
    if not isinstance(name, str):
        raise ports.BadInputError(f"{repository}: the hub lists a file without a name: {str(sibling)[:80]!r}")
    large = sibling.get("lfs")
    large = large if isinstance(large, dict) else {}
    size = large.get("size", sibling.get("size"))
    sha256 = str(large.get("sha256") or "")
    git_blob = str(sibling.get("blobId") or "")
    return Entry(
        path=name,
        size=size if isinstance(size, int) and size >= 0 else None,
        sha256=sha256 if _SHA256.fullmatch(sha256) else "",
        # A large file's blob is its pointer, not its content.
        git_blob=git_blob if not large and _SHA1.fullmatch(git_blob) else "",
    )


def _check_paths(entries: list[Entry], repository: str) -> None:
    paths = [entry.path for entry in entries]
    for path in paths:
        try:
            keys.checked(path)
        except ports.BadParametersError as error:
            raise ports.BadInputError(
                f"{repository}: the hub lists a path that is not safe to write: {error}"
            ) from error
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise ports.BadInputError(f"{repository}: the hub lists {twice[0]!r} twice")


def _check_weights(entries: list[Entry], repository: str) -> None:
    suffixes = {PurePosixPath(entry.path).suffix for entry in entries}
    if ".safetensors" in suffixes:
        return
    if pickles := sorted(entry.path for entry in entries if PurePosixPath(entry.path).suffix in _PICKLES):
        raise ports.BadInputError(
            f"{repository} has weights only as pickles ({', '.join(pickles[:3])}), which run code when they are"
            " loaded; expected *.safetensors: take a commit that has them, or convert and upload the model"
        )
    raise ports.BadInputError(
        f"{repository} has no weights; expected *.safetensors among its {len(entries)} files"
    )


def _check_limits(entries: list[Entry], repository: str, limits: HubLimits) -> None:
    if len(entries) > limits.file_count:
        raise ports.BadInputError(
            f"{repository} has {len(entries)} files; at most {limits.file_count} are allowed"
        )
    for entry in entries:
        if (entry.size or 0) > limits.file_bytes:
            raise ports.BadInputError(
                f"{repository}: {entry.path} has {entry.size} bytes; at most {limits.file_bytes} are allowed"
            )
    if (total := sum(entry.size or 0 for entry in entries)) > limits.total_bytes:
        raise ports.BadInputError(f"{repository} has {total} bytes; at most {limits.total_bytes} are allowed")
