"""The demo: serve the rule-based teacher, run the tiny world, and hold the dataset against the truth."""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from tiny_world import against_truth, teacher  # noqa: E402 - the examples are no installed package

TEACHER_PORT = 18321


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_file", type=Path)
    parser.add_argument("--workdir", type=Path, default=Path("work"))
    arguments = parser.parse_args()
    scalequest = Path(sys.executable).with_name("scalequest")
    command = [str(scalequest), "local", str(arguments.run_file), "--workdir", str(arguments.workdir)]
    # Every seventh request is refused once, so that the client's retries are part of the demo.
    with teacher.TeacherServer(port=TEACHER_PORT, fail_every=7):
        code = subprocess.call(command)
    if code == 0:
        print(against_truth.report(arguments.workdir / "datasets" / "tiny-math"))
    return code


if __name__ == "__main__":
    sys.exit(main())
