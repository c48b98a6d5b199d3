"""A bucket that fails when told to, and the workers that fill it as real ones do."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import ArtifactKeys, ObjectRef
from scalequest_jobs.contract.launch import Env, Termination
from scalequest_jobs.execution import worker
from scalequest_jobs.execution.chunks import Chunk, Outcome, ShardLog, plan_chunks
from scalequest_jobs.stores.memory import MemoryStore
from scalequest_operator import cluster

CHUNKS_PER_SHARD: Final = 2


class Bucket(MemoryStore):
    """`is_down`: nobody answers. `on_call`: told of every call that an operator makes; it may raise."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.on_call: Callable[[], None] = lambda: None

    def _check(self) -> None:
        self.on_call()
        if self.is_down:
            raise ports.TryAgainError("the bucket does not answer")

    def put(self, key: str, data: bytes) -> None:
        self._check()
        super().put(key, data)

    def get(self, key: str) -> bytes:
        self._check()
        return super().get(key)

    def keys(self, prefix: str) -> list[str]:
        self._check()
        return super().keys(prefix)


@dataclass
class Workers:
    """What the containers of stage pods do. No two attempts write the same bytes, so a swapped artifact shows."""

    bucket: Bucket
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def work(self, pod: cluster.Body, chunks: int) -> Termination | None:
        """Commit up to `chunks` chunks of a pod's shard; return its last words when the shard is done.

        Raises:
            TryAgainError: the bucket is down.
        """
        env = {item["name"]: item.get("value", "") for item in pod["spec"]["containers"][0]["env"]}
        shard = int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])
        order = worker.read_order(self.bucket, env[Env.ORDER_KEY], env[Env.ORDER_SHA256])
        attempt = f"{pod['metadata']['uid']}-{next(self.numbers)}"
        log = ShardLog(self.bucket, order, output="", shard=shard, attempt=attempt, clock=lambda: 0.0)
        total = order.shards * CHUNKS_PER_SHARD
        mine = plan_chunks(total, 1, shard, order.shards)
        log.adopt(mine)
        keys = ArtifactKeys(order.run.uid, order.node, order.fingerprint)
        for chunk in [chunk for chunk in mine if not log.is_committed(chunk)][:chunks]:
            self._commit(log, chunk, keys.object(shard, chunk.index, attempt, "rows"), attempt)
        if not all(log.is_committed(chunk) for chunk in mine):
            return None
        ref = log.finish(mine, {})
        return Termination(manifest=ref.key, sha256=ref.sha256)

    def _commit(self, log: ShardLog, chunk: Chunk, key: str, attempt: str) -> None:
        data = f"chunk {chunk.index} by {attempt}".encode()
        self.bucket.put(key, data)
        ref = ObjectRef(key=key, sha256=fingerprint.sha256(data), size=len(data))
        objects: dict[str, Any] = {"rows": ref}
        log.commit(chunk, Outcome(rows_in=1, rows_out=1, objects=objects))
