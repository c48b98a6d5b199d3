"""What this machine lacks for a cluster, said before anything starts."""

import os
import shutil
from pathlib import Path
from typing import Final

from . import layout, node

PACKAGES: Final = layout.ROOT / "tests" / "cluster" / "debian-packages.txt"
_CONTROL_PLANE: Final = {"go": "Go 1.26 or newer", "openssl": "openssl"}
_NODES: Final = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "ip": "iproute2",
    "unshare": "util-linux",
}
_NETWORK_PLUGINS: Final = Path("/usr/lib/cni")


class MissingError(Exception):
    """The machine cannot run the cluster; the message says what to do."""


def check(num_nodes: int) -> None:
    """Raise MissingError when a cluster with so many nodes cannot run here."""
    missing = [package for program, package in _CONTROL_PLANE.items() if shutil.which(program) is None]
    if num_nodes:
        missing += _missing_for_nodes()
    if missing:
        raise MissingError(
            f"a cluster on this machine needs {', '.join(dict.fromkeys(missing))}. On Debian as root `make "
            "cluster-packages` installs what is a package. Without these: `scalequest local` makes the same dataset "
            "without a cluster; `kind create cluster` makes a cluster where Docker is, and "
            "SCALEQUEST_TEST_KUBECONFIG=its kubeconfig runs the tests of the API there; `pytest -m 'not cluster'` "
            "runs the others"
        )


def _missing_for_nodes() -> list[str]:
    missing = [package for program, package in _NODES.items() if shutil.which(program) is None]
    if not _NETWORK_PLUGINS.is_dir():
        missing.append("containernetworking-plugins")
    if os.geteuid() != 0:
        missing.append("root (namespaces, mounts and a bridge)")
    hidden = [folder for folder in (layout.cache_folder(), layout.state_folder()) if _is_hidden(folder)]
    return missing + [f"another place than {folder} (set XDG_CACHE_HOME or TMPDIR)" for folder in hidden]


def _is_hidden(folder: Path) -> bool:
    return any(folder.is_relative_to(private) for private in node.PRIVATE_FOLDERS)
