"""The loop of a local run: start what is ready, commit what is done, retry what may recover."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from typing import Final

from scalequest_jobs import catalog, ports
from scalequest_jobs.contract import graph, orders, progress
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef, StageManifest
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Order, Role, RunIdentity
from scalequest_jobs.execution import launching
from scalequest_jobs.local.monitor import Monitor
from scalequest_jobs.local.workers import WorkerPool

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.2


@dataclass(kw_only=True)
class _Running:
    """A node at work: its order, and what its shards came to so far."""

    node: Node
    order: Order
    order_ref: ObjectRef
    role: Role
    shards: dict[int, ArtifactRef] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)


class Scheduler:
    """Takes a run from its first ready stage to its last; holds no state that a rerun would need.

    What is done is known by the stage cache alone: a rerun finds every committed stage there, and a
    stage that was interrupted adopts its committed chunks.
    """

    def __init__(
        self,
        spec: Spec,
        run: RunIdentity,
        *,
        store: ports.ArtifactStore,
        pool: WorkerPool,
        monitor: Monitor,
        engine_identity: Callable[[Role], str],
        pin: Callable[[Node], Node],
    ) -> None:
        self._spec = spec
        self._run = run
        self._store = store
        self._pool = pool
        self._monitor = monitor
        self._engine_identity = engine_identity
        self._pin = pin
        self._graph = catalog.plan(spec)
        self._finished: dict[str, tuple[ArtifactRef, StageManifest]] = {}
        self._running: dict[str, _Running] = {}
        self._futures: dict[Future[ArtifactRef], tuple[str, int]] = {}
        self._progress: dict[str, dict[int, progress.Progress]] = {}
        self._stopping = False

    def stop(self) -> None:
        """Start nothing more and ask the workers to stop."""
        self._stopping = True
        self._pool.stop()

    def run(self) -> Mapping[str, tuple[ArtifactRef, StageManifest]]:
        """Carry out all stages and return their artifacts by node.

        Raises:
            StageError: a stage failed for good, or the run was stopped.
        """
        self._monitor.planned([node.name for node in self._graph.nodes])
        try:
            error = self._work()
        except BaseException:
            # A defect: waiting for the other workers would hide it for as long as they work.
            self._pool.kill()
            raise
        if error is not None:
            raise error
        if self._stopping:
            raise ports.StoppedError("stopped as asked; run the same command again to go on")
        return self._finished

    def _work(self) -> ports.StageError | None:
        """Start and collect stages until nothing is left to do or one failed for good; return why it failed."""
        error: ports.StageError | None = None
        while True:
            if error is None and not self._stopping and (error := self._start_ready()):
                self._pool.stop()
            if not self._futures:
                return error
            done, _ = wait(self._futures, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            self._pass_on_progress()
            for future in done:
                error = self._collect(future) or error
            if error is not None:
                # The others keep what they committed; waiting for their end could hide the message for hours.
                self._pool.stop()

    def _pass_on_progress(self) -> None:
        for changed in self._pool.progress.read_changed():
            shards = self._progress.setdefault(changed.node, {})
            shards[changed.shard] = changed
            self._monitor.progressed(progress.combine(shards.values()))

    def _start_ready(self) -> ports.StageError | None:
        """Start every node that can start; cached ones finish at once and may make others ready."""
        while todo := [
            node for node in graph.ready(self._graph, self._finished) if node.name not in self._running
        ]:
            for node in todo:
                try:
                    self._start(node)
                except ports.StageError as error:
                    self._monitor.changed(node.name, "failed", message=str(error))
                    return error
        return None

    def _start(self, node: Node) -> None:
        stage = catalog.stage(node.stage)
        role = node.role or stage.role
        inputs = {name: self._finished[source][0] for name, source in node.inputs.items()}
        node = self._pin(node)
        order = orders.make(
            stage, node, self._spec, run=self._run, inputs=inputs, engine_identity=self._engine_identity(role)
        )
        if node.cacheable and (hit := launching.cached(self._store, order.fingerprint)):
            self._finished[node.name] = hit
            self._monitor.changed(node.name, "cached", counts=hit[1].counts)
            return
        running = _Running(
            node=node, order=order, order_ref=launching.put_order(self._store, order), role=role
        )
        self._running[node.name] = running
        self._monitor.changed(node.name, "running")
        for shard in range(order.shards):
            self._submit(running, shard)

    def _submit(self, running: _Running, shard: int) -> None:
        future = self._pool.submit(running.role, running.order_ref, shard)
        self._futures[future] = (running.node.name, shard)

    def _collect(self, future: "Future[ArtifactRef]") -> ports.StageError | None:
        """Take in one shard's end; return the error if the stage failed for good."""
        name, shard = self._futures.pop(future)
        running = self._running[name]
        try:
            running.shards[shard] = future.result()
        except BrokenExecutor:
            lost = ports.TryAgainError("the worker process died (out of memory, or killed)")
            return self._try_again(running, shard, lost)
        except ports.StoppedError as error:
            self._monitor.changed(name, "stopped", message=str(error))
            return None
        except (ports.TryAgainError, ports.SpendLimitError) as error:
            return self._try_again(running, shard, error)
        except ports.StageError as error:
            self._monitor.changed(name, "failed", message=str(error))
            return error
        if len(running.shards) == running.order.shards:
            self._commit(running)
        return None

    def _try_again(self, running: _Running, shard: int, error: ports.StageError) -> ports.StageError | None:
        failures = running.failures[shard] = running.failures.get(shard, 0) + 1
        if failures > self._spec.retries.failures or isinstance(error, ports.SpendLimitError):
            self._monitor.changed(running.node.name, "failed", message=str(error))
            return error
        if self._stopping:
            self._monitor.changed(running.node.name, "stopped", message=str(error))
            return None
        self._monitor.changed(running.node.name, "running", message=f"retry {failures}: {error}")
        self._submit(running, shard)
        return None

    def _commit(self, running: _Running) -> None:
        kind = catalog.stage(running.node.stage).output
        shards = [running.shards[shard] for shard in range(running.order.shards)]
        ref, manifest = launching.commit_stage(self._store, running.order, kind, shards)
        del self._running[running.node.name]
        self._finished[running.node.name] = (ref, manifest)
        self._monitor.changed(running.node.name, "done", counts=manifest.counts)
