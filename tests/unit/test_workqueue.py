"""Each key once, never twice at a time, namespaces in turn, failures further and further apart."""

import collections
import random
import threading

import pytest

from fake_clock import FakeClock
from scalequest_operator.workqueue import MAX_SECONDS, SETTLE_SECONDS, RunKey, WorkQueue


def key(name: str, namespace: str = "default") -> RunKey:
    return RunKey(namespace=namespace, name=name)


def taken(queue: WorkQueue, now: float = 0.0) -> list[str]:
    """Take, and end, everything that is ready at a moment."""
    names = []
    while (found := queue.take_ready(now)) is not None:
        names.append(found.name)
        queue.done(found)
    return names


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue:
    return WorkQueue(monotonic=clock.monotonic, draw=lambda: 1.0)


def test_a_key_that_is_added_thrice_is_handed_out_once_in_its_first_place(queue: WorkQueue) -> None:
    for name in ("a", "b", "a", "a"):
        queue.add(key(name))
    assert len(queue) == 2
    assert taken(queue) == ["a", "b"]


def test_a_key_that_is_worked_on_is_not_handed_out(queue: WorkQueue) -> None:
    queue.add(key("a"))
    assert queue.take_ready(0) == key("a")
    queue.add(key("a"))
    assert queue.take_ready(0) is None


def test_a_key_that_is_added_while_worked_on_comes_again_once(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take_ready(0)
    queue.add(key("a"))
    queue.add(key("a"))
    queue.done(key("a"))
    assert taken(queue) == ["a"]


def test_work_that_is_done_does_not_come_again_by_itself(queue: WorkQueue) -> None:
    queue.add(key("a"))
    assert taken(queue) == ["a"]
    assert taken(queue, now=1e9) == []
    assert queue.next_due() is None


def test_a_delayed_key_becomes_ready_when_its_time_has_come_and_not_before(queue: WorkQueue) -> None:
    queue.add_after(key("a"), 5)
    assert queue.next_due() == 5
    assert taken(queue, now=4.999) == []
    assert taken(queue, now=5) == ["a"]


def test_changes_in_a_row_are_gathered_and_hold_up_nothing_that_is_ready(queue: WorkQueue) -> None:
    for _ in range(3):
        queue.add_soon(key("a"))
    assert taken(queue, now=SETTLE_SECONDS - 0.001) == []
    assert taken(queue, now=SETTLE_SECONDS) == ["a"]
    queue.add(key("a"))
    queue.add_soon(key("a"))
    assert taken(queue) == ["a"]
    assert queue.next_due() is None, "who takes it sees the change already"


def test_a_change_while_a_key_is_worked_on_is_looked_at_afterwards(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take_ready(0)
    queue.add_soon(key("a"))
    queue.done(key("a"))
    assert taken(queue) == []
    assert taken(queue, now=SETTLE_SECONDS) == ["a"]


@pytest.mark.parametrize("delays", [(5, 3, 9), (3, 5, 9), (9, 5, 3)])
def test_the_earliest_of_several_delays_holds_and_only_it(
    queue: WorkQueue, delays: tuple[float, ...]
) -> None:
    for delay in delays:
        queue.add_after(key("a"), delay)
    assert queue.next_due() == 3
    assert taken(queue, now=3) == ["a"]
    assert taken(queue, now=100) == []


def test_a_key_can_be_delayed_again_and_again(queue: WorkQueue) -> None:
    for now in (0, 10, 20):
        queue.add_after(key("a"), now + 5)
        assert taken(queue, now=now + 4) == []
        assert taken(queue, now=now + 5) == ["a"]


def test_a_key_that_is_added_at_once_is_not_handed_out_again_when_its_delay_is_over(queue: WorkQueue) -> None:
    queue.add_after(key("a"), 5)
    queue.add(key("a"))
    assert taken(queue, now=0) == ["a"]
    assert taken(queue, now=100) == []


def test_a_key_whose_delay_ends_while_it_is_worked_on_comes_again_afterwards(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.take_ready(0)
    queue.add_after(key("a"), 1)
    assert queue.take_ready(2) is None
    queue.done(key("a"))
    assert taken(queue, now=2) == ["a"]


def test_namespaces_take_turns(queue: WorkQueue) -> None:
    for name in ("a1", "a2", "a3", "a4"):
        queue.add(key(name, "busy"))
    queue.add(key("b1", "calm"))
    queue.add(key("c1", "quiet"))
    assert taken(queue) == ["a1", "b1", "c1", "a2", "a3", "a4"]


def test_waits_double_with_each_failure_in_a_row_up_to_five_minutes(queue: WorkQueue) -> None:
    waits = [queue.back_off(key("a")) for _ in range(12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert queue.failures(key("a")) == 12
    assert queue.back_off(key("b")) == 1


def test_a_success_starts_the_waits_anew(queue: WorkQueue) -> None:
    for _ in range(5):
        queue.back_off(key("a"))
    queue.forget(key("a"))
    assert queue.failures(key("a")) == 0
    assert queue.back_off(key("a")) == 1
    queue.forget(key("never failed"))


def test_waits_are_spread_over_the_upper_half_and_never_below_a_second(clock: FakeClock) -> None:
    draws = iter([0.0, 0.0, 0.5])
    queue = WorkQueue(monotonic=clock.monotonic, draw=lambda: next(draws))
    assert [queue.back_off(key("a")) for _ in range(3)] == [1, 1, 3]


def test_a_failed_key_is_ready_after_its_wait(queue: WorkQueue) -> None:
    queue.back_off(key("a"))
    queue.back_off(key("a"))
    assert queue.next_due() == 1, "an earlier time stands"
    assert taken(queue, now=1) == ["a"]


def test_a_thousand_failures_in_a_row_do_not_overflow(queue: WorkQueue) -> None:
    for _ in range(2000):
        assert queue.back_off(key("a")) <= MAX_SECONDS


def test_a_closed_queue_hands_out_nothing(queue: WorkQueue) -> None:
    queue.add(key("a"))
    queue.close()
    assert queue.take_ready(0) is None
    assert queue.take() is None


def test_a_waiting_thread_gets_a_key_as_soon_as_one_is_added() -> None:
    queue, got = WorkQueue(), collections.deque[RunKey | None]()
    thread = threading.Thread(target=lambda: got.append(queue.take()))
    thread.start()
    queue.add(key("a"))
    thread.join(10)
    assert list(got) == [key("a")]


def test_a_waiting_thread_gets_a_delayed_key_that_was_added_after_it_began_to_wait() -> None:
    queue, got = WorkQueue(), collections.deque[RunKey | None]()
    thread = threading.Thread(target=lambda: got.append(queue.take()))
    thread.start()
    queue.add_after(key("late"), 300)
    queue.add_after(key("soon"), 0.01)
    thread.join(10)
    assert list(got) == [key("soon")]


def test_closing_wakes_every_waiting_thread() -> None:
    queue, got = WorkQueue(), collections.deque[RunKey | None]()
    threads = [threading.Thread(target=lambda: got.append(queue.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.close()
    for thread in threads:
        thread.join(10)
    assert list(got) == [None, None, None]


def test_a_wait_with_a_limit_ends() -> None:
    assert WorkQueue().take(timeout_seconds=0.01) is None


def test_no_key_is_ever_worked_on_by_two_threads_and_none_is_lost() -> None:
    queue = WorkQueue()
    guard, busy, overlaps = threading.Lock(), collections.Counter[RunKey](), []
    asked, seen = collections.Counter[RunKey](), dict[RunKey, int]()

    def work() -> None:
        while (found := queue.take()) is not None:
            with guard:
                busy[found] += 1
                overlaps.append(busy[found] > 1)
                seen[found] = asked[found]
            with guard:
                busy[found] -= 1
            queue.done(found)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    source = random.Random(7)
    for _ in range(1000):
        chosen = key(str(source.randrange(5)), str(source.randrange(2)))
        with guard:
            asked[chosen] += 1
        queue.add(chosen)
    while True:
        with guard:
            if seen == asked and not any(busy.values()):
                break
    queue.close()
    for worker in workers:
        worker.join(10)
    assert not any(overlaps)
