"""The bridge that joins host and nodes; a node's end of it goes with the node's namespace."""

import subprocess
from pathlib import Path

from .layout import Layout


def create(layout: Layout) -> None:
    """Make the bridge with the host's address on it, in place of one whose cluster is gone."""
    remove(layout)
    # A fixed hardware address: otherwise the bridge takes the lowest of its ports and changes it when that node
    # goes, and the other nodes lose the API server for half a minute.
    hardware_address = f"02:00:0a:{layout.slot:02x}:00:01"
    _ip("link", "add", layout.bridge, "address", hardware_address, "type", "bridge")
    _ip("address", "add", f"{layout.host_address}/24", "dev", layout.bridge)
    _ip("link", "set", layout.bridge, "up")


def remove(layout: Layout) -> None:
    """Remove the bridge and what a killed node may have left on it."""
    for node in layout.nodes:
        _remove_link(_port(layout, node))
    _remove_link(layout.bridge)


def join(layout: Layout, node: str, *, pid: int) -> None:
    """Give the network namespace of `pid` an interface on the bridge, and the host a route to the node's pods."""
    port = _port(layout, node)
    _remove_link(port)  # the kernel removes that of a killed node a moment late
    _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("link", "set", port, "master", layout.bridge, "up")
    _ip("route", "replace", layout.pod_cidr(node), "via", layout.node_address(node), "dev", layout.bridge)


def disconnect(layout: Layout, node: str) -> None:
    """Cut a node off from everything while its pods go on."""
    _ip("link", "set", _port(layout, node), "down")


def reconnect(layout: Layout, node: str) -> None:
    """Undo `disconnect`."""
    _ip("link", "set", _port(layout, node), "up")


def _port(layout: Layout, node: str) -> str:
    return f"{layout.bridge}-{layout.node_number(node)}"


def _remove_link(name: str) -> None:
    if Path("/sys/class/net", name).exists():
        subprocess.run(["ip", "link", "delete", name], check=False, stderr=subprocess.DEVNULL)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
