"""Copies of JSON values, as the wire makes them: nobody holds what the store holds."""

import json
import marshal
from typing import TypeVar

Value = TypeVar("Value")


def copied(value: Value) -> Value:
    """Return a copy of plain JSON; ten times as fast as `copy.deepcopy`, and most of what a simulation does."""
    copy: Value = marshal.loads(marshal.dumps(value))  # noqa: S302 - our own bytes
    return copy


def received(value: Value) -> Value:
    """Return what arrives when a value is sent: plain JSON, whatever subclasses of str it was made of."""
    plain: Value = json.loads(json.dumps(value))
    return plain
