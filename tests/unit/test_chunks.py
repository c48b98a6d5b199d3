"""Chunks, receipts and shard manifests: what an attempt commits and what the next one adopts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint, tables
from scalequest_jobs.contract.artifact import ArtifactKeys, ArtifactRef, Counts, Receipt, ShardManifest
from scalequest_jobs.contract.stage import Order, RunIdentity
from scalequest_jobs.execution import chunks, reading
from scalequest_jobs.stores.memory import MemoryStore

ROWS = 10


def make_order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "run": RunIdentity(name="run", namespace="default", uid="uid-1"),
        "node": "generate-questions@a",
        "stage": "generate-questions",
        "stage_version": 1,
        "generator": "a",
        "domain": "math",
        "parameters": {},
        "inputs": {},
        "seed": 1,
        "fingerprint": "a" * 64,
        "shards": 2,
        "chunk_rows": 3,
    }
    return Order(**{**fields, **changes})


def make_log(
    store: ports.ArtifactStore, *, attempt: str = "one", shard: int = 0, **order: Any
) -> chunks.ShardLog:
    return chunks.ShardLog(store, make_order(**order), output="difficulties", shard=shard, attempt=attempt)


def outcome(chunk: chunks.Chunk, *, rejected: int = 1, **changes: Any) -> chunks.Outcome:
    kept = len(chunk) - rejected
    rows = [{"question_id": f"q{chunk.first + at}", "difficulty": 0.5} for at in range(kept)]
    fields: dict[str, Any] = {
        "rows_in": len(chunk),
        "rows_out": kept,
        "rows": pa.Table.from_pylist(rows, schema=tables.DIFFICULTIES),
        "rejects": [chunks.Reject(record_id="r", reason="bad", text="t") for _ in range(rejected)],
    }
    return chunks.Outcome(**{**fields, **changes})


def planned(shard: int = 0) -> tuple[chunks.Chunk, ...]:
    return chunks.plan_chunks(ROWS, 3, shard, 2)


# --- planning


@given(total=st.integers(0, 500), size=st.integers(0, 60), shards=st.integers(1, 12))
def test_the_shards_together_cover_each_row_once_and_number_the_chunks_over_the_stage(
    total: int, size: int, shards: int
) -> None:
    made = [chunk for shard in range(shards) for chunk in chunks.plan_chunks(total, size, shard, shards)]
    assert [row for chunk in made for row in range(chunk.first, chunk.last)] == list(range(total))
    assert [chunk.index for chunk in made] == list(range(len(made)))
    assert all(len(chunk) > 0 for chunk in made) or (total == 0 and len(made) == 1)
    assert all(len(chunk) <= (size or max(total, 1)) for chunk in made)


@given(total=st.integers(0, 500), size=st.integers(1, 60), shards=st.integers(1, 12))
def test_a_chunk_is_the_same_however_many_shards_there_are(total: int, size: int, shards: int) -> None:
    split = [chunk for shard in range(shards) for chunk in chunks.plan_chunks(total, size, shard, shards)]
    assert tuple(split) == chunks.plan_chunks(total, size, 0, 1)


@given(total=st.integers(1, 500), size=st.integers(1, 60), shards=st.integers(1, 12))
def test_no_shard_has_two_chunks_more_than_another(total: int, size: int, shards: int) -> None:
    counts = [len(chunks.plan_chunks(total, size, shard, shards)) for shard in range(shards)]
    assert max(counts) - min(counts) <= 1


def test_no_rows_make_one_empty_chunk_and_size_zero_makes_one_of_everything() -> None:
    assert chunks.plan_chunks(0, 5, 0, 1) == (chunks.Chunk(index=0, first=0, last=0),)
    assert chunks.plan_chunks(7, 0, 0, 1) == (chunks.Chunk(index=0, first=0, last=7),)


# --- committing


def test_a_chunk_exists_by_a_receipt_that_names_every_object_by_digest(tmp_path: Path) -> None:
    store = MemoryStore()
    file = tmp_path / "model.bin"
    file.write_bytes(b"weights")
    chunk = planned()[1]
    receipt = make_log(store).commit(chunk, outcome(chunk, files={"model.bin": file}, facts={"loss": 0.5}))
    keys = ArtifactKeys("uid-1", "generate-questions@a", "a" * 64)
    assert Receipt.model_validate_json(store.get(keys.receipt(0, 1, "one"))) == receipt
    assert (receipt.first, receipt.last, receipt.counts.rejected) == (3, 6, {"bad": 1})
    assert set(receipt.objects) == {"rows", "rejects", "model.bin"}
    for ref in receipt.objects.values():
        data = store.get(ref.key)
        assert (ref.sha256, ref.size) == (fingerprint.sha256(data), len(data))
    (reject,) = reading.decode(store.get(receipt.objects["rejects"].key), tables.REJECTS, "x").to_pylist()[:1]
    assert reject["stage"] == "generate-questions@a"


class Order1Store(MemoryStore):
    """Remembers the order of writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def put(self, key: str, data: bytes) -> None:
        self.written.append(key)
        super().put(key, data)


def test_objects_are_written_before_the_receipt_and_the_manifest_last() -> None:
    store = Order1Store()
    log = make_log(store)
    for chunk in planned():
        log.commit(chunk, outcome(chunk))
    log.finish(planned(), {})
    kinds = [
        "manifest" if "/manifest/" in k else "receipt" if "/receipt/" in k else "object"
        for k in store.written
    ]
    assert kinds == ["object", "object", "receipt"] * 2 + ["manifest"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows_in": 4},
        {"rows_in": 2},
        {"rejects": ()},
        {"rows_out": 3},
    ],
)
def test_an_outcome_that_loses_or_invents_a_row_is_refused_and_leaves_no_receipt(
    wrong: dict[str, Any],
) -> None:
    store = MemoryStore()
    log = make_log(store)
    chunk = planned()[0]
    with pytest.raises(ValueError, match=r"rows are not conserved|rows where \d are counted"):
        log.commit(chunk, outcome(chunk, **wrong))
    assert not log.is_committed(chunk)
    assert [key for key in store.keys("runs/") if "/receipt/" in key] == []


def test_rows_of_another_schema_are_refused() -> None:
    store = MemoryStore()
    chunk = planned()[0]
    wrong = pa.table({"question_id": ["q0", "q1"]})
    with pytest.raises(ValueError, match="the table has the schema"):
        make_log(store).commit(chunk, outcome(chunk, rows=wrong))


@given(
    rows_out=st.integers(0, 50),
    rejected=st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 50), max_size=4),
    more=st.integers(-3, 3),
)
def test_counts_exist_only_when_rows_are_conserved(
    rows_out: int, rejected: dict[str, int], more: int
) -> None:
    rows_in = rows_out + sum(rejected.values()) + more
    if more == 0:
        counts = Counts(rows_in=rows_in, rows_out=rows_out, rejected=rejected)
        twice = counts + counts
        assert (twice.rows_in, sum(twice.rejected.values())) == (2 * rows_in, 2 * sum(rejected.values()))
    else:
        with pytest.raises(pydantic.ValidationError, match="rows are not conserved"):
            Counts(rows_in=rows_in, rows_out=rows_out, rejected=rejected)


def test_a_shard_ends_only_when_all_its_chunks_exist() -> None:
    store = MemoryStore()
    log = make_log(store)
    first, _second = planned()
    log.commit(first, outcome(first))
    with pytest.raises(RuntimeError, match=r"ended without the chunks \[1\]"):
        log.finish(planned(), {})
    assert [key for key in store.keys("runs/") if "/manifest/" in key] == []


def test_a_shard_manifest_is_what_its_reference_says() -> None:
    store = MemoryStore()
    log = make_log(store, shard=1)
    for chunk in planned(1):
        log.commit(chunk, outcome(chunk))
    ref = log.finish(planned(1), {"engine": "fake"})
    manifest = ShardManifest.model_validate_json(store.get(ref.key))
    assert ref == ArtifactRef(key=ref.key, sha256=fingerprint.sha256(manifest.encode()))
    assert (manifest.shard, manifest.shards, manifest.engine) == (1, 2, {"engine": "fake"})
    assert [receipt.chunk for receipt in manifest.receipts] == [chunk.index for chunk in planned(1)]


# --- adopting


def committed(store: MemoryStore, **order: Any) -> tuple[Receipt, ...]:
    log = make_log(store, **order)
    return tuple(log.commit(chunk, outcome(chunk)) for chunk in planned())


def adopted(store: MemoryStore, **order: Any) -> list[int]:
    log = make_log(store, attempt="two", **order)
    return [receipt.chunk for receipt in log.adopt(planned())]


def test_a_new_attempt_adopts_the_chunks_of_an_earlier_one_and_may_end_at_once() -> None:
    store = MemoryStore()
    receipts = committed(store)
    log = make_log(store, attempt="two")
    assert log.adopt(planned()) == receipts
    manifest = ShardManifest.model_validate_json(store.get(log.finish(planned(), {}).key))
    assert manifest.receipts == receipts


def test_receipts_of_another_fingerprint_are_not_adopted_even_under_the_same_keys() -> None:
    store = MemoryStore()
    committed(store)
    near = "a" * 16 + "b" * 48
    assert ArtifactKeys("u", "n", near).receipts(0) == ArtifactKeys("u", "n", "a" * 64).receipts(0)
    assert adopted(store, fingerprint=near) == []
    assert adopted(store) == [0, 1]


def test_receipts_of_another_shard_or_run_are_not_adopted() -> None:
    store = MemoryStore()
    committed(store)
    assert adopted(store, shard=1) == []
    assert adopted(store, run=RunIdentity(name="run", namespace="default", uid="uid-2")) == []


def test_receipts_of_another_range_of_rows_are_not_adopted() -> None:
    store = MemoryStore()
    committed(store)
    log = make_log(store, attempt="two")
    assert log.adopt(chunks.plan_chunks(ROWS, 4, 0, 2)) == ()


def test_receipts_of_chunks_that_are_another_shards_now_are_not_adopted() -> None:
    store = MemoryStore()
    committed(store)
    log = make_log(store, attempt="two")
    assert [receipt.chunk for receipt in log.adopt(planned()[:1])] == [0]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def with_more_rows(data: bytes) -> bytes:
    return data.replace(b'"rows_out":2', b'"rows_out":3')


@pytest.mark.parametrize(
    "damage",
    [cut, flipped, with_more_rows, lambda _data: b"", lambda _data: b"[]", lambda _data: b"\xff\x00"],
    ids=["torn", "garbled", "not conserved", "empty", "another value", "not text"],
)
def test_a_damaged_receipt_is_not_adopted_and_the_others_are(damage: Callable[[bytes], bytes]) -> None:
    store = MemoryStore()
    committed(store)
    key = next(key for key in store.keys("runs/") if "/receipt/000000/" in key)
    assert damage(store.get(key)) != store.get(key)
    store.put(key, damage(store.get(key)))
    assert adopted(store) == [1]


@pytest.mark.parametrize("name", ["rows", "rejects"])
@pytest.mark.parametrize("damage", [cut, flipped])
def test_a_chunk_with_a_damaged_object_is_not_adopted(name: str, damage: Callable[[bytes], bytes]) -> None:
    store = MemoryStore()
    key = committed(store)[0].objects[name].key
    store.put(key, damage(store.get(key)))
    assert adopted(store) == [1]


def test_a_chunk_with_a_missing_object_is_not_adopted() -> None:
    store = MemoryStore()
    gone = committed(store)[1].objects["rows"].key

    class Without(MemoryStore):
        def get(self, key: str) -> bytes:
            return super().get("gone" if key == gone else key)

    left = Without()
    for key in store.keys(""):
        left.put(key, store.get(key))
    assert adopted(left) == [0]


def test_an_unreachable_store_is_no_missing_receipt() -> None:
    """Taking it for one would do the work again."""

    class Unreachable(MemoryStore):
        def get(self, key: str) -> bytes:
            raise ports.TryAgainError("no route")

    store = Unreachable()
    committed(store)
    with pytest.raises(ports.TryAgainError, match="no route"):
        adopted(store)


def test_one_of_two_receipts_of_a_chunk_is_adopted() -> None:
    store = MemoryStore()
    committed(store)
    committed(store, attempt="another")
    assert adopted(store) == [0, 1]


# --- attempts


def test_no_two_attempts_have_a_name_in_common_even_in_one_pod() -> None:
    assert len({chunks.new_attempt("pod-uid") for _ in range(1000)}) == 1000
    assert chunks.new_attempt("pod-uid").startswith("pod-uid-")


names = st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True)


def every_key(shard: int, chunk: int, attempt: str, name: str) -> set[str]:
    keys = ArtifactKeys("uid", "stage@a", "f" * 64)
    return {
        keys.receipt(shard, chunk, attempt),
        keys.object(shard, chunk, attempt, name),
        keys.checkpoint_receipt(shard, chunk, attempt),
        keys.checkpoint(shard, chunk, attempt, name),
        keys.shard_manifest(shard, attempt),
        keys.progress(shard, attempt),
    }


@given(
    one=st.tuples(st.integers(0, 999), st.integers(0, 10**5), names),
    other=st.tuples(st.integers(0, 999), st.integers(0, 10**5), names),
    file=names,
    other_file=names,
)
def test_keys_of_two_attempts_or_shards_never_meet(
    one: tuple[int, int, str], other: tuple[int, int, str], file: str, other_file: str
) -> None:
    mine = every_key(*one, file)
    assert len(mine) == 6
    if (one[0], one[2]) != (other[0], other[2]):
        assert not mine & every_key(*other, other_file)
