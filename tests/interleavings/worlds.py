"""All worlds that real workers and operators of one shard can reach over a store in memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from interleavings.actors import Actor, Status, Tape, TapedStore, make_order, operate, work
from scalequest_jobs import ports
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.execution import launching, reading
from scalequest_jobs.stores.memory import MemoryStore

Part = Callable[[Tape, MemoryStore, Status], object]
"""What one of the actors does."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything at one moment. Whoever takes no further step crashed there; whoever does so late was a zombie."""

    actors: tuple[Actor, ...]
    objects: frozenset[tuple[str, bytes]] = frozenset()
    version: int = 0
    committed: ArtifactRef | None = None

    def store(self) -> MemoryStore:
        """Return a store of these objects."""
        store = MemoryStore()
        store._objects = dict(self.objects)
        return store

    def after(self, number: int, part: Part) -> "World":
        """Return the world after one step of one actor."""
        store, status = self.store(), Status(self.version, self.committed)
        actor = self.actors[number].step(lambda tape: part(tape, store, status))
        return World(
            actors=(*self.actors[:number], actor, *self.actors[number + 1 :]),
            objects=frozenset(store._objects.items()),
            version=status.version,
            committed=status.committed,
        )


@dataclass
class Seen:
    """What was seen; `broken` says which invariant does not hold and where it was seen first."""

    worlds: int = 0
    committed: set[ArtifactRef] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)


def worker(content: str, *, attempt: str = "", through: type[TapedStore] = TapedStore) -> Part:
    """Return the part of a worker that writes `content`, under an attempt of the same name unless another is given."""
    return lambda tape, store, _: work(
        through(tape, store), make_order(), attempt or content, content=content
    )


def operator(*, is_guarded: bool = True) -> Part:
    """Return the part of an operator."""
    return lambda tape, store, status: operate(tape, store, status, make_order(), is_guarded=is_guarded)


def explore(parts: Sequence[Part]) -> Seen:
    """Visit every world that the actors can reach, each step of each at any time, and hold it against the invariants."""
    first = World(actors=(Actor(),) * len(parts))
    seen, known, judged = Seen(), {first}, set()
    queue = deque([first])
    while queue:
        world = queue.popleft()
        matter = replace(world, actors=())
        if matter not in judged:
            judged.add(matter)
            _judge(world, seen)
        for following in _following(world, parts):
            if world.committed not in (None, following.committed):
                seen.broken.setdefault("a committed digest changed", str(following.committed))
            if following not in known:
                known.add(following)
                queue.append(following)
    seen.worlds = len(known)
    return seen


def _following(world: World, parts: Sequence[Part]) -> Iterator[World]:
    for number, part in enumerate(parts):
        if not world.actors[number].has_ended:
            yield world.after(number, part)


def _judge(world: World, seen: Seen) -> None:
    store = world.store()
    cached = launching.cached(store, make_order().fingerprint)
    for name, ref in (("cached", cached and cached[0]), ("committed", world.committed)):
        try:
            if ref:
                check_whole(store, ref)
        except (ports.BadInputError, AssertionError) as error:
            seen.broken.setdefault(f"the {name} artifact is torn or mixed", str(error))
    if world.committed:
        seen.committed.add(world.committed)
        return
    try:
        recover(store, Status(world.version))
    except (ports.BadInputError, AssertionError) as error:
        seen.broken.setdefault("whoever comes next cannot commit", str(error))


def recover(store: ports.ArtifactStore, status: Status, order: Order | None = None) -> ArtifactRef:
    """Let another worker and another operator do what is left to do; what they commit is whole."""
    order = order or make_order()
    work(store, order, "later")
    operate(Tape(None), store, status, order)
    assert status.committed is not None, "a finished worker and a living operator, and no commit"
    check_whole(store, status.committed)
    return status.committed


def check_whole(store: ports.ArtifactStore, ref: ArtifactRef) -> None:
    """Read an artifact as every reader does, by digest.

    Raises:
        BadInputError: something is missing, or is not what was committed.
    """
    manifest = reading.read_manifest(store, ref)
    rows = reading.TableReader(store, manifest).table().to_pylist()
    rejects = reading.TableReader(store, manifest, "rejects").table().to_pylist()
    by = [each["question_id"] for each in rows], [each["record_id"] for each in rejects]
    assert by[0] == by[1], f"rows by {by[0]} and rejects by {by[1]}"
