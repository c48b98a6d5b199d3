"""What is measured: requests by kind, CPU time by process, memory, and waits."""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.control_plane.workers import Times

from cluster.lab import processes
from cluster.lab.cluster import Cluster

_REQUESTS: Final = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')

WRITES: Final = {
    "status PUTs": ("PUT", "scalequestruns", "status"),
    "run PATCHes": ("PATCH", "scalequestruns", ""),
    "Job creates": ("POST", "jobs", ""),
    "Job PATCHes": ("PATCH", "jobs", ""),
    "Job DELETEs": ("DELETE", "jobs", ""),
}
"""Writes that the operator alone makes; Events are counted by who told them."""

CONTROL_PLANE: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
PARTS: Final = (*CONTROL_PLANE, "s3")


def writes(cluster: Cluster) -> Counter[str]:
    """Return the API server's counts of what the operator wrote, since it started."""
    counted: Counter[str] = Counter()
    for found in _REQUESTS.finditer(cluster.kubectl("get", "--raw", "/metrics")):
        labels = dict(_LABEL.findall(found["labels"]))
        seen = (labels["verb"], labels["resource"], labels["subresource"])
        for name, kind in WRITES.items():
            if seen == kind:
                counted[name if labels["code"].startswith("2") else f"{name}, refused"] += int(
                    float(found["count"])
                )
    return counted


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have used."""
    ticks = 0
    for pid in pids:
        # The command's name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_by_part(cluster: Cluster, operator: int) -> dict[str, float]:
    """Return the CPU time of each part of the control plane, of the operator, and of this process."""
    folder = cluster.layout.folder
    used = {part: cpu_seconds(processes.find(folder, part)) for part in PARTS}
    return used | {"operator": cpu_seconds([operator]), "benchmark": cpu_seconds([os.getpid()])}


def peak_memory_bytes(pid: int) -> int:
    """Return the largest resident set that a process had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None, "Linux shows it for every living process"
    return int(found[1]) * 1024


def waits(jobs: Sequence[Times]) -> list[float]:
    """Return, for every Job but the last of its run, the seconds from its completion to the creation of the next."""
    by_run: dict[str, list[Times]] = {}
    for job in sorted(jobs, key=lambda job: job.created):
        by_run.setdefault(job.run, []).append(job)
    return [
        after.created - before.completed
        for mine in by_run.values()
        for before, after in itertools.pairwise(mine)
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what was added."""
    return {name: value - before.get(name, 0) for name, value in after.items() if value > before.get(name, 0)}
