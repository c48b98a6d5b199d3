"""Identity of values: canonical JSON, digests, and seeds derived from names.

A fingerprint refuses what it cannot pin: a value with no stable form is an error, never `str()`.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

SEED_BITS: Final = 63


def canonical(value: object) -> bytes:
    """Return the one JSON form of a value: sorted keys, no spaces, floats as shortest decimals.

    Raises:
        TypeError: for anything but None, bool, int, finite float, str, and lists and string-keyed
            mappings of these; the message names the place.
    """
    _check(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _check(value: object, place: str) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                raise TypeError(f"{place} is {value}: a fingerprint needs finite numbers")
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"{place} has the key {key!r}: a fingerprint needs string keys")
                _check(item, f"{place}.{key}")
        case Sequence() if not isinstance(value, bytes | bytearray):
            for index, item in enumerate(value):
                _check(item, f"{place}[{index}]")
        case _:
            raise TypeError(
                f"{place} is a {type(value).__name__}, which has no stable form for a fingerprint"
            )


def digest(value: object) -> str:
    """Return the sha256 of the canonical form, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def sha256(data: bytes) -> str:
    """Return the sha256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def seed(*parts: str | int) -> int:
    """Return a 63-bit seed that differs for every distinct sequence of parts.

    Consecutive seeds collide between neighbours in engines that derive seed + i for a request's
    samples, so seeds are hashes (engines' parallel sampling; ScaleQuest's own code used the clock).
    """
    return int.from_bytes(hashlib.sha256(canonical(list(parts))).digest()[:8], "big") >> (64 - SEED_BITS)
