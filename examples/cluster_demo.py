"""The demo on a real cluster: two nodes, an S3 server, the operator by its chart, one run, its dataset.

All of it runs on this machine and is removed at the end. The bucket stays in the work folder, so that a second demo finds
every stage done.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from cluster.installation import BUCKET, NAMESPACE, Installation  # noqa: E402 - the examples are no installed package
from cluster.lab.cluster import Cluster  # noqa: E402
from cluster.lab.preflight import MissingError  # noqa: E402
from scalequest_jobs.local import run_file  # noqa: E402
from tiny_world import against_truth  # noqa: E402

SCALEQUEST = Path(sys.executable).with_name("scalequest")


def main() -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_file", type=Path)
    parser.add_argument("--workdir", type=Path, default=Path("work"))
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    arguments = parser.parse_args()
    cluster = Cluster(name="demo", object_store_data=arguments.workdir.absolute() / "object-store")
    say("starting a cluster with two nodes and an S3 server")
    try:
        cluster.up()
        return show(Installation(cluster=cluster), arguments.run_file, arguments.workdir)
    except MissingError as error:
        sys.stderr.write(f"{error}\n")
        return 64
    finally:
        if arguments.keep:
            say("left up; `python -m cluster.lab down --name demo` (with PYTHONPATH=tests) removes it")
        else:
            cluster.down()


def show(installation: Installation, file: Path, workdir: Path) -> int:
    """Install the operator, carry out the run in `file`, and show what it made."""
    kubectl = installation.cluster.kubectl
    say("installing the operator by its Helm chart")
    installation.prepare()
    installation.install()
    say(f"export KUBECONFIG={installation.cluster.layout.kubeconfig}  # to look for yourself")
    name = run_file.load(file).metadata.name
    code = scalequest(installation, "submit", str(file), "--watch")
    say("kubectl get sqr")
    print(kubectl("get", "scalequestruns", f"--namespace={NAMESPACE}"))
    if code:
        print(kubectl("describe", "scalequestrun", name, f"--namespace={NAMESPACE}"))
        return code
    server = installation.cluster.s3
    credentials, dataset = server.access_key_file.parent, workdir / "datasets" / name
    store = f"s3+{server.endpoint}/{BUCKET}"
    code = scalequest(
        installation, "download", name, f"--to={dataset}", f"--store={store}", f"--credentials={credentials}"
    )
    if code == 0:
        print(against_truth.report(dataset, credentials))
    return code


def scalequest(installation: Installation, command: str, *arguments: str) -> int:
    """Run a command of `scalequest` on the cluster."""
    environment = os.environ | {"KUBECONFIG": str(installation.cluster.layout.kubeconfig)}
    return subprocess.call(
        [str(SCALEQUEST), command, *arguments, f"--namespace={NAMESPACE}"], env=environment
    )


def say(text: str) -> None:
    """Tell a person what happens."""
    print(f"==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
