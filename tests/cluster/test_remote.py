"""The command line against a real API server with the CRD; statuses are written by hand in the operator's place."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from click.testing import Result
from typer.testing import CliRunner

import builders
import run_api_suite
import run_statuses
from cluster.lab import cluster
from scalequest_jobs.contract import crd
from scalequest_jobs.contract.status import RunStatus
from scalequest_jobs.remote import api, command_line, errors, kubernetes_api

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def lab() -> Iterator[cluster.Cluster]:
    template = cluster.Cluster(name="", num_nodes=0, has_object_store=False)
    with cluster.temporary("cli", template) as running:
        yield running


@pytest.fixture(scope="module")
def bare(lab: cluster.Cluster) -> api.RunApi:
    """Return the calls of a cluster that has no CRD yet; ask for it before `served`."""
    return kubernetes_api.connect(kubeconfig=str(lab.layout.kubeconfig)).api


@pytest.fixture(scope="module")
def served(lab: cluster.Cluster, bare: api.RunApi) -> api.RunApi:
    with pytest.raises(errors.NotInstalledError, match=r"crds/scalequestrun\.yaml"):
        bare.list("default")
    lab.kubectl("apply", "--server-side", "--filename", str(ROOT / "crds"))
    name = f"crd/{crd.PLURAL}.{crd.GROUP}"
    lab.kubectl("wait", "--for=condition=Established", name, "--timeout=60s")
    return bare


class TestKubernetesApi(run_api_suite.RunApiSuite):
    @pytest.fixture
    def calls(self, served: api.RunApi) -> api.RunApi:
        return served


class Scalequest:
    """Runs the command line: called, in this process; started, in one of its own as people do."""

    def __init__(self, kubeconfig: Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self._app = typer.Typer()
        command_line.add_to(
            self._app, lambda context: kubernetes_api.connect(context, kubeconfig=str(kubeconfig))
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "scalequest_jobs", *map(str, arguments)]
        pipe = subprocess.PIPE
        # A runner in the background ignores Ctrl-C, and its children would inherit that.
        as_on_a_terminal = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(
            command,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=self._environment,
            preexec_fn=as_on_a_terminal,  # noqa: PLW1509 - no thread of ours runs yet
        )

    def __call__(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(self._app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scalequest(lab: cluster.Cluster, served: api.RunApi) -> Scalequest:
    return Scalequest(lab.layout.kubeconfig)


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(builders.run_document()))
    return path


def set_status(lab: cluster.Cluster, name: str, status: RunStatus) -> None:
    patch = json.dumps([{"op": "add", "path": "/status", "value": status.body()}])
    lab.kubectl("patch", "sqr", name, "--subresource=status", "--type=json", f"--patch={patch}")


def read_event(process: "subprocess.Popen[str]", event: str, **fields: str) -> None:
    """Read log lines until one tells of an event."""
    assert process.stderr is not None
    for line in process.stderr:
        told = json.loads(line) if line.startswith("{") else {}
        if told.get("event") == event and fields.items() <= told.items():
            return
    raise AssertionError(f"the command ended without {event} {fields}")


def test_the_examples_are_taken(lab: cluster.Cluster, scalequest: Scalequest) -> None:
    lab.kubectl("create", "namespace", "synthesis")
    for example in sorted((ROOT / "examples").glob("*.yaml")):
        done = scalequest("submit", example, "--dry-run")
        assert done.exit_code == 0, done.stderr
        assert "nothing was created" in done.stdout


def test_what_only_the_clusters_policies_refuse_is_shown_in_their_words(
    lab: cluster.Cluster, scalequest: Scalequest, run_file: Path
) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "licensed"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [crd.GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": [crd.PLURAL],
                    }
                ]
            },
            "validations": [
                {"expression": "object.metadata.name != 'unlicensed'", "message": "name a license"}
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "licensed"},
        "spec": {"policyName": "licensed", "validationActions": ["Deny"]},
    }
    lab.kubectl.apply(policy, binding)
    deadline = time.monotonic() + 30
    # A new policy takes the API server a moment; a dry run stores nothing, so asking again is harmless.
    while (done := scalequest("submit", run_file, "--name", "unlicensed", "--dry-run")).exit_code == 0:
        assert time.monotonic() < deadline
    assert done.exit_code == 64
    assert "name a license" in done.stderr
    assert scalequest("submit", run_file, "--name", "unlicensed").exit_code == 64
    assert not lab.kubectl.exists("sqr", "unlicensed")


def test_a_run_is_watched_from_submission_to_its_dataset_across_an_outage_of_the_api_server(
    lab: cluster.Cluster, scalequest: Scalequest, run_file: Path
) -> None:
    with scalequest.start("submit", run_file, "--name", "watched", "--watch") as process:
        read_event(process, "run", phase="Pending")
        set_status(lab, "watched", run_statuses.running())
        read_event(process, "stage", stage="generate-questions@a", state="running")
        lab.stop("kube-apiserver")
        read_event(process, "unreachable")
        lab.start("kube-apiserver")
        read_event(process, "run", phase="Running")
        set_status(lab, "watched", run_statuses.published())
        read_event(process, "stage", stage="publish-dataset", state="done")
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "watched published the dataset tiny with 31 rows" in out


def test_a_failed_run_ends_its_watching_with_1_and_the_reason(
    lab: cluster.Cluster, scalequest: Scalequest, run_file: Path
) -> None:
    scalequest("submit", run_file, "--name", "doomed")
    set_status(lab, "doomed", run_statuses.failed())
    done = scalequest("status", "doomed", "--watch")
    assert done.exit_code == 1
    assert "doomed failed: StageFailed: generate-questions@a: pod x exited 65" in done.stderr


def test_ctrl_c_leaves_the_run_alone(lab: cluster.Cluster, scalequest: Scalequest, run_file: Path) -> None:
    with scalequest.start("submit", run_file, "--name", "left", "--watch") as process:
        read_event(process, "run", phase="Pending")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.startswith("stopped watching; the run goes on")
    spec = lab.kubectl.get("sqr", "left")["spec"]
    assert (spec["suspend"], spec["cancel"]) == (False, False)


def test_a_run_is_suspended_resumed_and_cancelled(
    lab: cluster.Cluster, scalequest: Scalequest, run_file: Path
) -> None:
    scalequest("submit", run_file, "--name", "edited")
    set_status(lab, "edited", run_statuses.running())
    for command, field, value in (
        ("suspend", "suspend", True),
        ("resume", "suspend", False),
        ("cancel", "cancel", True),
    ):
        for _ in range(2):
            done = scalequest(command, "edited")
            assert done.exit_code == 0, done.stderr
        assert lab.kubectl.get("sqr", "edited")["spec"][field] is value
    assert lab.kubectl.get("sqr", "edited")["metadata"]["generation"] == 4
    assert scalequest("resume", "edited").exit_code == 64
    assert "the operator has not looked at the change yet" in scalequest("status", "edited").stdout


def test_status_reads_every_status_that_the_api_server_stores(
    lab: cluster.Cluster, scalequest: Scalequest, run_file: Path
) -> None:
    for name, status in {
        "going": run_statuses.running(),
        "done": run_statuses.published(),
        "lost": run_statuses.failed(),
    }.items():
        scalequest("submit", run_file, "--name", name)
        set_status(lab, name, status)
        assert json.loads(scalequest("status", name, "--json").stdout)["status"] == status.body()
        assert "generate-questions@a" in scalequest("status", name).stdout
    listed = scalequest("status").stdout
    assert all(name in listed for name in ("going", "done", "lost"))


def test_who_may_not_create_runs_is_told_what_to_ask_for(
    lab: cluster.Cluster, scalequest: Scalequest, run_file: Path, tmp_path: Path
) -> None:
    token = lab.kubectl("create", "token", "default").strip()
    config = yaml.safe_load(lab.layout.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    nobody = Scalequest(tmp_path / "kubeconfig")
    done = nobody("submit", run_file, "--name", "forbidden")
    assert done.exit_code == 64
    assert "not allowed" in done.stderr
    assert "cannot create resource" in done.stderr
    assert "Ask for access to scalequestruns.scalequest.io" in done.stderr


def test_a_list_of_many_runs_comes_in_pages(
    served: api.RunApi, scalequest: Scalequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        served.create("default", run_api_suite.document(f"page-{number}"))
    monkeypatch.setattr(kubernetes_api, "PAGE", 2)
    names = [body["metadata"]["name"] for body in served.list("default")]
    assert len(names) == len(set(names))
    assert {f"page-{number}" for number in range(5)} <= set(names)
