"""Which of several operators works: the holder of one Lease, taken before the work starts and renewed while it goes on.

Clocks of other machines are not trusted: a lease has run out when its record has not changed for its duration on our
own monotonic clock. Whoever cannot renew in time ends its process; there is no hand-over inside one.
"""

import datetime as dt
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from scalequest_operator import cluster, errors

_LOG = logging.getLogger(__name__)

JOIN_SECONDS: Final = 10.0
"""How long a clean stop waits for a renewal under way: longer than one call may take."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The pace of the election, in seconds (the defaults of Kubernetes' own components).

    duration_seconds: others wait this long after the last sign of the holder.
    deadline_seconds: the holder gives up this long after its last renewal; below the duration, so that two never work.
    retry_seconds: between renewals, and between looks at another's lease.
    """

    duration_seconds: int = 15
    deadline_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.retry_seconds < self.deadline_seconds < self.duration_seconds:
            raise errors.ConfigurationError(
                f"lease: the retry period ({self.retry_seconds} s) must be below the deadline ({self.deadline_seconds} s),"
                f" and that below the duration ({self.duration_seconds} s)"
            )


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a Lease says, and when (on our monotonic clock) it was first seen to say so."""

    holder: str
    renewed: str
    duration_seconds: float
    seen_at: float


Decision = Literal["renew", "take", "wait"]


def decide(record: Record, *, identity: str, now: float) -> Decision:
    """Return what to do about an existing lease: renew our own, take one that is free or has run out, or wait."""
    if record.holder == identity:
        return "renew"
    if not record.holder or now - record.seen_at >= record.duration_seconds:
        return "take"
    return "wait"


class Lease:
    """One candidate. `identity` must be unique to the process. `on_lost` ends the process; it is called once.

    `is_held` is on the safe side: a process that was stopped for a while finds it false as soon as it goes on.
    """

    def __init__(
        self,
        api: cluster.KubeApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        on_lost: Callable[[str], None],
        terms: Terms | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._on_lost = on_lost
        self._terms = terms or Terms()
        self._monotonic = monotonic
        self._wall = wall
        self._draw = draw
        self._record: Record | None = None
        self._body: cluster.Body | None = None
        self._renewed_at: float | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Tell whether this process may work now."""
        renewed = self._renewed_at
        return renewed is not None and self._monotonic() - renewed < self._terms.deadline_seconds

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until this process holds the lease; False when `stop` is set before."""
        while not stop.is_set():
            if self.attempt():
                _LOG.info("lease %s/%s: held by %s", self._namespace, self._name, self._identity)
                return True
            stop.wait(self._terms.retry_seconds * (1 + 0.2 * self._draw()))
        return False

    def start_renewing(self) -> None:
        """Renew in a thread until `release`."""
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """End renewing and free the lease, so that another takes over at once."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS)
        if self._body is None:
            return
        self._renewed_at = None
        spec = self._body["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            self._api.replace(cluster.LEASES, self._namespace, self._name, self._body | {"spec": spec})
        except errors.ClusterError as error:
            _LOG.warning("the lease was not released, it runs out by itself: %s", error)

    def attempt(self) -> bool:
        """Try once to take or renew the lease; tell whether this process holds it now."""
        # Taken before the call: an answer that comes late must not make the lease look younger.
        begun = self._monotonic()
        try:
            held = self._renew_known() or self._look()
        except errors.ClusterError as error:
            _LOG.warning("lease %s/%s: %s", self._namespace, self._name, error)
            return False
        if held:
            self._renewed_at = begun
        return held

    def _renew(self) -> None:
        while not self._stopping.wait(self._terms.retry_seconds):
            # No call when it is too late already: one that hangs must not carry us past the others' patience.
            if self.is_held:
                self.attempt()
            if self._is_taken() or not self.is_held:
                self._renewed_at = None
                holder = self._record.holder if self._is_taken() and self._record else "nobody else yet"
                self._on_lost(f"lease {self._namespace}/{self._name} is lost; held by {holder}")
                return

    def _is_taken(self) -> bool:
        return self._record is not None and self._record.holder != self._identity

    def _renew_known(self) -> bool:
        if self._body is None:
            return False
        try:
            self._write(self._body)
        except (errors.ConflictError, errors.NotFoundError):
            return False
        return True

    def _look(self) -> bool:
        try:
            body = self._api.get(cluster.LEASES, self._namespace, self._name)
        except errors.NotFoundError:
            return self._create()
        record = self._note(body)
        decision = decide(record, identity=self._identity, now=self._monotonic())
        if decision == "wait":
            return False
        try:
            self._write(body)
        except errors.ConflictError:
            return False
        return True

    def _create(self) -> bool:
        metadata = {"name": self._name, "namespace": self._namespace}
        resource = cluster.LEASES
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": {}}
        try:
            self._keep(self._api.create(resource, self._namespace, self._filled(body)))
        except errors.AlreadyExistsError:
            return False
        return True

    def _write(self, body: cluster.Body) -> None:
        self._keep(self._api.replace(cluster.LEASES, self._namespace, self._name, self._filled(body)))

    def _keep(self, body: cluster.Body) -> None:
        self._body = body
        self._note(body)

    def _filled(self, body: cluster.Body) -> cluster.Body:
        """Return the lease as this process wants it."""
        now = dt.datetime.fromtimestamp(self._wall(), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = body.get("spec") or {}
        spec = {**old, "renewTime": now, "leaseDurationSeconds": self._terms.duration_seconds}
        if old.get("holderIdentity") != self._identity:
            spec |= {
                "holderIdentity": self._identity,
                "acquireTime": now,
                "leaseTransitions": old.get("leaseTransitions", -1) + 1,
            }
        return {**body, "spec": spec}

    def _note(self, body: cluster.Body) -> Record:
        spec = body.get("spec") or {}
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if self._record is None or (self._record.holder, self._record.renewed) != (holder, renewed):
            self._record = Record(
                holder=holder,
                renewed=renewed,
                duration_seconds=float(spec.get("leaseDurationSeconds") or self._terms.duration_seconds),
                seen_at=self._monotonic(),
            )
        return self._record
