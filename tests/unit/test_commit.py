"""Shard manifests become a stage manifest: purely, and only when they are whole."""

import itertools
from typing import Any

import pytest

from scalequest_jobs import ports
from scalequest_jobs.contract import commit, fingerprint
from scalequest_jobs.contract.artifact import (
    ArtifactRef,
    CacheEntry,
    Counts,
    ObjectRef,
    Receipt,
    ShardManifest,
    StageManifest,
    cache_key,
)
from scalequest_jobs.contract.stage import Order, RunIdentity
from scalequest_jobs.execution import launching
from scalequest_jobs.stores.memory import MemoryStore

OWN = "a" * 64


def make_order(shards: int = 3) -> Order:
    return Order(
        run=RunIdentity(name="run", namespace="default", uid="uid-1"),
        node="judge-solvability",
        stage="judge-solvability",
        stage_version=4,
        domain="math",
        parameters={"temperature": 0.0},
        inputs={"questions": ArtifactRef(key="k", sha256="1" * 64, content="c")},
        seed=1,
        fingerprint=OWN,
        shards=shards,
        chunk_rows=2,
    )


def receipt(chunk: int, **changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "fingerprint": OWN,
        "chunk": chunk,
        "first": 2 * chunk,
        "last": 2 * chunk + 2,
        "counts": Counts(rows_in=2, rows_out=1, rejected={"unsolvable": 1}, completion_tokens=10),
        "objects": {"rows": ObjectRef(key=f"rows/{chunk}", sha256=f"{chunk:064x}", size=3)},
        "facts": {f"fact-{chunk}": chunk},
        "started": 100.0 + chunk,
        "finished": 100.5 + chunk,
    }
    return Receipt(**{**fields, **changes})


def shard(number: int, *receipts: Receipt, **changes: Any) -> ShardManifest:
    fields: dict[str, Any] = {
        "fingerprint": OWN,
        "shard": number,
        "shards": 3,
        "receipts": receipts,
        "engine": {"engine": "vllm", "device": f"gpu-{number % 2}"},
        "started": 90.0 + number,
        "finished": 200.0 + number,
    }
    return ShardManifest(**{**fields, **changes})


def whole() -> list[ShardManifest]:
    return [shard(0, receipt(0), receipt(1)), shard(1, receipt(2)), shard(2, receipt(3), receipt(4))]


def composed(shards: list[ShardManifest]) -> StageManifest:
    return commit.compose(make_order(), "judgements", shards)


def test_a_stage_is_the_sum_of_its_shards() -> None:
    manifest = composed(whole())
    assert [each.chunk for each in manifest.receipts] == [0, 1, 2, 3, 4]
    assert manifest.counts == Counts(rows_in=10, rows_out=5, rejected={"unsolvable": 5}, completion_tokens=50)
    assert (manifest.started, manifest.finished, manifest.worker_seconds) == (90.0, 202.0, 2.5)
    assert manifest.engine == {"device": "gpu-0, gpu-1", "engine": "vllm"}
    assert manifest.facts() == {f"fact-{chunk}": chunk for chunk in range(5)}
    assert (manifest.stage_version, manifest.parameters) == (4, {"temperature": 0.0})
    assert [ref.key for ref in manifest.objects("rows")] == [f"rows/{chunk}" for chunk in range(5)]
    assert commit.object_refs([manifest]) == manifest.objects("rows")


def test_the_order_in_which_shards_arrive_changes_no_byte() -> None:
    made = {composed(list(order)).encode() for order in itertools.permutations(whole())}
    assert len(made) == 1


def test_a_manifest_is_the_same_bytes_after_a_round_trip_and_its_key_is_its_digest() -> None:
    manifest = composed(whole())
    ref, data = commit.stage_object("uid-1", manifest)
    assert StageManifest.model_validate_json(data).encode() == data == manifest.encode()
    assert ref.sha256 == fingerprint.sha256(data)
    assert ref.key.endswith(f"/stage-{ref.sha256}.json")
    assert ref.content == manifest.content()


def test_the_order_of_facts_and_objects_changes_no_byte() -> None:
    refs = {name: ObjectRef(key=name, sha256="0" * 64, size=1) for name in ("rows", "rejects")}
    one = receipt(0, objects=refs, facts={"a": 1, "b": 2})
    other = receipt(0, objects=dict(reversed(refs.items())), facts={"b": 2, "a": 1})
    assert one.encode() == other.encode()


def test_content_depends_on_what_objects_hold_and_not_on_where_or_when() -> None:
    base = composed(whole())
    moved = [
        each.model_copy(
            update={
                "started": 0.0,
                "receipts": tuple(
                    r.model_copy(
                        update={
                            "finished": 999.0,
                            "objects": {n: o.model_copy(update={"key": "elsewhere"}) for n, o in r.objects.items()},
                        }
                    )
                    for r in each.receipts
                ),
            }
        )
        for each in whole()
    ]  # fmt: skip
    assert composed(moved).content() == base.content()
    assert composed(moved).encode() != base.encode()
    other = [*whole()[:2], shard(2, receipt(3), receipt(4, objects={}))]
    assert composed(other).content() != base.content()


@pytest.mark.parametrize("left", [[0, 1], [0, 2], [1, 2], [], [0, 1, 2, 2], [0, 0, 1]])
def test_a_missing_or_repeated_shard_is_refused_with_those_that_are_there(left: list[int]) -> None:
    with pytest.raises(commit.CommitError, match=r"judge-solvability: shards \[.*\] of 3 are there"):
        composed([whole()[number] for number in left])


def test_a_shard_of_another_order_is_refused() -> None:
    for strange in (shard(1, receipt(2), fingerprint="b" * 64), shard(1, receipt(2), shards=4)):
        with pytest.raises(commit.CommitError, match="a shard manifest is of another order"):
            composed([whole()[0], strange, whole()[2]])


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        ((), "chunk 3 starts at row 6, expected chunk 2 at 4"),
        ((receipt(2), receipt(2)), "chunk 2 starts at row 4, expected chunk 3 at 6"),
        ((receipt(2, first=5),), "chunk 2 starts at row 5, expected chunk 2 at 4"),
        ((receipt(2, first=3),), "chunk 2 starts at row 3, expected chunk 2 at 4"),
        ((receipt(2, last=7),), "chunk 3 starts at row 6, expected chunk 3 at 7"),
    ],
    ids=["gap", "twice", "late start", "overlap", "late end"],
)
def test_chunks_that_leave_a_gap_or_overlap_are_refused(middle: tuple[Receipt, ...], message: str) -> None:
    with pytest.raises(commit.CommitError, match=message):
        composed([whole()[0], shard(1, *middle), whole()[2]])


def test_a_shard_without_chunks_is_whole() -> None:
    manifest = composed([shard(0), shard(1, receipt(0)), shard(2, receipt(1))])
    assert len(manifest.receipts) == 2


def test_counts_that_do_not_add_up_cannot_be_read_back() -> None:
    data = composed(whole()).encode()
    with pytest.raises(ValueError, match="rows are not conserved"):
        StageManifest.model_validate_json(data.replace(b'"rows_out":5', b'"rows_out":6'))


# --- the launcher's writes


def put(store: MemoryStore, manifest: ShardManifest) -> ArtifactRef:
    key = f"shards/{manifest.shard}.json"
    store.put(key, manifest.encode())
    return ArtifactRef(key=key, sha256=fingerprint.sha256(manifest.encode()))


def committed(store: MemoryStore) -> tuple[ArtifactRef, StageManifest]:
    for chunk in range(5):
        store.put(f"rows/{chunk}", b"abc")
    refs = [put(store, each) for each in whole()]
    return launching.commit_stage(store, make_order(), "judgements", refs)


def test_a_committed_stage_is_found_again_by_its_fingerprint() -> None:
    store = MemoryStore()
    assert launching.cached(store, OWN) is None
    assert launching.cached(store, OWN) is None
    done = committed(store)
    assert launching.cached(store, OWN) == done


def test_a_shard_manifest_that_changed_after_its_worker_ended_is_refused() -> None:
    store = MemoryStore()
    refs = [put(store, each) for each in whole()]
    store.put(refs[1].key, store.get(refs[1].key) + b" ")
    with pytest.raises(ports.BadInputError, match=r"shards/1\.json .* was committed"):
        launching.commit_stage(store, make_order(), "judgements", refs)
    assert launching.cached(store, OWN) is None


def test_a_cache_entry_is_none_when_what_it_names_is_damaged_gone_or_of_another_fingerprint() -> None:
    store = MemoryStore()
    ref, _ = committed(store)
    store.put("rows/3", b"abcd")
    assert launching.cached(store, OWN) is None
    store.put("rows/3", b"abc")
    assert launching.cached(store, OWN) is not None
    store.put(cache_key("b" * 64), CacheEntry(fingerprint="b" * 64, artifact=ref).encode())
    assert launching.cached(store, "b" * 64) is None
    gone = CacheEntry(fingerprint=OWN, artifact=ref.model_copy(update={"key": "gone"}))
    store.put(cache_key(OWN), gone.encode())
    assert launching.cached(store, OWN) is None
    store.put(cache_key(OWN), b"{")
    assert launching.cached(store, OWN) is None


def test_an_order_is_written_under_its_own_digest() -> None:
    store = MemoryStore()
    ref = launching.put_order(store, make_order())
    assert ref.key == f"runs/uid-1/judge-solvability/orders/{ref.sha256}.json"
    assert Order.model_validate_json(store.get(ref.key)) == make_order()
