"""The operator's own limit on its calls."""

import threading

import pytest

from scalequest_operator.rate import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def bucket(clock: Clock, *, per_second: float = 10, burst: int = 3) -> TokenBucket:
    return TokenBucket(per_second=per_second, burst=burst, monotonic=clock.monotonic, sleep=clock.sleep)


def test_a_burst_passes_at_once_and_then_calls_are_spaced(clock: Clock) -> None:
    limit = bucket(clock)
    for _ in range(5):
        limit.take()
    assert clock.slept == pytest.approx([0.1, 0.1])


def test_rest_refills_the_burst_and_no_more(clock: Clock) -> None:
    limit = bucket(clock)
    for _ in range(3):
        limit.take()
    clock.now += 3600
    for _ in range(3):
        limit.take()
    assert clock.slept == []
    limit.take()
    assert clock.slept == pytest.approx([0.1])


def test_in_the_long_run_the_rate_holds(clock: Clock) -> None:
    limit = bucket(clock, per_second=50, burst=100)
    for _ in range(600):
        limit.take()
    assert clock.now - 100 == pytest.approx(10)


def test_threads_share_one_limit() -> None:
    slept: list[float] = []
    limit = TokenBucket(per_second=10, burst=1, monotonic=lambda: 0.0, sleep=slept.append)
    threads = [threading.Thread(target=limit.take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slept) == pytest.approx([0.1, 0.2, 0.3])
