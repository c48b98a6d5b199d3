"""Why a Job's pods do not run."""

import datetime as dt
from typing import Any

import pytest

from operator_builders import NOW, make_job, make_pod
from scalequest_operator.planning import waiting
from scalequest_operator.planning.model import Answer, Explain, Explained, PodView, Unavailable

OLD = NOW - dt.timedelta(seconds=60)


def pending(**pod: Any) -> PodView:
    return make_pod(**{"phase": "Pending", "machine": "", **pod})


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (pending(unschedulable="0/3 nodes: Insufficient nvidia.com/gpu"), "Unschedulable", "Insufficient"),
        (pending(waiting_reason="ErrImagePull", waiting_message="403"), "ImagePullFailed", "403"),
        (pending(waiting_reason="ImagePullBackOff"), "ImagePullFailed", "ImagePullBackOff"),
        (pending(waiting_reason="InvalidImageName"), "ImagePullFailed", "InvalidImageName"),
        (
            pending(waiting_reason="CreateContainerConfigError", waiting_message='secret "x" not found'),
            "ContainerNotStarted",
            'secret "x" not found',
        ),
    ],
)
def test_a_pod_that_cannot_start_says_why_in_the_words_of_who_knows(
    pod: PodView, reason: str, words: str
) -> None:
    wait, questions = waiting.why(make_job(), [pod], {}, NOW)
    assert (wait.reason, wait.is_fault, questions) == (reason, True, ())
    assert words in wait.message


def test_a_starting_pod_is_no_fault() -> None:
    for reason in ("", "ContainerCreating", "PodInitializing"):
        wait, questions = waiting.why(make_job(), [pending(waiting_reason=reason)], {}, NOW)
        assert (wait.reason, wait.is_fault, questions) == ("Starting", False, ())


def test_a_job_under_a_queue_waits_for_its_admission() -> None:
    wait, _ = waiting.why(make_job(queued=True, suspended=True), [], {}, NOW)
    assert (wait.reason, wait.is_fault) == ("Queued", False)


def test_pods_that_were_told_to_end_are_waited_for_by_name_and_machine() -> None:
    wait, questions = waiting.why(make_job(), [make_pod(0, deleted=NOW, created=OLD)], {}, NOW)
    assert (wait.reason, questions) == ("Terminating", ())
    assert "pod-0 on node-1" in wait.message


def test_a_replacement_that_cannot_start_counts_more_than_a_pod_that_ends() -> None:
    pods = [make_pod(0, deleted=NOW), pending(index=1, unschedulable="no node")]
    assert waiting.why(make_job(), pods, {}, NOW)[0].reason == "Unschedulable"


def test_pods_of_another_job_and_ended_ones_say_nothing() -> None:
    pods = [pending(unschedulable="no", job_uid="other"), make_pod(1, phase="Failed", unschedulable="no")]
    assert waiting.why(make_job(), pods, {}, NOW)[0].reason == "Starting"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            Explained(reason="FailedCreate", message='pods "x" is forbidden: exceeded quota: gpus'),
            "QuotaExceeded",
        ),
        (Explained(reason="FailedCreate", message="violates PodSecurity restricted"), "PodsNotCreated"),
        (Explained(), "Starting"),
        (Unavailable(reason="ApiServerUnreachable", message="no"), "Starting"),
    ],
)
def test_a_job_without_pods_is_explained_by_its_newest_event(answer: Answer, reason: str) -> None:
    job = make_job(created=OLD)
    question = Explain(kind="Job", name=job.name, uid=job.uid)
    assert waiting.why(job, [], {}, NOW)[1] == (question,)
    wait, questions = waiting.why(job, [], {question: answer}, NOW)
    assert (wait.reason, questions) == (reason, ())


def test_a_pod_that_starts_for_long_is_explained_by_its_newest_event() -> None:
    pod = pending(created=OLD)
    question = Explain(kind="Pod", name=pod.name, uid=pod.uid)
    assert waiting.why(make_job(), [pod], {}, NOW)[1] == (question,)
    mount = Explained(reason="FailedMount", message='secret "s3-credentials" not found')
    wait, _ = waiting.why(make_job(), [pod], {question: mount}, NOW)
    assert (wait.reason, wait.is_fault) == ("ContainerNotStarted", True)
    assert "FailedMount: secret" in wait.message


def test_events_are_not_asked_for_while_something_may_still_start() -> None:
    young = make_job(created=NOW - waiting.EXPLAIN_AFTER + dt.timedelta(seconds=1))
    assert waiting.why(young, [], {}, NOW)[1] == ()


def test_messages_from_outside_are_cut_and_printable() -> None:
    wait, _ = waiting.why(
        make_job(), [pending(waiting_reason="Odd", waiting_message="x\n\x00" * 5000)], {}, NOW
    )
    assert len(wait.message) <= 1024
    assert wait.message.isprintable()
