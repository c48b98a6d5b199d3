"""Whole runs on a real cluster with real training and real inference; the operator is a pod, installed by its chart."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.installation import BUCKET, SYSTEM_NAMESPACE, Installation
from cluster.lab import layout
from cluster.lab.cluster import Cluster
from cluster.runs import Runs, condition, tiny_spec
from scalequest_jobs import catalog
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.status import ConditionType, Phase, StageState
from scalequest_jobs.execution import reading

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.timeout(3600)]

SCALEQUEST = Path(sys.executable).with_name("scalequest")
END_SECONDS = 3000
OPERATOR_SECONDS = 10
"""What the operator may take for a run whose every stage is cached."""


def small_spec() -> dict[str, Any]:
    """Return examples/tiny-math.yaml with few rows: every stage, two generators, three shards of generation."""
    document = yaml.safe_load((layout.ROOT / "examples" / "tiny-math.yaml").read_text())
    spec: dict[str, Any] = document["spec"]
    spec["seedQuestions"]["maxRows"] = 320
    spec["fineTuning"]["epochs"] = 3
    spec["preference"] |= {"questions": 120, "heldOut": 8, "warmupSteps": 1}
    spec["filters"]["difficulty"] |= {"samples": 2}
    spec["filters"]["difficulty"]["training"]["epochs"] = 1
    spec["responses"]["candidates"] = 2
    for generator in spec["generators"]:
        generator["questions"] = 150
    spec["compute"]["stages"]["generate-questions"]["chunkRows"] = 25
    # Each pod of an engine takes half a minute of a core before its first row.
    spec["compute"]["stages"]["generate-responses"]["shards"] = 1
    return spec


@pytest.fixture(scope="module")
def runs(cluster_with_images: Cluster) -> Iterator[Runs]:
    installation = Installation(cluster=cluster_with_images)
    installation.prepare()
    installation.install(crds={"install": False, "keep": True})
    yield Runs(installation=installation)
    installation.install(crds={"install": False, "keep": True}, replicas=0)


@pytest.fixture(scope="module")
def finished(runs: Runs) -> str:
    """Give the name of the run with every stage, which ended beside another one."""
    runs.submit("tiny-math", small_spec())
    plain = tiny_spec(40, shards=2, chunk_rows=10)
    plain["models"]["solver"] = {"path": "tiny_world/models/solver"}
    plain["generators"][0] |= {"maxTokens": 110}
    plain["filters"]["solvability"] = {"model": "solver", "maxTokens": 80}
    plain["responses"] |= {"maxTokens": 80}
    plain["prompts"] = small_spec()["prompts"]
    plain["compute"]["engine"] = small_spec()["compute"]["engine"]
    runs.submit("plain", plain)
    assert runs.wait_for_end("plain", seconds=END_SECONDS).phase is Phase.SUCCEEDED
    assert runs.wait_for_end("tiny-math", seconds=END_SECONDS).phase is Phase.SUCCEEDED
    return "tiny-math"


def test_every_stage_ends_in_a_committed_artifact(runs: Runs, finished: str) -> None:
    status = runs.status(finished)
    spec = Spec.model_validate(small_spec(), by_alias=True, by_name=False)
    assert {stage.name for stage in status.stages} == {node.name for node in catalog.plan(spec).nodes}
    assert {stage.state for stage in status.stages} == {StageState.SUCCEEDED}
    assert condition(status, ConditionType.COMPLETED) == ("True", "Published")
    generated = status.stage_of("generate-questions@a")
    assert generated.shards is not None
    assert (generated.shards.total, generated.shards.committed) == (3, "0-2")


def test_the_dataset_has_exactly_the_rows_of_the_committed_chunks_and_verifies(
    runs: Runs, finished: str, tmp_path: Path
) -> None:
    server = runs.installation.cluster.s3
    access = [f"--credentials={server.access_key_file.parent}"]
    folder = tmp_path / "dataset"
    scalequest(
        runs, "download", finished, f"--to={folder}", f"--store=s3+{server.endpoint}/{BUCKET}", *access
    )
    committed = reading.TableReader(runs.store(), runs.manifest(finished, "select-responses")).table()
    lines = scalequest(runs, "show", str(folder), "--rows=0", namespace=False)
    assert f"{committed.num_rows:,} accepted rows" in lines
    published = published_ids(folder)
    assert sorted(published) == sorted(committed.column("question_id").to_pylist())
    said = scalequest(
        runs,
        "verify",
        str(folder),
        "--json",
        f"--volume=/volumes={layout.ROOT / 'examples'}",
        *access,
        namespace=False,
    )
    assert json.loads(said)["ok"], said


def published_ids(folder: Path) -> list[str]:
    import pyarrow.parquet as pq

    files = sorted((folder / "data").glob("*.parquet"))
    return [value for file in files for value in pq.read_table(file).column("question_id").to_pylist()]


def scalequest(runs: Runs, *arguments: str, namespace: bool = True) -> str:
    """Run a command and return its output."""
    kubeconfig = runs.installation.cluster.layout.kubeconfig
    command = [str(SCALEQUEST), *arguments, *([f"--namespace={runs.namespace}"] if namespace else [])]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_same_spec_under_another_name_starts_no_pod(runs: Runs, finished: str) -> None:
    began = time.monotonic()
    runs.submit("again", small_spec())
    status = runs.wait_for_end("again", seconds=60)
    assert time.monotonic() - began <= OPERATOR_SECONDS
    assert status.phase is Phase.SUCCEEDED
    assert all(stage.cached for stage in status.stages)
    assert runs.jobs("again") == []
    assert status.dataset is not None
    assert status.dataset.artifact == runs.status(finished).stage_of("publish-dataset").artifact


def test_the_operator_did_everything_with_the_rights_of_its_role(runs: Runs, finished: str) -> None:
    kubectl = runs.installation.cluster.kubectl
    log = kubectl("logs", "deployment/scalequest", f"--namespace={SYSTEM_NAMESPACE}")
    assert "leading as" in log
    assert "orbidden" not in log, log
    assert "a defect" not in log, log


def test_kubectl_shows_the_run_in_a_line(runs: Runs, finished: str) -> None:
    header, line = runs.kubectl("get", "sqr", finished).splitlines()
    assert header.split() == ["NAME", "PHASE", "STAGE", "ACCEPTED", "GPU-H", "COST", "AGE"]
    rows = runs.status(finished).stage_of("publish-dataset").rows_out
    assert line.split()[:3] == [finished, "Succeeded", str(rows)]
