"""Answers of the store and the API server; what cannot be reached is an answer too."""

import datetime as dt
from typing import Any

import pytest

from fake_kubernetes.world import NAMESPACE, World
from operator_builders import NOW, RUN_UID
from scalequest_jobs import ports
from scalequest_jobs.contract import orders
from scalequest_jobs.contract.artifact import ArtifactKeys, ArtifactRef, Counts, Receipt, ShardManifest
from scalequest_jobs.contract.progress import Progress
from scalequest_jobs.contract.stage import Order, RunIdentity
from scalequest_jobs.execution import launching
from scalequest_operator import cluster, errors
from scalequest_operator.answers import MAX_PROGRESS_READS, Answerer, add_up
from scalequest_operator.planning.model import (
    CommitStage,
    Committed,
    ConfirmGone,
    Explain,
    Explained,
    Gone,
    Ordered,
    PrepareStage,
    ReadProgress,
    Reported,
    ShardsMissing,
    Unavailable,
)
from schedules.bucket import Bucket

NODE = "generate-questions@a"
ORDER = Order(
    run=RunIdentity(name="run", namespace=NAMESPACE, uid=RUN_UID),
    node=NODE,
    stage="generate-questions",
    stage_version=1,
    domain="math",
    parameters={},
    inputs={},
    seed=1,
    fingerprint="f" * 64,
    shards=2,
)
REF, _ = orders.stored(ORDER)
KEYS = ArtifactKeys(RUN_UID, NODE, ORDER.fingerprint)
COMMIT = CommitStage(node=NODE, sha256=REF.sha256, kind="questions")
PREPARE = PrepareStage(node=NODE, sha256=REF.sha256, order=ORDER)


class Scene:
    def __init__(self) -> None:
        self.world = World()
        self.bucket = Bucket()
        self.client = self.world.client()
        self.opened: ports.StageError | None = None

    def answer(self, question: Any) -> Any:
        answerer = Answerer(api=self.client, bucket=self.open, namespace=NAMESPACE, run_uid=RUN_UID, now=NOW)
        return answerer.answer(question)

    def open(self) -> ports.ArtifactStore:
        if self.opened:
            raise self.opened
        return self.bucket

    def make_shard(
        self, shard: int, *, chunk: int | None = None, attempt: str = "a", **more: Any
    ) -> ArtifactRef:
        """Write a shard's manifest of one chunk of one row."""
        number = shard if chunk is None else chunk
        receipt = Receipt(
            fingerprint=ORDER.fingerprint,
            chunk=number,
            first=number,
            last=number + 1,
            counts=Counts(rows_in=1, rows_out=1),
            objects={},
            facts={"by": attempt},
            started=0,
            finished=1,
        )
        fields = {"fingerprint": ORDER.fingerprint, "shard": shard, "shards": 2, **more}
        manifest = ShardManifest(receipts=(receipt,), started=0, finished=1, **fields)
        key = KEYS.shard_manifest(shard, attempt)
        self.bucket.put(key, manifest.encode())
        return ArtifactRef(key=key, sha256=orders.fingerprint.sha256(manifest.encode()))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_order_is_stored_before_anybody_may_be_told_to_carry_it_out(scene: Scene) -> None:
    assert scene.answer(PREPARE) == Ordered()
    assert scene.bucket.get(REF.key) == ORDER.encode()
    assert scene.answer(PREPARE) == Ordered()


def test_shards_that_pods_named_become_the_stages_artifact(scene: Scene) -> None:
    scene.answer(PREPARE)
    named = tuple((shard, scene.make_shard(shard)) for shard in (0, 1))
    found = scene.answer(CommitStage(node=NODE, sha256=REF.sha256, kind="questions", shards=named))
    assert isinstance(found, Committed)
    assert (found.counts.rows_in, found.counts.rows_out) == (2, 2)
    assert scene.answer(PREPARE) == found


def test_a_stage_that_may_not_use_the_cache_is_ordered_anew(scene: Scene) -> None:
    scene.answer(PREPARE)
    for shard in (0, 1):
        scene.make_shard(shard)
    assert isinstance(scene.answer(COMMIT), Committed)
    assert scene.answer(PrepareStage(node=NODE, sha256=REF.sha256, order=ORDER, use_cache=False)) == Ordered()


def test_shards_that_no_pod_named_are_looked_for(scene: Scene) -> None:
    """The Job and its pods may be gone, with what they said."""
    scene.answer(PREPARE)
    for shard in (0, 1):
        scene.make_shard(shard)
    assert isinstance(scene.answer(COMMIT), Committed)


def test_of_several_manifests_the_named_one_is_committed(scene: Scene) -> None:
    scene.answer(PREPARE)
    scene.make_shard(0, attempt="a-first-by-name")
    named = scene.make_shard(0, attempt="z-named")
    scene.make_shard(1)
    found = scene.answer(CommitStage(node=NODE, sha256=REF.sha256, kind="questions", shards=((0, named),)))
    stage = launching.reading.read_manifest(scene.bucket, found.artifact)
    assert stage.receipts[0].facts == {"by": "z-named"}


def test_the_same_commit_again_is_the_same_artifact(scene: Scene) -> None:
    scene.answer(PREPARE)
    for shard in (0, 1):
        scene.make_shard(shard)
    assert scene.answer(COMMIT) == scene.answer(COMMIT)


@pytest.mark.parametrize(
    ("break_it", "missing"),
    [
        (lambda scene: None, (1,)),
        (lambda scene: scene.make_shard(1, fingerprint="0" * 64), (1,)),
        (lambda scene: scene.make_shard(1, shards=3), (1,)),
        (lambda scene: scene.bucket.put(KEYS.shard_manifest(1, "a"), b"garbage"), (1,)),
        # A chunk that leaves a gap: the shards do not fit together, so none of them is taken.
        (lambda scene: scene.make_shard(1, chunk=5), (0, 1)),
    ],
)
def test_shards_that_are_missing_or_damaged_are_named_and_nothing_is_committed(
    scene: Scene, break_it: Any, missing: tuple[int, ...]
) -> None:
    scene.answer(PREPARE)
    scene.make_shard(0)
    break_it(scene)
    answer = scene.answer(COMMIT)
    assert isinstance(answer, ShardsMissing)
    assert answer.shards == missing
    assert scene.answer(PREPARE) == Ordered()


def test_a_manifest_from_another_place_is_not_taken_on_a_pods_word(scene: Scene) -> None:
    scene.answer(PREPARE)
    scene.make_shard(1)
    good = scene.make_shard(0)
    data = scene.bucket.get(good.key)
    scene.bucket.put("elsewhere/manifest.json", data)
    scene.bucket.put(good.key, b"garbage")
    elsewhere = ArtifactRef(key="elsewhere/manifest.json", sha256=good.sha256)
    answer = scene.answer(
        CommitStage(node=NODE, sha256=REF.sha256, kind="questions", shards=((0, elsewhere),))
    )
    assert isinstance(answer, ShardsMissing)


QUESTIONS = [PREPARE, COMMIT, ReadProgress(node=NODE, sha256=REF.sha256)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_bucket_that_does_not_answer_is_unreachable(scene: Scene, question: Any) -> None:
    scene.bucket.is_down = True
    answer = scene.answer(question)
    assert isinstance(answer, Unavailable)
    assert (answer.reason, answer.final) == ("StoreUnreachable", False)


@pytest.mark.parametrize(
    "error", [ports.BadParametersError("no access-key"), ports.BadInputError("no bucket")]
)
def test_a_bucket_that_refuses_is_told_with_its_words_and_asked_again(
    scene: Scene, error: ports.StageError
) -> None:
    scene.opened = error
    answer = scene.answer(PREPARE)
    assert answer == Unavailable(reason="StoreRefused", message=str(error))


def test_an_order_that_vanished_from_the_bucket_is_named(scene: Scene) -> None:
    answer = scene.answer(COMMIT)
    assert isinstance(answer, Unavailable)
    assert "there is no order" in answer.message


def test_only_the_api_server_itself_can_say_that_a_job_is_gone(scene: Scene) -> None:
    question = ConfirmGone(job="job")
    assert scene.answer(question) == Gone(gone=True)

    def down(call: Any) -> None:
        raise errors.UnavailableError("no answer")

    scene.client.before = down
    assert scene.answer(question) == Unavailable(reason="ApiServerUnreachable", message="no answer")


def event(message: str, seconds: int, *, kind: str = "Warning", uid: str = "uid") -> cluster.Body:
    moment = NOW + dt.timedelta(seconds=seconds)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "e."},
        "involvedObject": {"kind": "Job", "namespace": NAMESPACE, "name": "job", "uid": uid},
        "type": kind,
        "reason": "FailedCreate",
        "message": message,
        "lastTimestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def test_the_newest_warning_about_an_object_explains_it(scene: Scene) -> None:
    question = Explain(kind="Job", name="job", uid="uid")
    assert scene.answer(question) == Explained()
    for body in (
        event("newest", 9),
        event("older", 1),
        event("of another", 20, uid="other"),
        event("all is well", 30, kind="Normal"),
    ):
        scene.world.api.create(cluster.EVENTS, NAMESPACE, body)
    assert scene.answer(question) == Explained(reason="FailedCreate", message="newest")


def progress(shard: int, *, done: int = 0, seconds: int = 0, **more: Any) -> Progress:
    fields = {
        "rows_total": 30,
        "rows_done": done,
        "updated": NOW.timestamp() + seconds,
        "activity": f"shard {shard}",
    }
    return Progress(node=NODE, shard=shard, **fields | more)


def test_progress_is_that_of_the_newest_attempt_of_each_shard(scene: Scene) -> None:
    scene.answer(PREPARE)
    question = ReadProgress(node=NODE, sha256=REF.sha256)
    assert scene.answer(question) == Reported(progress=None)
    for attempt, record in (
        ("a", progress(0, done=25)),
        ("b", progress(0, done=5, seconds=9)),
        ("c", progress(1, done=7)),
    ):
        scene.bucket.put(KEYS.progress(record.shard, attempt), record.model_dump_json().encode())
    scene.bucket.put(KEYS.progress(1, "d"), b"half a rec")
    answer = scene.answer(question)
    assert (answer.progress.rows_total, answer.progress.rows_done) == (60, 12)
    assert answer.progress.activity == "shard 0"
    assert answer.progress.updated == NOW


def test_reading_progress_is_bounded(scene: Scene) -> None:
    scene.answer(PREPARE)
    for shard in range(MAX_PROGRESS_READS + 30):
        scene.bucket.put(KEYS.progress(shard, "a"), progress(shard).model_dump_json().encode())
    calls: list[None] = []
    scene.bucket.on_call = lambda: calls.append(None)
    scene.answer(ReadProgress(node=NODE, sha256=REF.sha256))
    assert len(calls) <= MAX_PROGRESS_READS + 2


def test_a_stage_is_as_far_from_its_end_as_its_slowest_shard() -> None:
    records = [
        progress(0, eta_seconds=10, rows_per_second=2.0),
        progress(1, eta_seconds=90, rows_per_second=0.5),
    ]
    added = add_up(records, NOW)
    assert added is not None
    assert (added.eta_seconds, added.rows_per_second) == (90, "2.5")
    assert add_up([], NOW) is None
