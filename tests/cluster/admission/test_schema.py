"""The CRD at a real API server: its status, its columns, and how it reads."""

import contextlib
import datetime as dt
from typing import Any

import pytest

from cluster.admission import corpus, server
from cluster.lab import cluster, waiting
from cluster.lab.kubectl import KubectlError
from scalequest_jobs.contract import status

pytestmark = pytest.mark.cluster

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
WHOLE = status.RunStatus(
    observed_generation=1,
    phase=status.Phase.RUNNING,
    stage="generate-questions@a",
    conditions=(
        status.Condition(
            type="Accepted", status="True", reason="Valid", observed_generation=1, last_transition_time=NOON
        ),
    ),
    stages=(
        status.StageStatus(
            name="generate-questions@a",
            state=status.StageState.RUNNING,
            attempt=1,
            job="full-generate-questions-a-01234567-1",
            fingerprint="f" * 64,
            artifact=status.Artifact(key="artifacts/x", sha256="0" * 64, content="1" * 64),
            shards=status.Shards(total=4, committed="0-2", running=1),
            rows_in=10,
            rows_out=8,
            rejected={"too-short": 1, "other": 1},
            counted=("0123456789ab",),
            progress=status.StageProgress(rows_total=10, rows_done=8, eta_seconds=3, updated=NOON),
            started=NOON,
        ),
    ),
    dataset=status.Dataset(
        name="full", rows=8, artifact=status.Artifact(key="artifacts/y", sha256="2" * 64, content="3" * 64)
    ),
    cost=status.Cost(gpu_hours="1.5", usd="3.20"),
    started=NOON,
    finished=NOON,
)


def written(admission: server.Admission, body: dict[str, Any]) -> server.Answer:
    return admission.update(corpus.kept() | {"status": body}, status=True)


def test_a_whole_status_is_stored_as_it_is(admission: server.Admission, stored: dict[str, Any]) -> None:
    answer = written(admission, WHOLE.body())
    assert answer.stored, answer.refusals
    assert answer.stored["status"] == WHOLE.body()
    assert status.RunStatus.model_validate(answer.stored["status"]) == WHOLE


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("status.phase", {"phase": "Thinking"}),
        ("status.stages.0.state", {"stages": [{"name": "a", "state": "Lost"}]}),
        ("status.stages.1", {"stages": [{"name": "a", "state": "Waiting"}] * 2}),
        ("status.notes", {"notes": "x"}),
        ("status.started", {"started": "yesterday"}),
    ],
)
def test_a_status_that_says_something_else_is_refused(
    admission: server.Admission, stored: dict[str, Any], field: str, change: dict[str, Any]
) -> None:
    refusals = written(admission, WHOLE.body() | change).refusals
    assert [place for place, _ in refusals] == [field]


def test_writing_the_status_leaves_the_spec_alone(
    admission: server.Admission, stored: dict[str, Any]
) -> None:
    edited = corpus.kept(("spec.suspend", True)) | {"status": WHOLE.body()}
    answer = admission.update(edited, status=True)
    assert answer.stored
    assert answer.stored["spec"] == stored["spec"]


def test_the_columns_are_what_people_look_for(
    lab: cluster.Cluster, admission: server.Admission, stored: dict[str, Any]
) -> None:
    assert admission.update(corpus.kept() | {"status": WHOLE.body()}, dry_run=False, status=True).stored
    header, line = lab.kubectl("get", "sqr", "kept").splitlines()
    assert header.split() == ["NAME", "PHASE", "STAGE", "ACCEPTED", "GPU-H", "COST", "AGE"]
    assert line.split()[:-1] == ["kept", "Running", "generate-questions@a", "8", "1.5", "3.20"]
    wide = lab.kubectl("get", "sqr", "kept", "--output=wide").splitlines()[0].split()
    assert wide[-3:] == ["PROFILE", "STARTED", "FINISHED"]


def can_explain(lab: cluster.Cluster) -> bool:
    """Tell whether the API server's description has the CRD, which it gets a few seconds after it serves it."""
    with contextlib.suppress(KubectlError):
        lab.kubectl("explain", "sqr.spec")
        return True
    return False


def test_explain_reads_like_documentation(lab: cluster.Cluster) -> None:
    waiting.until(lambda: can_explain(lab), "the API server describes the CRD", seconds=60)
    spec = lab.kubectl("explain", "sqr.spec")
    assert (
        "Question Fine-Tuning, QFT (paper, section 2.2); null or `enabled: false` takes the generators as they are."
        in " ".join(spec.split())
    )
    endpoint = lab.kubectl("explain", "sqr.spec.preference.rewriter.endpoint.url")
    assert "Base address, up to and including `/v1`." in endpoint
    candidates = lab.kubectl("explain", "sqr.spec.responses.candidates")
    assert "Default: 5." in candidates
    stages = lab.kubectl("explain", "sqr.status.stages.shards.committed")
    assert "<string>" in stages
