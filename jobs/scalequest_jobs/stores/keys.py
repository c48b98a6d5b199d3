"""Which keys every store accepts: those that are legal in S3 and as file names alike."""

import re
from typing import Final

from scalequest_jobs import ports

MAX_KEY_LENGTH: Final = 1024
"""S3 User Guide, "Naming Amazon S3 objects": a key has at most 1,024 bytes."""
MAX_PART_LENGTH: Final = 255
"""The limit of a file name on ext4, XFS and NFS."""
_PART: Final = re.compile(r"[A-Za-z0-9._=@+-]+")


def checked(key: str) -> str:
    """Return the key, or raise BadParametersError that says what is wrong with it."""
    parts = key.split("/")
    if len(key) > MAX_KEY_LENGTH or any(len(part) > MAX_PART_LENGTH for part in parts):
        raise ports.BadParametersError(
            f"key {key[:80]!r}... is too long: at most {MAX_KEY_LENGTH} characters, {MAX_PART_LENGTH} between slashes"
        )
    if not all(_is_portable(part) for part in parts):
        raise ports.BadParametersError(
            f"key {key!r} is not allowed: expected parts of A-Z a-z 0-9 . _ = @ + - separated by single '/', none of them '.' or '..'"
        )
    return key


def checked_prefix(prefix: str) -> str:
    """Return a prefix of keys: empty, ending in a slash, or ending anywhere inside a key."""
    if prefix:
        checked(prefix.removesuffix("/"))
    return prefix


def _is_portable(part: str) -> bool:
    return part not in {".", ".."} and _PART.fullmatch(part) is not None
