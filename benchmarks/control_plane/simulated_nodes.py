"""Nodes that exist in the API server alone: KWOK plays their kubelets, so pods cost the control plane what real ones do."""

from pathlib import Path
from typing import Any, Final

from cluster.lab import processes, tools, waiting
from cluster.lab.cluster import Cluster

_STAGES: Final = Path(__file__).with_name("stages.yaml")
_COUNT: Final = 10
_CAPACITY: Final = {"cpu": "1000", "memory": "8Ti", "pods": "1000", "nvidia.com/gpu": "1000"}

PROCESS: Final = "kwok"


def start(cluster: Cluster) -> None:
    """Start KWOK beside a cluster, which ends it, and wait until its nodes are ready."""
    command = [
        str(tools.path("kwok", "kwok")), f"--kubeconfig={cluster.layout.kubeconfig}", f"--config={_STAGES}",
        "--manage-all-nodes=true", "--node-lease-duration-seconds=0",
    ]  # fmt: skip
    processes.start(cluster.layout.folder, PROCESS, command)
    nodes = [f"simulated-{number}" for number in range(_COUNT)]
    cluster.kubectl.apply(*map(_node, nodes))
    waiting.until(
        lambda: all(map(cluster.kubectl.is_ready, nodes)),
        "the simulated nodes are ready",
        log=cluster.layout.folder / f"{PROCESS}.log",
    )


def _node(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": _CAPACITY, "allocatable": _CAPACITY},
    }
