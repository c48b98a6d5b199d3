"""The workers of simulated pods: whenever a Job appears, what its pods would commit is written to the bucket.

The same stream of changes tells when each Job was created and when it was complete.
"""

import concurrent.futures
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint, names
from scalequest_jobs.contract.artifact import ArtifactKeys, ObjectRef, order_key
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.execution import worker
from scalequest_jobs.execution.chunks import Chunk, Outcome, ShardLog, new_attempt
from scalequest_operator import cluster
from scalequest_operator.planning import views
from scalequest_operator.planning.model import JobView
from scalequest_operator.watch import Informer, Subject


@dataclass(kw_only=True)
class Times:
    """When a Job was seen first and when it was seen complete, by the monotonic clock."""

    run: str
    node: str
    created: float
    completed: float = 0.0


@dataclass
class Workers:
    """Plays every worker of a namespace; `with` begins and ends it."""

    api: cluster.KubeApi
    store: ports.ArtifactStore
    namespace: str
    jobs: dict[str, Times] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._pool = concurrent.futures.ThreadPoolExecutor(4)
        self._informer: Informer[JobView] = Informer(
            self.api,
            Subject(
                resource=cluster.JOBS,
                namespaces=(self.namespace,),
                label_selector="",
                digest=views.job_view,
                owner=lambda body: names.run_of(body["metadata"].get("labels") or {})[1],
                on_change=self._changed,
            ),
        )
        self._informer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._informer.stop()
        self._pool.shutdown()

    def completed(self) -> list[Times]:
        """Return the Jobs that are complete."""
        with self._guard:
            return [job for job in self.jobs.values() if job.completed]

    def _changed(self, before: JobView | None, after: JobView | None) -> None:
        now = time.monotonic()
        if after is None:
            return
        with self._guard:
            seen = self.jobs.setdefault(after.uid, Times(run=after.run, node=after.node, created=now))
            if after.finished == "Complete" and not seen.completed:
                seen.completed = now
        if before is None and not after.finished:
            self._pool.submit(self._work, after)

    def _work(self, job: JobView) -> None:
        key = order_key(job.run_uid, job.node, job.order)
        order = worker.read_order(self.store, key, job.order)
        for shard in range(order.shards):
            _commit(self.store, order, shard)


def _commit(store: ports.ArtifactStore, order: Order, shard: int) -> None:
    """Write one chunk and the shard's manifest. No two orders have the same content, so no stage is cached by chance."""
    attempt = new_attempt("simulated")
    log = ShardLog(store, order, output="", shard=shard, attempt=attempt)
    chunk = Chunk(index=shard, first=shard, last=shard + 1)
    data = f"{order.fingerprint} {shard}".encode()
    keys = ArtifactKeys(order.run.uid, order.node, order.fingerprint)
    ref = ObjectRef(
        key=keys.object(shard, chunk.index, attempt, "rows"),
        sha256=fingerprint.sha256(data),
        size=len(data),
    )
    store.put(ref.key, data)
    log.commit(chunk, Outcome(rows_in=1, rows_out=1, objects={"rows": ref}))
    log.finish([chunk], {})
