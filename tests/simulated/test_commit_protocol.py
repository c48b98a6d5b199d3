"""The commit protocol, exhausted: as a state machine, as real code over a store in memory, and over a real S3 server."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from interleavings import model, worlds
from interleavings.actors import (
    KIND,
    Actor,
    HastyStore,
    Status,
    Tape,
    TapedStore,
    make_order,
    operate,
    work,
)
from scalequest_jobs import ports
from scalequest_jobs.contract import commit, fingerprint
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef
from scalequest_jobs.execution import launching, reading
from scalequest_jobs.stores import memory, minio
from servers import s3

# --- the state machine --------------------------------------------------------------------------


def test_no_state_of_the_protocol_breaks_an_invariant_and_none_is_stuck() -> None:
    outcome = model.explore(model.Protocol(), workers=2, operators=2, crashes=2)
    assert outcome.broken == {}
    assert (outcome.states > 3000, outcome.commits > 500, outcome.adoptions > 500) == (True, True, True)


@pytest.mark.parametrize(
    ("protocol", "fault"),
    [
        (model.Protocol(attempts_in_keys=False), "a reader sees mixed or torn output"),
        (model.Protocol(manifest_last=False), "a reader sees mixed or torn output"),
        (model.Protocol(is_guarded=False), "a committed digest changed"),
        (model.Protocol(asks_again=False), "stuck"),
    ],
    ids=["shared keys", "manifest before data", "unguarded write", "asks once"],
)
def test_each_part_of_the_protocol_is_needed(protocol: model.Protocol, fault: str) -> None:
    assert fault in model.explore(protocol, workers=2, operators=2, crashes=1).broken


# --- the real code, every interleaving over a store in memory -----------------------------------

TWO_WORKERS = (worlds.worker("one"), worlds.worker("two"))


def test_two_workers_and_two_operators_commit_one_whole_artifact_however_their_calls_interleave() -> None:
    seen = worlds.explore([*TWO_WORKERS, worlds.operator(), worlds.operator()])
    assert seen.broken == {}
    assert len(seen.committed) > 1, "either worker's manifest can be the one"
    assert seen.worlds > 3000


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        (
            (worlds.worker("one", attempt="same"), worlds.worker("two", attempt="same"), worlds.operator()),
            "the committed artifact is torn or mixed",
        ),
        (
            (worlds.worker("one", through=HastyStore), worlds.operator()),
            "the committed artifact is torn or mixed",
        ),
        (
            (*TWO_WORKERS, worlds.operator(is_guarded=False), worlds.operator(is_guarded=False)),
            "a committed digest changed",
        ),
    ],
    ids=["shared keys", "manifest before data", "unguarded write"],
)
def test_the_same_search_finds_the_fault_in_a_broken_protocol(
    parts: tuple[worlds.Part, ...], fault: str
) -> None:
    assert fault in worlds.explore(parts).broken


# --- the real code over a real S3 server --------------------------------------------------------


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3Server]:
    with s3.running_s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A store, and a way past it to lose an object: the port has none."""

    store: ports.ArtifactStore
    lose: Callable[[str], object]


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.s3)])
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    if request.param == "memory":
        store = memory.MemoryStore()
        yield Bucket(store=store, lose=store._objects.pop)
        return
    server: s3.S3Server = request.getfixturevalue("server")
    settings = minio.S3Settings(
        endpoint=server.endpoint,
        bucket=server.bucket,
        prefix=f"test-{uuid.uuid4().hex}",
        region=server.region,
        access_key_file=server.access_key_file,
        secret_key_file=server.secret_key_file,
    )
    with contextlib.closing(minio.MinioStore(settings)) as opened:
        yield Bucket(
            store=opened, lose=lambda key: opened._client.remove_object(server.bucket, opened._name(key))
        )


def schedules() -> Iterator[tuple[int, ...]]:
    """Yield every order of the calls of two workers, cut after every call of either.

    Whoever stops before its end crashed there. The workers are alike, so the first call is always the first one's.
    """
    pending = [((0,), worlds.World(actors=(Actor(), Actor())).after(0, TWO_WORKERS[0]))]
    while pending:
        schedule, world = pending.pop()
        yield schedule
        for number, part in enumerate(TWO_WORKERS):
            if not world.actors[number].has_ended:
                pending.append(((*schedule, number), world.after(number, part)))


def test_the_commit_holds_in_every_interleaving_with_a_crash_after_every_call_and_late_writes(
    bucket: Bucket,
) -> None:
    made = list(schedules())
    assert len(made) > 400
    adopted = sum(_play(bucket.store, number, schedule) for number, schedule in enumerate(made))
    assert adopted > 50, "many a chunk outlives the worker that made it"


def _play(store: ports.ArtifactStore, number: int, schedule: tuple[int, ...]) -> bool:
    """Let two workers make the calls of a schedule and crash, commit, and let them go on as zombies.

    Return whether it took a third worker, which adopted the chunk of a crashed one.
    """
    order = make_order(f"run-{number}", fingerprint=fingerprint.sha256(str(number).encode()))
    parts = [lambda tape, name=name: work(TapedStore(tape, store), order, name) for name in ("one", "two")]
    actors = [Actor(), Actor()]
    for turn in schedule:
        actors[turn] = actors[turn].step(parts[turn])
    status = Status()
    operate(Tape(None), store, status, order)
    took_a_third = status.committed is None
    committed = status.committed or worlds.recover(store, status, order)
    for turn, part in enumerate(parts):
        while not actors[turn].has_ended:
            actors[turn] = actors[turn].step(part)
    operate(Tape(None), store, status, order)
    assert (status.committed, status.version) == (committed, 1), schedule
    worlds.check_whole(store, committed)
    return took_a_third and "/later/" not in _rows(store, committed).key


def _rows(store: ports.ArtifactStore, committed: ArtifactRef) -> ObjectRef:
    return reading.read_manifest(store, committed).objects("rows")[0]


# --- tampering ----------------------------------------------------------------------------------

ORDER = make_order("tampered", shards=2)

Damage = Callable[[Bucket, str], object]


def _flip(bucket: Bucket, key: str) -> None:
    data = bucket.store.get(key)
    bucket.store.put(key, data[:40] + bytes([data[40] ^ 1]) + data[41:])


def _truncate(bucket: Bucket, key: str) -> None:
    bucket.store.put(key, bucket.store.get(key)[:-1])


def _lose(bucket: Bucket, key: str) -> None:
    bucket.lose(key)


DAMAGES = pytest.mark.parametrize("damage", [_flip, _truncate, _lose], ids=["byte", "truncated", "lost"])


def _finished(store: ports.ArtifactStore) -> dict[int, ArtifactRef]:
    return {shard: work(store, ORDER, f"attempt-{shard}", shard=shard) for shard in range(ORDER.shards)}


def _committed(store: ports.ArtifactStore) -> ArtifactRef:
    shards = _finished(store)
    return launching.commit_stage(store, ORDER, KIND, [shards[0], shards[1]])[0]


@DAMAGES
def test_damaged_rows_are_refused_by_readers_and_not_adopted_by_workers(
    bucket: Bucket, damage: Damage
) -> None:
    committed = _committed(bucket.store)
    damaged = _rows(bucket.store, committed).key
    damage(bucket, damaged)
    with pytest.raises(ports.BadInputError, match=damaged):
        worlds.check_whole(bucket.store, committed)
    again = {0: work(bucket.store, ORDER, "again", shard=0)}
    found = launching.find_shards(bucket.store, ORDER, again)
    anew, _ = launching.commit_stage(bucket.store, ORDER, KIND, [found[0], found[1]])
    assert "/again/" in _rows(bucket.store, anew).key


@DAMAGES
def test_a_damaged_stage_manifest_is_refused_by_readers_and_is_no_hit_of_the_cache(
    bucket: Bucket, damage: Damage
) -> None:
    committed = _committed(bucket.store)
    assert launching.cached(bucket.store, ORDER.fingerprint)
    damage(bucket, committed.key)
    with pytest.raises(ports.BadInputError, match=committed.key):
        worlds.check_whole(bucket.store, committed)
    assert launching.cached(bucket.store, ORDER.fingerprint) is None


@DAMAGES
def test_a_damaged_shard_manifest_is_not_committed(bucket: Bucket, damage: Damage) -> None:
    named = _finished(bucket.store)
    damage(bucket, named[0].key)
    assert launching.find_shards(bucket.store, ORDER, named) == {1: named[1]}


def test_no_byte_of_a_shard_manifest_can_change_after_its_worker_named_it() -> None:
    store = memory.MemoryStore()
    named = _finished(store)
    data = store.get(named[0].key)
    for at in range(len(data)):
        store.put(named[0].key, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert launching.find_shards(store, ORDER, named) == {1: named[1]}, at


@pytest.mark.parametrize("are_named", [True, False])
def test_swapped_shard_manifests_are_not_committed(bucket: Bucket, *, are_named: bool) -> None:
    named = _finished(bucket.store)
    one, other = (bucket.store.get(named[shard].key) for shard in (0, 1))
    bucket.store.put(named[0].key, other)
    bucket.store.put(named[1].key, one)
    assert launching.find_shards(bucket.store, ORDER, named if are_named else {}) == {}


def test_workers_that_name_each_others_manifests_change_nothing(bucket: Bucket) -> None:
    named = _finished(bucket.store)
    assert launching.find_shards(bucket.store, ORDER, {0: named[1], 1: named[0]}) == named
    with pytest.raises(commit.CommitError, match=r"shards \[0, 0\] of 2 are there"):
        launching.commit_stage(bucket.store, ORDER, KIND, [named[0], named[0]])
