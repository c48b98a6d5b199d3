"""Runs that share stages look into the bucket once; nothing that is lost is believed in for long."""

import datetime as dt

import pytest

from interleavings.actors import KIND, make_order, work
from operator_builders import NOW
from scalequest_jobs.execution import launching
from scalequest_jobs.stores.memory import MemoryStore
from scalequest_operator.planning.model import Committed
from scalequest_operator.recent_hits import KEPT, RecentHits

ORDER = make_order()
A_MOMENT = dt.timedelta(milliseconds=1)


class CountingStore(MemoryStore):
    def __init__(self, name: str = "memory") -> None:
        super().__init__()
        self.reads = 0
        self._name = name

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)

    def describe(self) -> str:
        return self._name


def committed(store: MemoryStore) -> Committed:
    artifact, manifest = launching.commit_stage(store, ORDER, KIND, [work(store, ORDER, "a")])
    return Committed(artifact=artifact, counts=manifest.counts)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def hits() -> RecentHits:
    return RecentHits()


def test_a_hit_is_read_once_a_minute(store: CountingStore, hits: RecentHits) -> None:
    expected = committed(store)
    assert hits.find(store, ORDER.fingerprint, NOW) == expected
    reads = store.reads
    assert hits.find(store, ORDER.fingerprint, NOW + KEPT - A_MOMENT) == expected
    assert store.reads == reads
    assert hits.find(store, ORDER.fingerprint, NOW + KEPT) == expected
    assert store.reads > reads


def test_what_is_not_there_yet_is_asked_for_every_time(store: CountingStore, hits: RecentHits) -> None:
    assert hits.find(store, ORDER.fingerprint, NOW) is None
    expected = committed(store)
    assert hits.find(store, ORDER.fingerprint, NOW) == expected


def test_a_loss_is_seen_when_the_minute_is_over(store: CountingStore, hits: RecentHits) -> None:
    found = committed(store)
    hits.find(store, ORDER.fingerprint, NOW)
    store.put(found.artifact.key, b"{")
    assert hits.find(store, ORDER.fingerprint, NOW + KEPT) is None


def test_a_hit_of_one_bucket_is_none_of_another(store: CountingStore, hits: RecentHits) -> None:
    committed(store)
    hits.find(store, ORDER.fingerprint, NOW)
    assert hits.find(CountingStore("elsewhere"), ORDER.fingerprint, NOW) is None
