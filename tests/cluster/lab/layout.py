"""Every name, address and folder of one cluster."""

import dataclasses
import json
import os
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import locking

ROOT: Final = Path(__file__).resolve().parents[3]
NUM_SLOTS: Final = 16
ETCD_PORT: Final = 2379
_FIRST_NETWORK: Final = 201
_FILE: Final = "layout.json"


def cache_folder() -> Path:
    """Return the folder of what is worth keeping between runs: binaries, images, the nodes' image stores."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).resolve() / "scalequest-operator"


def state_folder() -> Path:
    """Return the folder that holds one folder per cluster that is up; its path is short, for socket names."""
    return Path(tempfile.gettempdir()).resolve() / f"scalequest-lab-{os.getuid()}"


def site_packages() -> Path:
    """Return the packages of the Python that runs this, which pods may mount."""
    return (
        Path(sys.prefix)
        / "lib"
        / f"python{sys.version_info.major}.{sys.version_info.minor}"
        / "site-packages"
    )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One cluster. Its slot gives it a /16 network, so that clusters side by side share no address and no port.

    In 10.N.0.0/16 the host is 0.1, node I is 0.(10+I), its pods are I.0/24, and Services are 128.0/20.
    """

    name: str
    slot: int
    num_nodes: int
    gpus_per_node: int
    gpu_product: str

    @property
    def folder(self) -> Path:
        """Hold keys, logs, sockets and etcd's data while the cluster is up."""
        return folder(self.name)

    @property
    def kubeconfig(self) -> Path:
        """Be the administrator."""
        return self.folder / "kubeconfig"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Name the nodes."""
        return tuple(f"node{number}" for number in range(1, self.num_nodes + 1))

    @property
    def network(self) -> str:
        """Return the first two bytes of every address."""
        return f"10.{_FIRST_NETWORK + self.slot}"

    @property
    def bridge(self) -> str:
        """Name the interface that joins host and nodes."""
        return f"sqlab{self.slot}"

    @property
    def local_address(self) -> str:
        """Return where etcd and the controllers listen: no pod reaches it."""
        return f"127.{_FIRST_NETWORK}.{self.slot}.1"

    @property
    def host_address(self) -> str:
        """Return where the API server and the S3 server listen: the bridge, or loopback without nodes."""
        return f"{self.network}.0.1" if self.num_nodes else self.local_address

    @property
    def service_cidr(self) -> str:
        """Return the range of Service addresses."""
        return f"{self.network}.128.0/20"

    @property
    def api_service_address(self) -> str:
        """Return the address of the Service `kubernetes`."""
        return f"{self.network}.128.1"

    @property
    def api_server(self) -> str:
        """Return the API server's address for everyone."""
        return f"https://{self.host_address}:6443"

    def node_number(self, node: str) -> int:
        """Return I of node I."""
        return self.nodes.index(node) + 1

    def node_address(self, node: str) -> str:
        """Return a node's own address."""
        return f"{self.network}.0.{10 + self.node_number(node)}"

    def pod_cidr(self, node: str) -> str:
        """Return the range of a node's pods."""
        return f"{self.network}.{self.node_number(node)}.0/24"

    def node_folder(self, node: str) -> Path:
        """Hold what a node needs while the cluster is up."""
        return self.folder / node

    def image_store(self, node: str) -> Path:
        """Hold a node's images, also when the cluster is down."""
        return cache_folder() / "nodes" / f"{self.slot}-{node}"

    def containerd_socket(self, node: str) -> Path:
        """Reach a node's containerd, from the host too."""
        return self.node_folder(node) / "containerd.sock"


def folder(name: str) -> Path:
    """Return the folder of a cluster, which exists while anything of it is left."""
    return state_folder() / name


def read(name: str) -> Layout:
    """Return the layout that `claim` gave to a cluster; raise FileNotFoundError when it is not up."""
    return Layout(**json.loads((folder(name) / _FILE).read_text()))


def claim(name: str, *, num_nodes: int, gpus_per_node: int, gpu_product: str) -> Layout:
    """Give a new cluster its folder and a slot that no other cluster has."""
    state_folder().mkdir(mode=0o700, exist_ok=True)
    with locking.exclusive(state_folder() / "claims.lock"):
        taken = {json.loads(file.read_text())["slot"] for file in state_folder().glob(f"*/{_FILE}")}
        free = [slot for slot in range(NUM_SLOTS) if slot not in taken and not _is_used(slot)]
        if not free:
            raise RuntimeError(f"{NUM_SLOTS} clusters are up, see {state_folder()}; take one down first")
        # Nodes' image stores belong to slots: clusters with nodes always come upon those of the first ones.
        slot = free[0] if num_nodes else free[-1]
        claimed = Layout(
            name=name, slot=slot, num_nodes=num_nodes, gpus_per_node=gpus_per_node, gpu_product=gpu_product
        )
        claimed.folder.mkdir(mode=0o700)
        (claimed.folder / _FILE).write_text(json.dumps(dataclasses.asdict(claimed)))
    return claimed


def _is_used(slot: int) -> bool:
    """Tell whether a cluster of another user, or of another TMPDIR, has a slot."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((f"127.{_FIRST_NETWORK}.{slot}.1", ETCD_PORT))
        except OSError:
            return True
    return False
