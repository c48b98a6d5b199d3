"""Canonical JSON, digests and seeds."""

import hashlib
import itertools
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalequest_jobs.contract import fingerprint

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Say whether two values are one JSON text: types count, 1 is neither 1.0 nor true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


@given(values)
def test_reading_the_canonical_form_gives_the_value_back(value: Any) -> None:
    data = fingerprint.canonical(value)
    assert same(json.loads(data), value)
    assert fingerprint.canonical(json.loads(data)) == data


@given(values, values)
def test_values_have_equal_bytes_exactly_when_they_are_the_same_json(one: Any, other: Any) -> None:
    assert (fingerprint.canonical(one) == fingerprint.canonical(other)) == same(one, other)


@given(st.dictionaries(st.text(), scalars, min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(value: dict[str, Any], rng: Any) -> None:
    items = list(value.items())
    rng.shuffle(items)
    assert fingerprint.canonical(dict(items)) == fingerprint.canonical(value)


def test_the_form_is_ascii_without_spaces_and_tuples_are_lists() -> None:
    assert fingerprint.canonical({"b": (1, 2.5), "a": "caf\u00e9"}) == b'{"a":"caf\\u00e9","b":[1,2.5]}'
    assert fingerprint.digest([1]) == hashlib.sha256(b"[1]").hexdigest()
    assert fingerprint.sha256(b"") == hashlib.sha256(b"").hexdigest()


class Thing:
    """A value without a stable form."""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, "value is a set"),
        (frozenset(), "value is a frozenset"),
        ({"a": [0, {"b": {3}}]}, r"value\.a\[1\]\.b is a set"),
        (b"bytes", "value is a bytes"),
        ([bytearray(b"x")], r"value\[0\] is a bytearray"),
        ({"a": Thing()}, r"value\.a is a Thing, which has no stable form"),
        (Thing, "value is a type"),
        (Path("x"), "value is a PosixPath"),
        (datetime(2024, 10, 24, tzinfo=UTC), "value is a datetime"),
        (1j, "value is a complex"),
        (math.nan, "value is nan: a fingerprint needs finite numbers"),
        ([1.0, -math.inf], r"value\[1\] is -inf"),
        ({"a": {1: 2}}, r"value\.a has the key 1: a fingerprint needs string keys"),
        ({None: 2}, "value has the key None"),
    ],
)
def test_a_value_without_a_stable_form_is_refused_with_its_place(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fingerprint.canonical(value)
    with pytest.raises(TypeError, match=message):
        fingerprint.digest(value)


parts = st.lists(st.text(max_size=3) | st.integers(-3, 300), max_size=4)


@given(parts, parts)
def test_distinct_parts_have_distinct_seeds(one: list[str | int], other: list[str | int]) -> None:
    assert (fingerprint.seed(*one) == fingerprint.seed(*other)) == (one == other)


@given(parts)
def test_a_seed_fits_63_bits(one: list[str | int]) -> None:
    assert 0 <= fingerprint.seed(*one) < 2**63


def test_seeds_use_all_63_bits_and_neighbours_are_far_apart() -> None:
    seeds = [fingerprint.seed("run", index) for index in range(2000)]
    assert len(set(seeds)) == 2000
    assert math.log2(max(seeds)) > 62.9
    assert min(abs(a - b) for a, b in itertools.pairwise(seeds)) > 2**32


def test_seeds_are_the_same_on_every_machine() -> None:
    """A changed derivation would make every cached question unreproducible."""
    data = hashlib.sha256(b'[7,"generate-questions","a",3]').digest()
    assert fingerprint.seed(7, "generate-questions", "a", 3) == int.from_bytes(data, "big") >> (256 - 63)
