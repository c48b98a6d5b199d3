"""The commit protocol as a state machine: workers of one shard and operators that crash wherever they like.

A value stands for a digest: a data object holds the number of the worker that wrote it, whatever names an object
by digest holds the value that it must have. Every state that can be reached is visited.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

DATA = ("rows", "rejects")

Key = tuple[str, int]
"""A kind of object and the attempt that its key names."""

Refs = tuple[tuple[Key, int], ...]
"""What a receipt says, and a manifest: objects, and what each must hold."""

Value = int | Refs


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The protocol; each field that is set otherwise breaks it in one way."""

    attempts_in_keys: bool = True
    manifest_last: bool = True
    is_guarded: bool = True
    asks_again: bool = True


class Worker(NamedTuple):
    """`step`: what it does next, empty when it ended or died."""

    step: str = "look"
    refs: Refs = ()
    has_finished: bool = False


class Operator(NamedTuple):
    """`step`: what it does next, empty when it knows of a commit."""

    step: str = "read"
    version: int = 0
    refs: Refs = ()


class State(NamedTuple):
    """Everything that is stored, and everyone who writes."""

    objects: frozenset[tuple[Key, Value]] = frozenset()
    version: int = 0
    committed: Refs = ()
    first_committed: Refs = ()
    workers: tuple[Worker, ...] = ()
    operators: tuple[Operator, ...] = ()
    crashes_left: int = 0

    def get(self, key: Key) -> Value | None:
        """Return what an object holds."""
        return dict(self.objects).get(key)

    def put(self, key: Key, value: Value) -> "State":
        """Return the state after a write."""
        return self._replace(objects=frozenset({**dict(self.objects), key: value}.items()))

    def holds(self, refs: Refs) -> bool:
        """Return whether every object that is named is there and is what it must be."""
        return bool(refs) and all(self.get(key) == value for key, value in refs)

    def with_worker(self, number: int, worker: Worker) -> "State":
        """Return the state with one worker changed."""
        return self._replace(workers=(*self.workers[:number], worker, *self.workers[number + 1 :]))

    def with_operator(self, number: int, operator: Operator) -> "State":
        """Return the state with one operator changed."""
        return self._replace(operators=(*self.operators[:number], operator, *self.operators[number + 1 :]))


@dataclass
class Outcome:
    """What was found; the keys of `broken` say which invariant, its values in how many states."""

    states: int = 0
    commits: int = 0
    adoptions: int = 0
    broken: dict[str, int] = field(default_factory=dict)


def explore(protocol: Protocol, *, workers: int = 2, operators: int = 2, crashes: int = 2) -> Outcome:
    """Visit every state that can be reached, and hold each against the invariants."""
    first = State(workers=(Worker(),) * workers, operators=(Operator(),) * operators, crashes_left=crashes)
    before: dict[State, set[State]] = {first: set()}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        for following in _moves(protocol, state):
            if following not in before:
                before[following] = set()
                queue.append(following)
            before[following].add(state)
    return _judged(before)


def _judged(before: dict[State, set[State]]) -> Outcome:
    outcome = Outcome(states=len(before))
    may_end = _reaching(before, [state for state in before if state.committed])
    for state in before:
        outcome.commits += bool(state.committed)
        outcome.adoptions += any(_is_adopted(worker, at) for at, worker in enumerate(state.workers))
        for fault in _faults(state, is_stuck=state not in may_end):
            outcome.broken[fault] = outcome.broken.get(fault, 0) + 1
    return outcome


def _is_adopted(worker: Worker, number: int) -> bool:
    return any(writer != number for _, writer in worker.refs)


def _reaching(before: dict[State, set[State]], ends: list[State]) -> set[State]:
    found, queue = set(ends), deque(ends)
    while queue:
        for state in before[queue.popleft()] - found:
            found.add(state)
            queue.append(state)
    return found


def _faults(state: State, *, is_stuck: bool) -> Iterator[str]:
    if state.committed != state.first_committed:
        yield "a committed digest changed"
    if state.committed and not state.holds(state.committed):
        yield "a reader sees mixed or torn output"
    if (cached := state.get(("cache", 0))) is not None and not state.holds(cached):  # type: ignore[arg-type]
        yield "the cache points to mixed or torn output"
    if is_stuck and any(worker.has_finished for worker in state.workers):
        yield "stuck"


def _moves(protocol: Protocol, state: State) -> Iterator[State]:
    for number, worker in enumerate(state.workers):
        if worker.step:
            yield from _worker_moves(protocol, state, number, worker)
            if state.crashes_left:
                dead = worker._replace(step="")
                yield state.with_worker(number, dead)._replace(crashes_left=state.crashes_left - 1)
    for number, operator in enumerate(state.operators):
        if operator.step:
            yield from _operator_moves(protocol, state, number, operator)
            if state.crashes_left and operator.step != "read":
                anew = state.with_operator(number, Operator())
                yield anew._replace(crashes_left=state.crashes_left - 1)


def _worker_moves(protocol: Protocol, state: State, number: int, worker: Worker) -> Iterator[State]:
    attempt = number if protocol.attempts_in_keys else 0
    own: Refs = tuple(((kind, attempt), number) for kind in DATA)
    steps = [*DATA, "receipt", "manifest"] if protocol.manifest_last else ["manifest", *DATA, "receipt"]
    if worker.step == "look":
        yield state.with_worker(number, Worker(step=steps[0], refs=own))
        for key, found in state.objects:
            if key[0] == "receipt" and state.holds(found):  # type: ignore[arg-type]
                yield state.with_worker(number, Worker(step="manifest", refs=found))  # type: ignore[arg-type]
        return
    written: Value = number if worker.step in DATA else worker.refs
    following = [*steps, ""][steps.index(worker.step) + 1]
    after = worker._replace(step=following, has_finished=not following)
    yield state.put((worker.step, attempt), written).with_worker(number, after)


def _operator_moves(protocol: Protocol, state: State, number: int, operator: Operator) -> Iterator[State]:
    match operator.step:
        case "read":
            step = "" if state.committed else "find"
            yield state.with_operator(number, Operator(step=step, version=state.version))
        case "find":
            manifests = [value for key, value in state.objects if key[0] == "manifest"]
            for refs in manifests:
                chosen = operator._replace(step="cache", refs=refs)  # type: ignore[arg-type]
                yield state.with_operator(number, chosen)
            if not manifests:
                again = "read" if protocol.asks_again else ""
                yield state.with_operator(number, Operator(step=again))
        case "cache":
            # The stage's manifest is under its own digest, so only the cache's pointer can be written over.
            yield state.put(("cache", 0), operator.refs).with_operator(
                number, operator._replace(step="write")
            )
        case "write":
            yield _write(protocol, state, number, operator)


def _write(protocol: Protocol, state: State, number: int, operator: Operator) -> State:
    if protocol.is_guarded and state.version != operator.version:
        return state.with_operator(number, Operator())
    committed = state._replace(
        version=min(state.version + 1, 2),
        committed=operator.refs,
        first_committed=state.first_committed or operator.refs,
    )
    return committed.with_operator(number, operator._replace(step=""))
