"""The figures of one measurement, as Markdown."""

import datetime as dt
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.control_plane import figures


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Jobs from the first creation to the last completion, and the CPU time that each part used meanwhile."""

    jobs: int
    seconds: float
    cpu_seconds: Mapping[str, float]

    def cpu_ms_per_job(self, *parts: str) -> float:
        """Return the CPU time of some parts."""
        return 1000 * sum(self.cpu_seconds.get(part, 0.0) for part in parts) / self.jobs


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured. `writes` are the operator's alone; `load` is the machine's, before and after.

    `writes_without_jobs` are those of a run whose stages all come from the cache: what every run costs, beside its Jobs.
    """

    runs: Phase
    num_runs: int
    bare: Sequence[Phase]
    writes: Mapping[str, float]
    writes_without_jobs: float
    peak_memory_bytes: int
    waits: Sequence[float]
    load: tuple[float, float]

    @property
    def writes_per_transition(self) -> float:
        """From one stage that makes a Job to the next."""
        return (sum(self.writes.values()) - self.num_runs * self.writes_without_jobs) / self.runs.jobs


def render(report: Report) -> str:
    """Return the figures as a table."""
    runs, jobs = report.runs, report.runs.jobs
    bare = sum(phase.jobs for phase in report.bare) / sum(phase.seconds for phase in report.bare)
    bare_cpu = [phase.cpu_ms_per_job(*figures.CONTROL_PLANE) for phase in report.bare]
    rows = {
        "Jobs of runs": f"{jobs} in {runs.seconds:.0f} s, {jobs / runs.seconds:.1f}/s",
        "bare Jobs, before and after": " and ".join(
            f"{phase.jobs} in {phase.seconds:.0f} s" for phase in report.bare
        )
        + f", {bare:.1f}/s",
        "ratio": f"{jobs / runs.seconds / bare:.2f}",
        "control plane's CPU per Job of runs": f"{runs.cpu_ms_per_job(*figures.CONTROL_PLANE):.0f} ms",
        "control plane's CPU per bare Job": " and ".join(f"{used:.0f}" for used in bare_cpu) + " ms",
        "operator's CPU per Job": f"{runs.cpu_ms_per_job('operator'):.0f} ms",
        "operator's CPU, peak RSS": f"{runs.cpu_seconds.get('operator', 0):.0f} s, "
        f"{report.peak_memory_bytes / 2**20:.0f} MiB",
        "operator's writes per Job": f"{sum(report.writes.values()) / jobs:.2f}: "
        + ", ".join(f"{name} {count / jobs:.2f}" for name, count in sorted(report.writes.items())),
        "writes of a run without Jobs": f"{report.writes_without_jobs:.0f}",
        "writes per stage transition": f"{report.writes_per_transition:.2f}",
        "from a Job's completion to the next Job, p50, p99": f"{figures.percentile(report.waits, 0.5):.2f} s, "
        f"{figures.percentile(report.waits, 0.99):.2f} s",
    }
    before, after = report.load
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {before:.1f} before and {after:.1f} after"
    lines = [f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine}", "", "| figure | value |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())]) + "\n"
