"""Bring a cluster up and down by hand: PYTHONPATH=tests .venv/bin/python -m cluster.lab up --name mine."""

import argparse
import sys

from . import images, layout, preflight, tools
from .cluster import Cluster


def main() -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="cluster.lab", description=__doc__)
    parser.add_argument("command", choices=["build", "up", "down", "status"])
    parser.add_argument("--name", default="dev", help="of the cluster; several may be up (default: dev)")
    parser.add_argument(
        "--nodes", type=int, default=2, help="0: the control plane alone, without root (default: 2)"
    )
    parser.add_argument("--gpus", type=int, default=8, help="of each node (default: 8)")
    arguments = parser.parse_args()
    cluster = Cluster(name=arguments.name, num_nodes=arguments.nodes, gpus_per_node=arguments.gpus)
    try:
        return {"build": _build, "up": _up, "down": _down, "status": _status}[arguments.command](cluster)
    except preflight.MissingError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _build(cluster: Cluster) -> int:
    """Build every program and image, so that no test has to wait for them."""
    preflight.check(cluster.num_nodes)
    for module, program in (("kubernetes", "kubelet"), ("pause", "pause"), ("helm", "helm")):
        tools.path(module, program)
    images.build_operator()
    images.build_jobs()
    return 0


def _up(cluster: Cluster) -> int:
    try:
        cluster.up()
    except BaseException:
        cluster.down()
        raise
    return _status(cluster)


def _down(cluster: Cluster) -> int:
    cluster.down()
    return 0


def _status(cluster: Cluster) -> int:
    if not layout.folder(cluster.name).exists():
        sys.stdout.write(f"{cluster.name} is down\n")
        return 1
    sys.stdout.write(f"export KUBECONFIG={cluster.layout.kubeconfig}\n# S3: {cluster.s3.endpoint}\n")
    sys.stdout.write(cluster.kubectl("get", "nodes", "--output=wide"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
