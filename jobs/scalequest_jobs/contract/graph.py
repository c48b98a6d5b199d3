"""The stage graph of a run: which stages it has, what each waits for, and what may start."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Stage


class GraphError(ValueError):
    """The stages do not fit together; a defect of the catalog, not of a spec."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The nodes of one run in an order in which each comes after its inputs."""

    nodes: tuple[Node, ...]

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


def build(stages: Sequence[Stage], spec: Spec) -> Graph:
    """Return the graph of a run.

    Raises:
        GraphError: two nodes share a name, an input names no node, or nodes wait for each other.
    """
    nodes = [node for stage in stages for node in stage.nodes(spec)]
    by_name = {node.name: node for node in nodes}
    if len(by_name) != len(nodes):
        raise GraphError(f"node names repeat: {sorted(node.name for node in nodes)}")
    nodes = [_with_upstream(node, by_name) for node in nodes]
    for node in nodes:
        if unknown := sorted(set(node.inputs.values()) - set(by_name)):
            raise GraphError(f"{node.name} waits for {unknown}, which this run does not have")
    return Graph(nodes=tuple(_sorted(nodes)))


def _with_upstream(node: Node, by_name: Mapping[str, Node]) -> Node:
    """Replace the input `PREFIX:*` by `PREFIX:NAME` for every node upstream of the other inputs."""
    stars = [name for name, source in node.inputs.items() if source == "*"]
    inputs = {name: source for name, source in node.inputs.items() if source != "*"}
    upstream = _upstream(inputs.values(), by_name) if stars else ()
    for star in stars:
        inputs |= {f"{star.removesuffix('*')}{name}": name for name in upstream}
    return replace(node, inputs=inputs)


def _upstream(names: Iterable[str], by_name: Mapping[str, Node]) -> list[str]:
    seen: dict[str, None] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in by_name and name not in seen:
            seen[name] = None
            todo += by_name[name].inputs.values()
    return sorted(seen)


def _sorted(nodes: Iterable[Node]) -> list[Node]:
    left, done, ordered = list(nodes), set[str](), list[Node]()
    while left:
        free = [node for node in left if set(node.inputs.values()) <= done]
        if not free:
            raise GraphError(f"these stages wait for each other: {[node.name for node in left]}")
        ordered += free
        done |= {node.name for node in free}
        left = [node for node in left if node.name not in done]
    return ordered


def ready(graph: Graph, finished: Collection[str]) -> tuple[Node, ...]:
    """Return the nodes that are not finished and whose inputs all are, in the graph's order."""
    return tuple(
        node
        for node in graph.nodes
        if node.name not in finished and set(node.inputs.values()) <= set(finished)
    )


def stage_fingerprint(
    stage: Stage, node: Node, spec: Spec, inputs: Mapping[str, ArtifactRef], engine_identity: str = ""
) -> str:
    """Return the identity of a node's result.

    Covers the stage and its version, the parameters that change data, the digests of its inputs
    (models are inputs), the run's seed and prompts, and the engine. Shards, chunks, window and
    machine do not count. `engine_identity` is the launcher's name for the engine (an image digest,
    or library versions); empty when it cannot know.
    """
    return fingerprint.digest(identity_parts(stage, node, spec, inputs, engine_identity))


def identity_parts(
    stage: Stage, node: Node, spec: Spec, inputs: Mapping[str, ArtifactRef], engine_identity: str
) -> dict[str, Any]:
    """Return what `stage_fingerprint` hashes, for people who ask why a stage runs again."""
    return {
        "stage": stage.name,
        "version": stage.version,
        "generator": node.generator,
        "domain": spec.domain,
        "parameters": node.parameters.identity(),
        "inputs": {name: ref.content for name, ref in inputs.items()},
        "seed": spec.seed,
        "engine": engine_identity,
        "dtype": spec.compute.engine.dtype,
    }
