"""A launcher in one process: the same orders, workers and commits, no pools and no signals."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from scalequest_jobs import catalog, ports
from scalequest_jobs.contract import graph, orders
from scalequest_jobs.contract.artifact import ArtifactRef, ObjectRef, StageManifest
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import RunIdentity
from scalequest_jobs.execution import chunks, launching, worker
from scalequest_jobs.execution.context import WorkerSettings
from scalequest_jobs.local import pinning


@dataclass
class Launcher:
    """Carries out a run; `ran` and `hits` name the nodes that were worked on and found in the cache."""

    spec: Spec
    store: ports.ArtifactStore
    engines: ports.Engines
    folder: Path
    hub_endpoint: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    ran: list[str] = field(default_factory=list)
    hits: list[str] = field(default_factory=list)
    done: dict[str, tuple[ArtifactRef, StageManifest]] = field(default_factory=dict)

    def run(self, *, until: str = "") -> dict[str, StageManifest]:
        """Carry out all stages, or all up to a node, and return their manifests."""
        plan = catalog.plan(self.spec)
        while until not in self.done and (todo := graph.ready(plan, self.done)):
            for node in todo:
                self.step(node)
        return {name: manifest for name, (_, manifest) in self.done.items()}

    def step(self, node: graph.Node) -> None:
        """Carry out one node, or take it from the cache."""
        order = self._make_order(node)
        if hit := launching.cached(self.store, order.fingerprint):
            self.hits.append(node.name)
            self.done[node.name] = hit
            return
        self.ran.append(node.name)
        shards = [self._shard(order, shard) for shard in range(order.shards)]
        self.done[node.name] = launching.commit_stage(
            self.store, order, catalog.stage(node.stage).output, shards
        )

    def order(self, node: graph.Node) -> ObjectRef:
        """Write a node's order and return where it is."""
        return launching.put_order(self.store, self._make_order(node))

    def _make_order(self, node: graph.Node) -> worker.Order:
        return orders.make(
            catalog.stage(node.stage),
            pinning.pin(node, self.store, self.folder),
            self.spec,
            run=RunIdentity(name="test-run", namespace="default", uid="test-run-1"),
            inputs={name: self.done[source][0] for name, source in node.inputs.items()},
            engine_identity="fake",
        )

    def _shard(self, order: worker.Order, shard: int) -> ArtifactRef:
        return worker.execute(
            order,
            shard=shard,
            attempt=chunks.new_attempt("test"),
            store=self.store,
            engines=self.engines,
            settings=WorkerSettings(
                cache=self.folder / "cache", volumes=self.folder, hub_endpoint=self.hub_endpoint
            ),
            sinks={},
            stop=self.stop,
        )
