"""What became of a pod, and how losses are counted once each."""

import datetime as dt

import pytest

from operator_builders import NOW, make_job, make_lost, make_pod, make_stage
from scalequest_jobs.contract.compute import Retries
from scalequest_jobs.contract.launch import Termination
from scalequest_jobs.contract.status import MAX_COUNTED, StageStatus
from scalequest_operator.planning import failure
from scalequest_operator.planning.failure import Fate

EVICTED = {"disruption": "EvictionByEvictionAPI"}
TOLD_TO_END = {"deleted": NOW}


@pytest.mark.parametrize(
    ("pod", "fate"),
    [
        (make_pod(), Fate.ALIVE),
        (make_pod(phase="Pending"), Fate.ALIVE),
        (make_pod(**EVICTED), Fate.ALIVE),
        (make_pod(phase="Succeeded", exit_code=0), Fate.SUCCEEDED),
        (make_pod(phase="Succeeded", exit_code=0, **EVICTED), Fate.SUCCEEDED),
        (make_lost(exit_code=1), Fate.FAILED),
        (make_lost(exit_code=75), Fate.FAILED),
        (make_lost(exit_code=137, ended_reason="OOMKilled"), Fate.FAILED),
        (make_lost(exit_code=64), Fate.HOPELESS),
        (make_lost(exit_code=65), Fate.HOPELESS),
        (make_lost(exit_code=64, **EVICTED), Fate.HOPELESS),
        (make_lost(exit_code=75, **EVICTED), Fate.DISRUPTED),
        (make_lost(exit_code=None, **EVICTED), Fate.DISRUPTED),
        (make_lost(exit_code=75, **TOLD_TO_END), Fate.DISRUPTED),
        (make_lost(exit_code=143, **TOLD_TO_END), Fate.DISRUPTED),
        (make_lost(exit_code=1, **TOLD_TO_END), Fate.FAILED),
        (make_lost(exit_code=None), Fate.FAILED),
    ],
)
def test_conditions_and_exit_codes_decide_what_became_of_a_pod(pod: failure.PodView, fate: Fate) -> None:
    assert failure.fate(pod) is fate


def counted(status: StageStatus, lost: failure.Losses) -> StageStatus:
    return status.model_copy(update=vars(lost))


def test_failures_and_disruptions_are_counted_apart() -> None:
    pods = [make_lost(0), make_lost(1, 65), make_lost(2, 75, **EVICTED), make_pod(3)]
    lost = failure.losses(make_stage(), pods)
    assert (lost.failures, lost.disruptions) == (2, 1)


def test_a_pod_is_counted_once_however_often_it_is_seen() -> None:
    pods = [make_lost(0), make_lost(1, **EVICTED)]
    status = counted(make_stage(), failure.losses(make_stage(), pods))
    assert failure.losses(status, pods) == failure.losses(status, list(reversed(pods)))
    assert failure.losses(status, pods).failures == 1
    assert failure.losses(status, [*pods, make_lost(2)]).failures == 2


def test_a_pod_that_is_not_seen_for_a_while_is_not_counted_anew() -> None:
    """Two operators may see different things for a while; each would count what the other forgot."""
    status = counted(make_stage(), failure.losses(make_stage(), [make_lost(0)]))
    for seen in ([], [make_lost(0)], [], [make_lost(0)]):
        status = counted(status, failure.losses(status, seen))
        assert status.failures == 1


def test_pods_that_are_gone_make_room_for_those_that_are_there() -> None:
    status = counted(make_stage(), failure.losses(make_stage(), [make_lost(i) for i in range(MAX_COUNTED)]))
    there = [make_lost(1000 + i) for i in range(MAX_COUNTED)]
    status = counted(status, failure.losses(status, there))
    assert set(status.counted) == {pod.uid[: failure.UID_PREFIX] for pod in there}
    assert (status.failures, status.counted_more) == (2 * MAX_COUNTED, 0)


def test_more_lost_pods_than_can_be_named_are_counted_once_each() -> None:
    """The list in the status is bounded; a count that grew at every look would never end."""
    pods = [make_lost(index, created=NOW + dt.timedelta(seconds=index)) for index in range(MAX_COUNTED + 40)]
    status = make_stage()
    for seen in (*range(1, len(pods) + 1, 37), len(pods), len(pods), len(pods)):
        status = counted(status, failure.losses(status, pods[:seen]))
        assert status.failures == seen
        assert len(status.counted) <= MAX_COUNTED
    status = counted(
        status, failure.losses(status, [*pods, make_lost(900, created=NOW + dt.timedelta(days=1))])
    )
    assert status.failures == len(pods) + 1


def test_pods_that_end_because_the_user_suspends_are_no_losses_not_even_later() -> None:
    pods = [make_lost(0, 75, **TOLD_TO_END), make_lost(1, 1)]
    status = counted(make_stage(), failure.losses(make_stage(), pods, suspended=True))
    assert (status.failures, status.disruptions) == (1, 0)
    assert failure.losses(status, pods).disruptions == 0


@pytest.mark.parametrize(
    ("allowed", "lost", "is_spent"),
    [("unlimited", 9999, False), (0, 0, False), (0, 1, True), (3, 3, False), (3, 4, True)],
)
def test_a_stage_may_lose_as_many_pods_to_disruptions_as_the_spec_says(
    allowed: int | str, lost: int, *, is_spent: bool
) -> None:
    retries = Retries.model_validate({"disruptions": allowed})
    why = failure.spent(retries, failure.Losses(failures=0, disruptions=lost))
    assert bool(why) is is_spent
    assert not why or "retries.disruptions" in why


def test_last_words_are_read_as_ours_or_taken_as_plain_text() -> None:
    ours = Termination(manifest="runs/x", sha256="a" * 64).encode()
    assert failure.last_words(make_pod(termination=ours)).manifest == "runs/x"
    for foreign in ("panic: no", "123", "null", '{"other": 1}', ""):
        assert failure.last_words(make_pod(termination=foreign)) == Termination(message=foreign)


def words(name: str) -> str:
    return Termination(manifest=f"runs/{name}", sha256="a" * 64).encode()


def test_manifests_are_those_that_succeeded_pods_of_this_job_named() -> None:
    pods = [
        make_pod(0, phase="Succeeded", termination=words("zero")),
        make_pod(1, phase="Failed", exit_code=1, termination=words("failed")),
        make_pod(2, phase="Succeeded", termination="no manifest"),
        make_pod(3, phase="Succeeded", termination=words("other"), job_uid="another Job"),
        make_pod(4, phase="Running", termination=words("running")),
    ]
    assert [(shard, ref.key) for shard, ref in failure.manifests(make_job(), pods)] == [(0, "runs/zero")]


def test_of_two_pods_of_a_shard_the_older_names_the_manifest() -> None:
    younger = make_pod(0, phase="Succeeded", termination=words("younger"), created=NOW)
    older = make_pod(0, phase="Succeeded", termination=words("older"))
    assert failure.manifests(make_job(), [younger, older]) == failure.manifests(make_job(), [older, younger])
    assert failure.manifests(make_job(), [younger, older])[0][1].key == "runs/older"


def test_a_failing_pod_is_blamed_before_those_that_were_told_to_end() -> None:
    bad = make_lost(0, 65)
    failed = make_lost(1, 1)
    told = make_lost(2, 75, created=NOW, **TOLD_TO_END)
    assert failure.newest_loss([told, failed, bad]) == bad
    assert failure.newest_loss([told, failed]) == failed
    assert failure.newest_loss([told, make_pod()]) == told
    assert failure.newest_loss([make_pod()]) is None


def test_a_loss_is_described_by_the_pods_own_words_on_one_printable_line() -> None:
    said = Termination(error="BadInputError", message="row 7:\n\x1b[31mno question").encode()
    text = failure.describe(make_lost(0, 65, termination=said))
    assert text == "pod pod-0, exit code 65: row 7: [31mno question"
    assert failure.describe(make_lost(0, 137, ended_reason="OOMKilled")).endswith("137: OOMKilled")
    assert "EvictionByEvictionAPI" in failure.describe(make_lost(0, None, **EVICTED))
