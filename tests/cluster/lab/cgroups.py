"""The control group of a cluster's nodes, in either version of the kernel's interface."""

import contextlib
import functools
import shutil
from pathlib import Path
from typing import Final

from . import waiting
from .layout import Layout

_MOUNT: Final = Path("/sys/fs/cgroup")
_CONTROLLERS: Final = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def name(layout: Layout, node: str) -> str:
    """Return the control group under which a node's kubelet puts its pods."""
    return f"/{layout.bridge}/{node}"


def create(layout: Layout, node: str) -> None:
    """Make a node's control group in every hierarchy."""
    for hierarchy in _hierarchies():
        group = hierarchy
        for part in (layout.bridge, node):
            _delegate(group)
            group = group / part
            group.mkdir(exist_ok=True)
            _inherit_cpuset(group)
            _give_weight(group)


def remove(layout: Layout) -> None:
    """Remove the control groups of all nodes; their processes must be gone."""
    for hierarchy in _hierarchies():
        is_removed = functools.partial(_is_removed, hierarchy / layout.bridge)
        waiting.until(is_removed, f"removal of {hierarchy / layout.bridge}", seconds=20)


def _hierarchies() -> list[Path]:
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT]
    return [path for path in _MOUNT.iterdir() if (path / "cgroup.procs").exists() and not path.is_symlink()]


def _delegate(group: Path) -> None:
    """Version 2 only: let the children of a group have its controllers."""
    control = group / "cgroup.subtree_control"
    if control.exists():
        available = (group / "cgroup.controllers").read_text().split()
        control.write_text(
            " ".join(f"+{controller}" for controller in _CONTROLLERS if controller in available)
        )


def _inherit_cpuset(group: Path) -> None:
    """Version 1 only: a new group may use no CPU until it is told which."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if (group / "tasks").exists() and (group.parent / file).exists():
            shutil.copyfile(group.parent / file, group / file)


def _give_weight(group: Path) -> None:
    """Let a node's pods compete as a machine's load does, not as one process beside those of this machine."""
    for file, weight in (("cpu.shares", "2048"), ("cpu.weight", "200")):
        if (group / file).exists():
            (group / file).write_text(weight)


def _is_removed(group: Path) -> bool:
    """Remove what can be removed; a group whose last process is just ending is busy for a moment."""
    for child in sorted(group.rglob("*"), reverse=True):
        if child.is_dir():
            with contextlib.suppress(OSError):
                child.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
