"""Measure the operator on a real control plane without real nodes: PYTHONPATH=tests python -m benchmarks.control_plane.

A seed run fills the stage cache; then many runs, which differ in their last four stages, are applied at once. Before and
after, half as many bare Jobs of the same shape are created by a script: what the Job controller does by itself.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.control_plane import figures, load, simulated_nodes
from benchmarks.control_plane.report import Phase, Report, render
from benchmarks.control_plane.workers import Workers

from cluster.installation import BUCKET, Installation
from cluster.lab import waiting
from cluster.lab.cluster import Cluster, temporary
from cluster.operator_process import OperatorProcess, write_configuration
from scalequest_jobs.contract import names
from scalequest_jobs.stores.address import open_store
from scalequest_operator import cluster as kubernetes
from scalequest_operator.cluster_client import connect
from scalequest_operator.rate import TokenBucket


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything that runs while it is measured."""

    installation: Installation
    api: kubernetes.KubeApi
    operator: OperatorProcess
    workers: Workers

    @property
    def cluster(self) -> Cluster:
        """The control plane."""
        return self.installation.cluster

    @property
    def namespace(self) -> str:
        """Where runs and Jobs are."""
        return self.installation.namespace


def main() -> None:
    """Measure, and print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="applied at once (default: 300)")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    with _bench() as bench:
        report = measure(bench, arguments.runs, load_before)
    sys.stdout.write(render(report))


@contextlib.contextmanager
def _bench() -> Iterator[Bench]:
    """Bring up a control plane, simulated nodes, the operator under its own account, and the workers."""
    with (
        temporary("bench", Cluster(name="", num_nodes=0)) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        simulated_nodes.start(cluster)
        installation = Installation(cluster=cluster, scripted=True)
        installation.prepare_namespaces()
        # Its CRD, account and roles; the operator itself is a process of this machine.
        installation.install(replicas=0)
        write_configuration(installation, Path(folder), {})
        operator = OperatorProcess(installation=installation, folder=Path(folder))
        api = connect(
            kubeconfig=str(cluster.layout.kubeconfig), limit=TokenBucket(per_second=1000, burst=1000)
        )
        store = open_store(
            f"s3+{cluster.s3.endpoint}/{BUCKET}",
            credentials=cluster.s3.access_key_file.parent,
            region=cluster.s3.region,
        )
        operator.start()
        try:
            operator.wait_until_leading()
            with Workers(api, store, installation.namespace) as workers:
                yield Bench(installation=installation, api=api, operator=operator, workers=workers)
        finally:
            operator.stop()


def measure(bench: Bench, count: int, load_before: float) -> Report:
    """Fill the cache, then measure a run without Jobs, half of the bare Jobs, the runs, and the other half."""
    _run_to_its_end(bench, "seed")
    wrote = _written(bench)
    _run_to_its_end(bench, "cached")
    without_jobs = figures.difference(wrote, _written(bench))
    jobs = count * len(load.STAGES)
    before = _phase(bench, jobs // 2, kubernetes.JOBS, _bare_jobs(bench, jobs // 2, "before"))
    wrote = _written(bench)
    known = len(bench.workers.jobs)
    runs = _phase(bench, jobs, kubernetes.RUNS, _runs(bench, count))
    waiting.until(lambda: _succeeded(bench) == 2 + count, "the end of every run", log=bench.operator.log)
    writes = figures.difference(wrote, _written(bench))
    of_runs = list(bench.workers.jobs.values())[known:]
    after = _phase(bench, jobs // 2, kubernetes.JOBS, _bare_jobs(bench, jobs // 2, "after"))
    return Report(
        runs=runs,
        bare=(before, after),
        writes=writes,
        writes_without_jobs=sum(without_jobs.values()),
        num_runs=count,
        peak_memory_bytes=figures.peak_memory_bytes(bench.operator.pid),
        waits=figures.waits(of_runs),
        load=(load_before, os.getloadavg()[0]),
    )


def _run_to_its_end(bench: Bench, name: str) -> None:
    """Carry out a run like the seed: the first fills the cache, any other finds all there."""
    ended = _succeeded(bench)
    bench.api.create(kubernetes.RUNS, bench.namespace, load.run_body(name, bench.namespace, 0.1))
    waiting.until(
        lambda: _succeeded(bench) > ended, f"the end of the run {name}", seconds=180, log=bench.operator.log
    )


def _written(bench: Bench) -> dict[str, float]:
    """Return how often the operator has written each kind of object."""
    return {**figures.writes(bench.cluster), "Event creates": _events(bench)}


def _phase(
    bench: Bench, jobs: int, resource: kubernetes.Resource, bodies: Iterable[kubernetes.Body]
) -> Phase:
    """Create objects, and measure until as many Jobs are complete as come of them."""
    expected = len(bench.workers.completed()) + jobs
    used, began = figures.cpu_by_part(bench.cluster, bench.operator.pid), time.monotonic()
    load.create(bench.api, resource, bodies)
    waiting.until(
        lambda: len(bench.workers.completed()) == expected,
        f"the end of {jobs} Jobs",
        seconds=1200,
        log=bench.operator.log,
    )
    ended = max(job.completed for job in bench.workers.completed())
    cpu = figures.difference(used, figures.cpu_by_part(bench.cluster, bench.operator.pid))
    return Phase(jobs=jobs, seconds=ended - began, cpu_seconds=cpu)


def _runs(bench: Bench, count: int) -> Iterator[kubernetes.Body]:
    for number in range(count):
        yield load.run_body(f"run-{number:04d}", bench.namespace, 0.2 + number / 1000)


def _bare_jobs(bench: Bench, count: int, name: str) -> Iterator[kubernetes.Body]:
    of_seed = bench.api.list(kubernetes.JOBS, bench.namespace, label_selector=names.SELECTOR)
    job = next(iter(of_seed.items))
    for number in range(count):
        yield load.bare_job(job, f"bare-{name}-{number:04d}")


def _succeeded(bench: Bench) -> int:
    runs = bench.api.list(kubernetes.RUNS, bench.namespace).items
    return sum(run.get("status", {}).get("phase") == "Succeeded" for run in runs)


def _events(bench: Bench) -> int:
    events = bench.api.list(kubernetes.EVENTS, bench.namespace).items
    return sum(event.get("reportingComponent") == names.MANAGER for event in events)


if __name__ == "__main__":
    main()
