"""A whole fake cluster: one store, its controllers, a kubelet, and a clock that moves when asked."""

from collections.abc import Callable, Sequence

from fake_clock import FakeClock
from fake_kubernetes import garbage
from fake_kubernetes.api import FakeCluster
from fake_kubernetes.job_controller import JobController
from fake_kubernetes.kubelet import Kubelet, StoreDoors
from fake_kubernetes.store import Store
from scalequest_operator import cluster

NAMESPACE = "default"


class NeverError(Exception):
    """What was waited for cannot happen any more: nothing changes but the time."""


class World:
    """`api` is an administrator's client; `client` makes one for an operator, with faults of its own."""

    def __init__(self, clock: FakeClock | None = None, *, blocking: bool = False) -> None:
        self.clock = clock or FakeClock()
        self.store = Store(wall=self.clock.wall, namespaces=(NAMESPACE, "other"))
        self._blocking = blocking
        self.api = FakeCluster(self.store, blocking=blocking, rules=None)
        self.jobs = JobController(self.store)
        self.kubelet = Kubelet(self.api, StoreDoors(self.store), wall=self.clock.wall, namespace=NAMESPACE)

    def client(self, rules: Sequence[cluster.Rule] = (*cluster.RULES, *cluster.LEASE_RULES)) -> FakeCluster:
        return FakeCluster(self.store, blocking=self._blocking, rules=rules)

    def settle(self) -> None:
        """Let the controllers work until only time, a kubelet or an operator can change anything."""
        while self.jobs.step() or garbage.collect(self.store):
            pass

    def until(self, condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
        """Let the controllers work, and time pass to the next moment at which they would, until a condition holds."""
        end = self.clock.wall() + seconds
        self.settle()
        while not condition():
            due = self.jobs.next_due
            if due is None or due > end:
                raise NeverError(f"not within {seconds} s: {what}")
            self.advance(max(0.0, due - self.clock.wall()))

    def advance(self, seconds: float) -> None:
        """Let time pass, then the controllers work."""
        self.clock.advance(seconds)
        self.settle()
