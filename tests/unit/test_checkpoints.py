"""Checkpoints in the store: the newest whole one of any attempt is gone on from, and none other."""

from pathlib import Path

import pytest

from scalequest_jobs import ports
from scalequest_jobs.contract.stage import Order, RunIdentity
from scalequest_jobs.execution import chunks, reading
from scalequest_jobs.execution.checkpoints import CheckpointLog
from scalequest_jobs.stores.memory import MemoryStore


class NoLargeGets(MemoryStore):
    """Refuses to return what would fill a worker's memory: weights go through files."""

    def get(self, key: str) -> bytes:
        assert not key.endswith(".pt"), f"{key} was read into memory"
        return super().get(key)

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(super().get(key))


def make_log(
    store: ports.ArtifactStore, *, attempt: str = "one", fingerprint: str = "a" * 64
) -> CheckpointLog:
    order = Order(
        run=RunIdentity(name="run", namespace="default", uid="uid-1"),
        node="train-question-generator@a",
        stage="train-question-generator",
        stage_version=1,
        domain="math",
        parameters={},
        inputs={},
        seed=1,
        fingerprint=fingerprint,
    )
    return CheckpointLog(store, order, shard=0, attempt=attempt)


def save(log: CheckpointLog, folder: Path, step: int, weights: bytes) -> None:
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "optimizer.pt").write_bytes(weights)
    (folder / "trainer_state.json").write_text(f'{{"step": {step}}}')
    log.save(folder, step)


@pytest.fixture
def store() -> NoLargeGets:
    return NoLargeGets()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_without_a_checkpoint_there_is_none(store: NoLargeGets, tmp_path: Path) -> None:
    assert make_log(store).restore(tmp_path) is None


def test_the_newest_of_all_attempts_is_restored_file_by_file(
    store: NoLargeGets, source: Path, tmp_path: Path
) -> None:
    save(make_log(store), source, 90, b"old")
    save(make_log(store, attempt="two"), source, 100, b"new")
    restored = make_log(store, attempt="three").restore(tmp_path / "restored")
    assert restored == tmp_path / "restored" / "checkpoint-100"
    assert (restored / "deep" / "optimizer.pt").read_bytes() == b"new"
    assert (restored / "trainer_state.json").read_text() == '{"step": 100}'


def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(
    store: NoLargeGets, source: Path, tmp_path: Path
) -> None:
    save(make_log(store), source, 50, b"old")
    save(make_log(store), source, 60, b"new")
    (torn,) = [key for key in store.keys("runs/") if "=00000060/" in key and key.endswith(".pt")]
    store.put(torn, b"ne")
    restored = make_log(store, attempt="two").restore(tmp_path / "restored")
    assert restored is not None
    assert restored.name == "checkpoint-50"


def test_a_checkpoint_exists_only_by_its_receipt(store: NoLargeGets, source: Path, tmp_path: Path) -> None:
    class Dies(NoLargeGets):
        def put(self, key: str, data: bytes) -> None:
            if "receipt" in key:
                raise ports.TryAgainError("killed before the receipt")
            super().put(key, data)

    dying = Dies()
    with pytest.raises(ports.TryAgainError):
        save(make_log(dying), source, 10, b"weights")
    assert dying.keys("runs/")
    assert make_log(dying, attempt="two").restore(tmp_path) is None


def test_a_receipt_of_other_parameters_under_the_same_keys_is_not_used(
    store: NoLargeGets, source: Path, tmp_path: Path
) -> None:
    save(make_log(store, fingerprint="a" * 63 + "b"), source, 10, b"weights")
    assert make_log(store).restore(tmp_path) is None


def test_large_objects_are_verified_through_files(
    store: NoLargeGets, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_MOST_IN_MEMORY", 4)
    path = source / "optimizer.pt"
    path.write_bytes(b"weights")
    ref = chunks.ObjectRef(key="a/optimizer.pt", sha256=reading.file_sha256(path), size=7)
    store.upload(ref.key, path)
    reading.verify_object(store, ref)
    store.put(ref.key, b"weighty")
    with pytest.raises(ports.BadInputError, match="was committed"):
        reading.verify_object(store, ref)
    with pytest.raises(ports.BadInputError, match="is gone"):
        reading.verify_object(store, ref.model_copy(update={"key": "a/none.pt"}))
