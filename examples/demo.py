"""The demo: serve the rule-based teacher, run the tiny world, and hold the dataset against the truth."""

import argparse
import subprocess
import sys
import urllib.parse
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from tiny_world import against_truth, teacher  # noqa: E402 - the examples are no installed package


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_file", type=Path)
    parser.add_argument("--workdir", type=Path, default=Path("work"))
    arguments = parser.parse_args()
    scalequest = Path(sys.executable).with_name("scalequest")
    command = [str(scalequest), "local", str(arguments.run_file), "--workdir", str(arguments.workdir)]
    document = yaml.safe_load(arguments.run_file.read_text(encoding="utf-8"))
    address = urllib.parse.urlsplit(document["spec"]["preference"]["rewriter"]["endpoint"]["url"])
    try:
        # Every seventh request is refused once, so that the client's retries are part of the demo.
        server = teacher.TeacherServer(port=address.port or 80, fail_every=7)
    except OSError as error:
        print(
            f"error: the teacher cannot be served at {address.netloc}: {error.strerror}; wait for another demo to end, "
            f"or change the port of preference.rewriter.endpoint.url in {arguments.run_file}",
            file=sys.stderr,
        )
        return 75
    with server:
        code = subprocess.call(command)
    if code == 0:
        print(against_truth.report(arguments.workdir / "datasets" / document["metadata"]["name"]))
    return code


if __name__ == "__main__":
    sys.exit(main())
