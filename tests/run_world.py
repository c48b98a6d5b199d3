"""`python tests/run_world.py RUN.yaml WORKDIR`: a local run in real processes, with scripted engines."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples")]

from scalequest_jobs import ports  # noqa: E402 - the test folders come first
from scalequest_jobs.contract.launch import exit_code  # noqa: E402
from scalequest_jobs.local import run_file, runner  # noqa: E402
from scalequest_jobs.local.monitor import LogMonitor  # noqa: E402
from scripted_world import make_engines  # noqa: E402


def main() -> int:
    """Carry out the run and return the exit code that the command line would."""
    path, workdir = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        runner.run_local(
            run_file.load(path),
            run_file=path,
            workdir=workdir,
            store=None,
            monitor=LogMonitor(sys.stderr),
            engines_factory=make_engines,
        )
    except ports.StageError as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
