"""From the API server's bodies to what planning works on."""

import datetime as dt
from typing import Any

import pytest

import builders
from operator_builders import RUN_UID, make_stage
from scalequest_jobs.contract import names
from scalequest_jobs.contract.status import RunStatus
from scalequest_operator.planning import views

WHEN = "2026-03-01T12:00:00Z"
MOMENT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
LABELS = names.labels(run="run", run_uid=RUN_UID, stage="clean-questions", role="cpu", attempt=2)


def run_body(**more: Any) -> dict[str, Any]:
    metadata = {
        "name": "run",
        "namespace": "default",
        "uid": RUN_UID,
        "resourceVersion": "5",
        "generation": 3,
        "creationTimestamp": WHEN,
    }
    return {"metadata": metadata, "spec": builders.run_document()["spec"], **more}


def child(**more: Any) -> dict[str, Any]:
    metadata = {
        "name": "child",
        "namespace": "default",
        "uid": "child-uid",
        "labels": LABELS | {"batch.kubernetes.io/controller-uid": "job-uid"},
        "annotations": {
            names.Annotation.NODE.value: "clean-questions",
            names.Annotation.ORDER.value: "a" * 64,
            "batch.kubernetes.io/job-completion-index": "7",
        },
        "creationTimestamp": WHEN,
    }
    return {"metadata": metadata, "spec": {}, **more}


def test_a_run_is_read_with_its_status() -> None:
    status = RunStatus(stages=(make_stage(),), observed_generation=2)
    view = views.run_view(run_body(status=status.body()))
    assert (view.uid, view.generation, view.resource_version, view.created) == (RUN_UID, 3, "5", MOMENT)
    assert view.status == status
    assert view.spec is not None
    assert not view.unreadable


def test_a_run_without_a_status_is_new() -> None:
    assert views.run_view(run_body()).status == RunStatus()


def test_a_spec_that_is_not_valid_is_a_problem_not_a_crash() -> None:
    view = views.run_view(run_body(spec={"models": {}}))
    assert view.spec is None
    assert "generators" in view.problem
    assert not view.unreadable
    assert views.run_view({"metadata": run_body()["metadata"]}).spec is None


@pytest.mark.parametrize("status", [{"stages": [{"name": "x", "state": "Dreaming"}]}, {"invented": True}])
def test_a_status_that_is_not_ours_is_marked_so_that_nothing_is_written_over_it(
    status: dict[str, Any],
) -> None:
    view = views.run_view(run_body(status=status))
    assert view.unreadable
    assert "another version" in view.problem


@pytest.mark.parametrize(
    ("conditions", "finished", "reason"),
    [
        ([], "", ""),
        (
            [{"type": "Complete", "status": "True", "reason": "CompletionsReached"}],
            "Complete",
            "CompletionsReached",
        ),
        ([{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}], "Failed", "PodFailurePolicy"),
        ([{"type": "Failed", "status": "False"}], "", ""),
        # Pods of such a Job may still run.
        ([{"type": "SuccessCriteriaMet", "status": "True"}], "", ""),
        ([{"type": "FailureTarget", "status": "True"}], "", ""),
    ],
)
def test_a_job_is_over_only_when_its_pods_have_ended(conditions: Any, finished: str, reason: str) -> None:
    view = views.job_view(child(status={"conditions": conditions}))
    assert (view.finished, view.reason) == (finished, reason)


def test_a_job_is_read_with_what_it_belongs_to() -> None:
    body = child(
        spec={"suspend": True, "activeDeadlineSeconds": 9},
        status={"active": 2, "ready": 1, "completedIndexes": "0-3"},
    )
    view = views.job_view(body)
    assert (view.run, view.run_uid, view.node, view.attempt, view.order) == (
        "run",
        RUN_UID,
        "clean-questions",
        2,
        "a" * 64,
    )
    assert (view.suspended, view.deadline_seconds, view.completed, view.queued) == (True, 9, "0-3", False)
    body["metadata"]["labels"][names.Label.QUEUE.value] = "gpus"
    body["metadata"]["deletionTimestamp"] = WHEN
    assert (views.job_view(body).queued, views.job_view(body).deleting) == (True, True)


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "sidecar"}, {"name": "worker", "state": state}]}


def test_a_pod_is_read_with_its_place_and_its_shard() -> None:
    view = views.pod_view(
        child(spec={"nodeName": "node-1"}, status={"phase": "Running", **container(running={})})
    )
    assert (view.index, view.job_uid, view.machine, view.phase) == (7, "job-uid", "node-1", "Running")
    assert (view.exit_code, view.deleted, view.is_over) == (None, None, False)
    assert views.pod_view(child()).phase == "Pending"


def test_a_pods_end_is_read_of_the_worker_not_of_a_sidecar() -> None:
    ended = {"exitCode": 65, "reason": "Error", "message": "words"}
    status = {"phase": "Failed", **container(terminated=ended)}
    status["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1}}
    view = views.pod_view(child(status=status))
    assert (view.exit_code, view.ended_reason, view.termination) == (65, "Error", "words")


def test_last_words_are_bounded() -> None:
    ended = {"exitCode": 1, "message": "x" * 100_000}
    assert len(views.pod_view(child(status=container(terminated=ended))).termination) == 4096


def test_a_pod_that_waits_says_why() -> None:
    status = container(waiting={"reason": "ErrImagePull", "message": "403\nForbidden"})
    view = views.pod_view(child(status=status))
    assert (view.waiting_reason, view.waiting_message) == ("ErrImagePull", "403 Forbidden")


@pytest.mark.parametrize(
    ("conditions", "unschedulable", "disruption"),
    [
        (
            [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}],
            "full",
            "",
        ),
        ([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}], "no node fits", ""),
        ([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}], "", ""),
        ([{"type": "PodScheduled", "status": "True"}], "", ""),
        ([{"type": "DisruptionTarget", "status": "True", "reason": "Preempted"}], "", "Preempted"),
        ([{"type": "DisruptionTarget", "status": "True"}], "", "DisruptionTarget"),
        ([{"type": "DisruptionTarget", "status": "False", "reason": "Preempted"}], "", ""),
    ],
)
def test_conditions_of_a_pod_are_read(conditions: Any, unschedulable: str, disruption: str) -> None:
    view = views.pod_view(child(status={"conditions": conditions}))
    assert (view.unschedulable, view.disruption) == (unschedulable, disruption)


def test_an_object_with_odd_labels_is_read_all_the_same() -> None:
    body = child()
    body["metadata"] |= {"labels": {names.Label.ATTEMPT.value: "many"}, "annotations": None}
    assert (views.job_view(body).attempt, views.job_view(body).node) == (0, "")
    del body["metadata"]["labels"]
    assert views.pod_view(body).run_uid == ""
