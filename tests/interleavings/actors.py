"""Workers and operators, their real code, stopped before every call to the world they share.

An actor is the answers that its calls got so far. A step runs its code from the start: calls made before are
answered from memory, one more is let through, and the code is stopped at the next. So one step after the other can
be taken in any order, without threads, and the state of all is a value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from scalequest_jobs import ports
from scalequest_jobs.contract import tables
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.stage import Order, RunIdentity
from scalequest_jobs.execution import chunks, launching
from scalequest_operator import errors

Answer = TypeVar("Answer")
Body = Callable[["Tape"], object]
"""An actor's code; every call to the world goes through the tape."""

KIND = "difficulties"
ROWS = 2


class PausedError(BaseException):
    """Stops an actor's code; nothing catches it."""


@dataclass(frozen=True)
class Actor:
    """What an actor did: the calls it made and the answers, in order."""

    history: tuple[tuple[str, object], ...] = ()
    has_ended: bool = False

    def step(self, body: Body) -> "Actor":
        """Let one more call through."""
        tape = Tape(self.history)
        try:
            body(tape)
        except PausedError:
            return Actor(tuple(tape.history))
        return Actor(tuple(tape.history), has_ended=True)


class Tape:
    """Answers old calls from memory and lets one new one through; `None` lets all through."""

    def __init__(self, history: tuple[tuple[str, object], ...] | None) -> None:
        self.history: list[tuple[str, object]] = list(history or ())
        self._at = 0
        self._left = 1 if history is not None else 1_000_000

    def call(self, what: str, do: Callable[[], Answer]) -> Answer:
        """Return the answer to a call, or raise what it raised."""
        if self._at == len(self.history):
            if not self._left:
                raise PausedError
            self._left -= 1
            self.history.append((what, _answer(do)))
        said, answer = self.history[self._at]
        assert said == what, f"{what} where {said} was called before: the code is not deterministic"
        self._at += 1
        if isinstance(answer, Raised):
            raise answer.kind(answer.words)
        return answer  # type: ignore[return-value]


@dataclass(frozen=True)
class Raised:
    """An answer that was an error; equal errors are equal."""

    kind: type[Exception]
    words: str


def _answer(do: Callable[[], object]) -> object:
    try:
        found = do()
    except (ports.StageError, errors.ClusterError) as error:
        return Raised(type(error), str(error))
    return tuple(found) if isinstance(found, list) else found


class TapedStore:
    """A store whose every call goes through a tape."""

    def __init__(self, tape: Tape, store: ports.ArtifactStore) -> None:
        self._tape = tape
        self._store = store

    def put(self, key: str, data: bytes) -> None:
        self._tape.call(f"put {key}", lambda: self._store.put(key, data))

    def get(self, key: str) -> bytes:
        return self._tape.call(f"get {key}", lambda: self._store.get(key))

    def size(self, key: str) -> int:
        return self._tape.call(f"size {key}", lambda: self._store.size(key))

    def keys(self, prefix: str) -> list[str]:
        return list(self._tape.call(f"keys {prefix}", lambda: self._store.keys(prefix)))

    def upload(self, key: str, path: Path) -> None:
        raise NotImplementedError("these workers write no files")

    def download(self, key: str, path: Path) -> None:
        raise NotImplementedError("these objects are small")

    def describe(self) -> str:
        return self._store.describe()


class HastyStore(TapedStore):
    """Breaks the protocol for a worker: everything else is written after the manifest that names it."""

    def __init__(self, tape: Tape, store: ports.ArtifactStore) -> None:
        super().__init__(tape, store)
        self._late: list[tuple[str, bytes]] = []

    def put(self, key: str, data: bytes) -> None:
        self._late.append((key, data))
        if "/manifest/" in key:
            for each in reversed(self._late):
                super().put(*each)


@dataclass
class Status:
    """The status of a run as the API server keeps it: a write that names another version is refused."""

    version: int = 0
    committed: ArtifactRef | None = None

    def read(self) -> tuple[int, ArtifactRef | None]:
        return self.version, self.committed

    def write(self, committed: ArtifactRef, version: int) -> None:
        if version != self.version:
            raise errors.ConflictError("the status was changed meanwhile")
        self.version, self.committed = version + 1, committed


def make_order(run: str = "run", *, shards: int = 1, fingerprint: str = "a" * 64) -> Order:
    return Order(
        run=RunIdentity(name=run, namespace="default", uid=run),
        node="score-difficulty@a",
        stage="score-difficulty",
        stage_version=1,
        generator="a",
        domain="math",
        parameters={},
        inputs={},
        seed=1,
        fingerprint=fingerprint,
        shards=shards,
    )


def work(
    store: ports.ArtifactStore, order: Order, attempt: str, *, shard: int = 0, content: str = ""
) -> ArtifactRef:
    """Do one shard as a worker does. No two workers come to the same rows, so a mixture shows."""
    mine = chunks.ShardLog(store, order, output=KIND, shard=shard, attempt=attempt, clock=lambda: 0.0)
    planned = chunks.plan_chunks(ROWS * order.shards, ROWS, shard, order.shards)
    mine.adopt(planned)
    for chunk in planned:
        if not mine.is_committed(chunk):
            mine.commit(chunk, _outcome(content or attempt))
    return mine.finish(planned, {})


@cache
def _outcome(content: str) -> chunks.Outcome:
    rows = pa.Table.from_pylist([{"question_id": content, "difficulty": 0.5}], schema=tables.DIFFICULTIES)
    reject = chunks.Reject(record_id=content, reason="bad", text="t")
    return chunks.Outcome(rows_in=ROWS, rows_out=1, rows=rows, rejects=[reject])


def operate(
    tape: Tape, store: ports.ArtifactStore, status: Status, order: Order, *, is_guarded: bool = True
) -> None:
    """Commit a stage as an operator does, unless it is committed; where that fails, the next one tries again."""
    version, committed = tape.call("read status", status.read)
    if committed is not None:
        return
    taped = TapedStore(tape, store)
    found = launching.find_shards(taped, order, {})
    if len(found) < order.shards:
        return
    try:
        ref, _ = launching.commit_stage(taped, order, KIND, [found[shard] for shard in range(order.shards)])
        tape.call("write status", lambda: status.write(ref, version if is_guarded else status.version))
    except (ports.BadInputError, errors.ConflictError):
        return
