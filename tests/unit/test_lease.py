"""Who works: one at a time, the next one soon after a crash and at once after a clean stop."""

import threading
from collections.abc import Callable

import pytest

from fake_clock import FakeClock
from fake_kubernetes.api import Call, FakeCluster
from fake_kubernetes.world import World
from scalequest_operator import cluster, errors, lease
from scalequest_operator.lease import Lease, Record, Terms

NAME = "scalequest-operator"


class Election:
    """Candidates for one lease in a fake cluster, on one clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock)
        self.lost: list[str] = []

    def candidate(
        self, identity: str, api: FakeCluster | None = None, clock: FakeClock | None = None, **terms: float
    ) -> Lease:
        mine = clock or self.clock
        return Lease(
            api or self.client(),
            namespace="default",
            name=NAME,
            identity=identity,
            on_lost=self.lost.append,
            terms=Terms(**terms) if terms else None,  # type: ignore[arg-type]
            monotonic=mine.monotonic,
            wall=mine.wall,
            draw=lambda: 0.0,
        )

    def client(self) -> FakeCluster:
        return self.world.client(rules=cluster.LEASE_RULES)

    @property
    def spec(self) -> dict[str, object]:
        spec: dict[str, object] = self.world.api.get(cluster.LEASES, "default", NAME)["spec"]
        return spec


@pytest.fixture
def election() -> Election:
    return Election()


def unavailable(call: Call) -> None:
    raise errors.UnavailableError("no answer")


@pytest.mark.parametrize(
    ("holder", "silent_seconds", "decision"),
    [
        ("me", 0, "renew"),
        ("me", 1000, "renew"),
        ("", 0, "take"),
        ("other", 0, "wait"),
        ("other", 14.9, "wait"),
        ("other", 15, "take"),
    ],
)
def test_what_is_done_about_a_lease(holder: str, silent_seconds: float, decision: str) -> None:
    record = Record(holder=holder, renewed="", duration_seconds=15, seen_at=100)
    assert lease.decide(record, identity="me", now=100 + silent_seconds) == decision


def test_the_first_candidate_takes_the_lease_and_says_so(election: Election) -> None:
    assert election.candidate("a").attempt()
    assert election.spec == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:13:20.000000Z",
        "renewTime": "2023-11-14T22:13:20.000000Z",
        "leaseTransitions": 0,
    }


def test_a_second_candidate_waits_as_long_as_the_first_renews(election: Election) -> None:
    a, b = election.candidate("a"), election.candidate("b")
    assert a.attempt()
    for _ in range(30):
        assert not b.attempt()
        election.clock.advance(10)
        assert a.attempt()
    assert not b.is_held
    assert election.spec["leaseTransitions"] == 0


def test_a_candidate_takes_over_fifteen_seconds_after_the_last_sign_and_no_sooner(election: Election) -> None:
    a, b = election.candidate("a"), election.candidate("b")
    a.attempt()
    assert not b.attempt()
    election.clock.advance(14.9)
    assert not b.attempt()
    election.clock.advance(0.1)
    assert b.attempt()
    assert (election.spec["holderIdentity"], election.spec["leaseTransitions"]) == ("b", 1)


def test_the_holders_own_duration_counts(election: Election) -> None:
    a, b = election.candidate("a", duration_seconds=60), election.candidate("b")
    a.attempt()
    assert not b.attempt()
    election.clock.advance(59)
    assert not b.attempt()
    election.clock.advance(1)
    assert b.attempt()


def test_an_old_lease_is_watched_for_its_whole_duration_since_clocks_are_not_trusted(
    election: Election,
) -> None:
    election.candidate("a").attempt()
    election.clock.advance(1000)
    b = election.candidate("b")
    assert not b.attempt()
    election.clock.advance(15)
    assert b.attempt()


def test_a_released_lease_is_taken_at_once(election: Election) -> None:
    a, b = election.candidate("a"), election.candidate("b")
    a.attempt()
    assert not b.attempt()
    a.release()
    assert not a.is_held
    assert election.spec["holderIdentity"] == ""
    assert b.attempt()


def test_a_lease_that_is_not_held_is_not_released(election: Election) -> None:
    a, b = election.candidate("a"), election.candidate("b")
    a.attempt()
    b.attempt()
    b.release()
    assert election.spec["holderIdentity"] == "a"


def test_a_holder_that_slept_too_long_does_not_free_its_successors_lease(election: Election) -> None:
    a, b = election.candidate("a"), election.candidate("b")
    a.attempt()
    b.attempt()
    election.clock.advance(15)
    b.attempt()
    a.release()
    assert election.spec["holderIdentity"] == "b"


def test_a_lease_is_held_for_ten_seconds_after_a_renewal_was_sent(election: Election) -> None:
    api = election.client()
    a = election.candidate("a", api)
    api.after = lambda call: election.clock.advance(4)
    assert a.attempt(), "the answer took 4 s"
    election.clock.advance(5.9)
    assert a.is_held
    election.clock.advance(0.1)
    assert not a.is_held


def test_of_two_that_take_a_free_lease_at_once_one_holds_it(election: Election) -> None:
    api_a, api_b = election.client(), election.client()
    a, b = election.candidate("a", api_a), election.candidate("b", api_b)
    held = []

    def interrupt(call: Call) -> None:
        api_a.before = lambda call: None
        held.append(b.attempt())

    # b creates the lease between a's look and a's own creation, then takes it over between look and write.
    api_a.after = lambda call: None
    api_a.before = lambda call: interrupt(call) if call.verb == "create" else None
    assert (a.attempt(), held) == (False, [True])
    election.clock.advance(15)
    assert not a.attempt()
    election.clock.advance(15)
    api_a.before = lambda call: interrupt(call) if call.verb == "update" else None
    assert (a.attempt(), held) == (False, [True, True])
    assert election.spec["holderIdentity"] == "b"


@pytest.mark.parametrize("verb", ["create", "update"])
def test_a_write_whose_answer_is_lost_is_found_out_by_the_next_attempt(election: Election, verb: str) -> None:
    api = election.client()
    a = election.candidate("a", api)
    if verb == "update":
        a.attempt()
    api.after = lambda call: unavailable(call) if call.verb == verb else None
    assert not a.attempt()
    api.after = lambda call: None
    assert a.attempt()
    assert a.is_held
    assert election.spec["leaseTransitions"] == 0


def test_a_lease_that_was_deleted_is_made_anew_by_its_holder(election: Election) -> None:
    a = election.candidate("a")
    a.attempt()
    body = election.world.api.get(cluster.LEASES, "default", NAME)
    election.world.api.delete(cluster.LEASES, "default", NAME, uid=body["metadata"]["uid"])
    assert a.attempt()
    assert election.spec["holderIdentity"] == "a"


def test_a_lease_without_a_spec_is_taken(election: Election) -> None:
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}}
    election.world.api.create(cluster.LEASES, "default", body)
    assert election.candidate("a").attempt()


def test_an_attempt_survives_every_refusal(election: Election) -> None:
    a = election.candidate("a", election.world.client(rules=()))
    assert not a.attempt()


def test_renewing_costs_one_call(election: Election) -> None:
    api = election.client()
    a = election.candidate("a", api)
    a.attempt()
    api.calls.clear()
    for _ in range(3):
        election.clock.advance(2)
        a.attempt()
    assert [call.verb for call in api.calls] == ["update"] * 3


def test_acquire_waits_until_the_lease_is_free(election: Election) -> None:
    a, b = election.candidate("a"), election.candidate("b", retry_seconds=0.01)
    a.attempt()
    got: list[bool] = []
    thread = threading.Thread(target=lambda: got.append(b.acquire(threading.Event())))
    thread.start()
    a.release()
    thread.join(10)
    assert got == [True]


def test_acquire_ends_when_the_process_is_told_to_stop(election: Election) -> None:
    a, b = election.candidate("a"), election.candidate("b", retry_seconds=5.0)
    a.attempt()
    stop, got = threading.Event(), list[bool]()
    thread = threading.Thread(target=lambda: got.append(b.acquire(stop)))
    thread.start()
    stop.set()
    thread.join(4)
    assert got == [False]


def renewing(election: Election, api: FakeCluster, prepare: Callable[[Lease], None]) -> None:
    """Hold a lease, do something to it, and wait until its thread has ended."""
    a = election.candidate("a", api, retry_seconds=0.01)
    assert a.attempt()
    prepare(a)
    a.start_renewing()
    assert a._thread is not None
    a._thread.join(10)
    assert not a._thread.is_alive()
    assert not a.is_held


def test_a_holder_that_finds_another_in_its_place_ends_at_once(election: Election) -> None:
    def oust(_: Lease) -> None:
        operation = {"op": "replace", "path": "/spec/holderIdentity", "value": "b"}
        election.world.api.patch(cluster.LEASES, "default", NAME, [operation])

    renewing(election, election.client(), oust)
    assert election.lost == [f"lease default/{NAME} is lost; held by b"]


def test_a_holder_that_cannot_renew_ends_after_ten_seconds_and_not_before(election: Election) -> None:
    api, tries = election.client(), []

    def fail(_: Lease) -> None:
        def slowly(call: Call) -> None:
            tries.append(election.clock.monotonic())
            election.clock.advance(3)
            raise errors.UnavailableError("no answer")

        api.before = slowly

    renewing(election, api, fail)
    assert tries == [0, 3, 6, 9]
    assert election.lost == [f"lease default/{NAME} is lost; held by nobody else yet"]


def test_a_holder_that_was_stopped_too_long_ends_without_another_call(election: Election) -> None:
    api = election.client()
    renewing(election, api, lambda _: (election.clock.advance(60), api.calls.clear())[1])
    assert api.calls == []
    assert len(election.lost) == 1


def test_release_ends_the_renewing_thread(election: Election) -> None:
    a = election.candidate("a", retry_seconds=5.0)
    a.attempt()
    a.start_renewing()
    a.release()
    assert a._thread is not None
    assert not a._thread.is_alive()
    assert election.spec["holderIdentity"] == ""
    assert election.lost == []


@pytest.mark.parametrize(
    "terms", [{"retry_seconds": 10.0}, {"deadline_seconds": 15.0}, {"duration_seconds": 10}]
)
def test_terms_under_which_two_could_work_at_once_are_refused(terms: dict[str, float]) -> None:
    with pytest.raises(errors.ConfigurationError, match="must be below the deadline"):
        Terms(**terms)  # type: ignore[arg-type]
