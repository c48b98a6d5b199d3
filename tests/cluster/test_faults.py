"""Faults of every kind on a real cluster, with scripted engines: the run ends as it should, and no chunk is made twice."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import runs as run_tools
from cluster.installation import Installation
from cluster.lab import waiting
from cluster.lab.cluster import Cluster
from cluster.lab.kubectl import KubectlError
from cluster.operator_process import OperatorProcess, write_configuration
from cluster.runs import Runs, condition, tiny_spec
from scalequest_jobs.contract.launch import ExitCode
from scalequest_jobs.contract.status import ConditionType, Phase, RunStatus, StageState
from servers.silent_proxy import running_silent_proxy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

GENERATE = "generate-questions@a"
SLOW = {"SCRIPTED_SECONDS": "0.25"}
TAKEOVER_SECONDS = 20


def profiles(installation: Installation) -> dict[str, Any]:
    """Return the profiles of this suite: slow workers, and workers that end with a code of their own."""
    made = {
        "slow": installation.profile(SLOW),
        "endless": installation.profile({"SCRIPTED_SECONDS": "3600"}),
        "short-lived": installation.profile() | {"jobTtlSeconds": 1},
    }
    for name, ending in {
        "exit-64": "64",
        "exit-65": "65",
        "exit-75": "75*1",
        "exit-1": "1*1",
        "exit-137": "137*1",
        "exit-1-always": "1",
    }.items():
        made[name] = installation.profile({"SCRIPTED_EXIT": f"generate-questions={ending}"})
    made["queued"] = installation.profile() | {"queue": "team-queue"}
    return made


@pytest.fixture(scope="module")
def installation(cluster_with_images: Cluster) -> Installation:
    made = Installation(cluster=cluster_with_images, scripted=True)
    made.prepare()
    # Its account and roles; the operators of this suite are processes that it may kill.
    made.install(replicas=0, crds={"install": False, "keep": True})
    return made


@pytest.fixture(scope="module")
def folder(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("operator")
    write_configuration(installation, made, profiles(installation))
    return made


@pytest.fixture(scope="module")
def operator(installation: Installation, folder: Path) -> Iterator[OperatorProcess]:
    running = OperatorProcess(installation=installation, folder=folder)
    running.start()
    running.wait_until_leading()
    yield running
    running.stop()


@pytest.fixture
def runs(installation: Installation, operator: OperatorProcess) -> Runs:
    return Runs(installation=installation)


@pytest.fixture
def slow_run(runs: Runs, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a run whose three workers are in the middle of their shards, with a chunk committed."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    questions = 60 + sum(map(ord, name)) % 97
    runs.submit(name, tiny_spec(questions, profile="slow"))
    runs.wait_for_pods(name, "generate-questions", 3)
    runs.wait_for_chunks(name, GENERATE, 1)
    yield name
    runs.delete(name, wait=False)


def adopted(runs: Runs, name: str, ended: str) -> None:
    """Check that a chunk of an ended pod is part of the artifact, and that every chunk is there once."""
    receipts = runs.manifest(name, GENERATE).receipts
    assert [receipt.chunk for receipt in receipts] == list(range(len(receipts)))
    assert ended in runs.attempts(name, GENERATE), "the ended pod's committed chunk was made again"


def wait_for_generation(runs: Runs, name: str, seconds: float = 180) -> None:
    runs.wait_for_stage(name, GENERATE, StageState.SUCCEEDED, seconds=seconds)


def first_pod(runs: Runs, name: str) -> dict[str, Any]:
    """Return the running pod whose chunk was committed first."""
    uid = runs.body(name)["metadata"]["uid"]
    keys = [key for key in runs.store().keys(f"runs/{uid}/{GENERATE}/") if "/receipt/" in key]
    maker = keys[0].rpartition("/")[2].rpartition("-")[0]
    return next(pod for pod in runs.pods(name, "generate-questions") if pod["metadata"]["uid"] == maker)


def host_pids(pod: dict[str, Any]) -> list[int]:
    """Return the processes of a pod's containers that are workers, as this machine numbers them."""
    uid = pod["metadata"]["uid"]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            cgroup, command = (entry / "cgroup").read_text(), (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if (uid in cgroup or uid.replace("-", "_") in cgroup) and b"scripted_pod" in command:
            found.append(int(entry.name))
    return found


def exit_codes(runs: Runs, name: str, uid: str) -> list[int]:
    """Return the exit code of a pod's worker once it ended."""
    pods = [pod for pod in runs.pods(name, "generate-questions") if pod["metadata"]["uid"] == uid]
    states = [status["state"] for pod in pods for status in pod["status"].get("containerStatuses") or []]
    return [state["terminated"]["exitCode"] for state in states if "terminated" in state]


# ---- pods


def test_a_killed_worker_loses_its_unfinished_chunk_and_nothing_else(runs: Runs, slow_run: str) -> None:
    pod = first_pod(runs, slow_run)
    pids = host_pids(pod)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for_generation(runs, slow_run)
    adopted(runs, slow_run, pod["metadata"]["uid"])
    assert runs.stage(slow_run, GENERATE).failures == 1


def test_an_evicted_worker_ends_with_75_keeps_its_chunks_and_spends_no_retry(
    runs: Runs, slow_run: str
) -> None:
    pod = first_pod(runs, slow_run)
    name = pod["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": runs.namespace},
    }
    path = f"/api/v1/namespaces/{runs.namespace}/pods/{name}/eviction"
    runs.installation.cluster.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(eviction))
    wait_for_generation(runs, slow_run)
    adopted(runs, slow_run, pod["metadata"]["uid"])
    stage = runs.stage(slow_run, GENERATE)
    assert (stage.failures, stage.disruptions) == (0, 1)


def test_a_worker_told_to_end_does_not_count_as_done(runs: Runs, slow_run: str) -> None:
    pod = first_pod(runs, slow_run)
    codes: list[int] = []

    def ended() -> bool:
        codes.extend(exit_codes(runs, slow_run, pod["metadata"]["uid"]))
        return bool(codes)

    runs.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    waiting.until(ended, "the worker ends", seconds=30)
    assert codes[0] == ExitCode.TRY_AGAIN
    wait_for_generation(runs, slow_run)
    adopted(runs, slow_run, pod["metadata"]["uid"])


def test_a_pod_deleted_by_force_is_replaced_and_its_chunks_are_adopted(runs: Runs, slow_run: str) -> None:
    pod = first_pod(runs, slow_run)
    runs.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0", "--wait=false")
    wait_for_generation(runs, slow_run)
    adopted(runs, slow_run, pod["metadata"]["uid"])


def test_a_job_deleted_by_hand_is_followed_by_another_attempt_that_adopts_its_chunks(
    runs: Runs, slow_run: str
) -> None:
    pod = first_pod(runs, slow_run)
    runs.kubectl("delete", "job", runs.stage(slow_run, GENERATE).job, "--wait=false")
    wait_for_generation(runs, slow_run)
    adopted(runs, slow_run, pod["metadata"]["uid"])
    assert runs.stage(slow_run, GENERATE).attempt == 2


@pytest.mark.parametrize("code", [75, 1, 137])
def test_a_worker_that_fails_once_is_tried_again(runs: Runs, code: int) -> None:
    name = f"fails-once-with-{code}"
    runs.submit(name, tiny_spec(20 + code, profile=f"exit-{code}"))
    wait_for_generation(runs, name)
    stage = runs.stage(name, GENERATE)
    assert stage.failures == 3, "each of three shards failed once"
    runs.wait_for_events(name, "PodFailed", "StageCommitted")
    runs.delete(name, wait=False)


@pytest.mark.parametrize("code", [64, 65])
def test_a_worker_without_hope_fails_the_run_at_once_with_its_own_words(runs: Runs, code: int) -> None:
    name = f"hopeless-{code}"
    runs.submit(name, tiny_spec(30, profile=f"exit-{code}"))
    status = runs.wait_for_end(name)
    assert status.phase is Phase.FAILED
    assert condition(status, ConditionType.FAILED) == ("True", "StageFailed")
    assert f"told to end with {code}" in status.stage_of(GENERATE).message
    assert len(runs.pods(name, "generate-questions")) <= 3, "nothing was tried again"
    runs.delete(name, wait=False)


def test_a_worker_that_always_fails_ends_the_run_after_its_retries(runs: Runs) -> None:
    name = "always-fails"
    spec = tiny_spec(30, shards=1, profile="exit-1-always", retries={"failures": 1})
    runs.submit(name, spec)
    status = runs.wait_for_end(name)
    assert status.phase is Phase.FAILED
    assert status.stage_of(GENERATE).failures == 2
    assert "told to end with 1" in status.stage_of(GENERATE).message
    runs.delete(name, wait=False)


# ---- runs


def test_a_suspended_run_holds_no_pod_and_goes_on_from_its_chunks(runs: Runs, slow_run: str) -> None:
    pod = first_pod(runs, slow_run)
    runs.patch(slow_run, {"suspend": True})
    status = runs.wait(
        slow_run,
        lambda status: condition(status, ConditionType.SUSPENDED)[0] == "True",
        "the run is suspended",
    )
    assert status.phase is Phase.SUSPENDED
    waiting.until(
        lambda: not any(run_tools.is_running(pod) for pod in runs.pods(slow_run)), "no pod runs", seconds=60
    )
    runs.patch(slow_run, {"suspend": False})
    wait_for_generation(runs, slow_run)
    adopted(runs, slow_run, pod["metadata"]["uid"])
    stage = runs.stage(slow_run, GENERATE)
    assert (stage.attempt, stage.failures) == (1, 0)


def test_a_cancelled_run_ends_for_good_and_holds_no_pod(runs: Runs, slow_run: str) -> None:
    runs.patch(slow_run, {"cancel": True})
    status = runs.wait_for_end(slow_run)
    assert condition(status, ConditionType.FAILED) == ("True", "Cancelled")
    waiting.until(lambda: not runs.pods(slow_run, "generate-questions"), "its pods are gone", seconds=60)
    with pytest.raises(KubectlError, match="cancel"):
        runs.patch(slow_run, {"cancel": False})


def test_a_run_created_anew_under_its_name_shares_nothing_with_the_pods_of_the_old_one(
    runs: Runs, slow_run: str
) -> None:
    old = runs.body(slow_run)
    runs.delete(slow_run)
    runs.submit(slow_run, old["spec"])
    wait_for_generation(runs, slow_run)
    new = runs.body(slow_run)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert all(
        new["metadata"]["uid"] in receipt.objects["rows"].key
        for receipt in runs.manifest(slow_run, GENERATE).receipts
    )


def test_what_may_be_edited_takes_effect_and_what_may_not_is_refused(runs: Runs) -> None:
    name = "edited-while-it-runs"
    runs.submit(name, tiny_spec(33, shards=1, profile="endless"))
    runs.wait_for_pods(name, "generate-questions", 1)
    with pytest.raises(KubectlError, match=r"(?s)seed cannot be changed.*Create a run of another name"):
        runs.patch(name, {"seed": 7})
    runs.patch(name, {"activeDeadlineSeconds": 60})
    status = runs.wait_for_end(name, seconds=150)
    assert condition(status, ConditionType.FAILED) == ("True", "DeadlineExceeded")
    runs.delete(name, wait=False)


def see_the_operator_pass(runs: Runs) -> None:
    """Wait until the operator has looked at every change made so far: a namespace's runs take turns in order."""
    runs.submit("canary", tiny_spec(10, suspend=True))
    runs.wait("canary", lambda status: status.phase is Phase.SUSPENDED, "the canary is seen")
    runs.patch("canary", {"cancel": True})
    runs.wait_for_end("canary")
    runs.delete("canary", wait=False)


def test_jobs_that_their_ttl_removed_start_nothing_again(runs: Runs) -> None:
    name = "jobs-with-a-short-life"
    runs.submit(name, tiny_spec(12, shards=1, profile="short-lived"))
    assert runs.wait_for_end(name).phase is Phase.SUCCEEDED
    waiting.until(lambda: not runs.jobs(name), "every Job is removed", seconds=60)
    ended = runs.body(name)
    runs.kubectl("annotate", "scalequestrun", name, "example.com/look=again")
    see_the_operator_pass(runs)
    assert runs.jobs(name) == []
    assert runs.body(name)["status"] == ended["status"]
    runs.delete(name, wait=False)


def test_a_queued_job_waits_for_its_queue_and_goes_on_when_admitted(runs: Runs) -> None:
    name = "in-a-queue"
    runs.submit(name, tiny_spec(14, shards=1, profile="queued"))
    runs.wait(
        name, lambda status: condition(status, ConditionType.RUNNING) == ("False", "Queued"), "it queues"
    )
    for job in runs.jobs(name):
        assert job["spec"]["suspend"]
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"
    admit_until_ended(runs, name)
    runs.delete(name, wait=False)


def admit_until_ended(runs: Runs, name: str) -> None:
    """Resume every Job once, as a queue does."""
    admitted: set[str] = set()

    def admit() -> bool:
        for job in runs.jobs(name):
            uid = job["metadata"]["uid"]
            if job["spec"]["suspend"] and uid not in admitted:
                runs.kubectl(
                    "patch",
                    "job",
                    job["metadata"]["name"],
                    "--type=merge",
                    '--patch={"spec":{"suspend":false}}',
                )
                admitted.add(uid)
        return runs.status(name).finished is not None

    waiting.until(admit, f"{name} ends", seconds=180)
    assert runs.status(name).phase is Phase.SUCCEEDED


def test_the_progress_of_a_stage_at_work_is_shown(runs: Runs, slow_run: str) -> None:
    status = runs.wait(
        slow_run,
        lambda status: status.stage_of(GENERATE).progress is not None,
        "progress is shown",
        seconds=60,
    )
    stage = status.stage_of(GENERATE)
    assert stage.progress is not None
    assert stage.progress.rows_total > 0
    assert stage.progress.rows_done <= stage.progress.rows_total
    assert stage.progress.rows_per_second
    assert stage.shards is not None
    assert stage.shards.total == 3


# ---- the operator


def test_an_operator_killed_at_every_step_finishes_the_run_with_one_job_a_stage(
    runs: Runs, operator: OperatorProcess
) -> None:
    name = "survives-its-operator"
    runs.submit(name, tiny_spec(24, shards=2))
    kills = 0
    while (status := runs.status(name)).finished is None:
        operator.kill()
        kills += 1
        operator.start()
        operator.wait_until_leading()
        runs.wait(name, lambda now: shown(now) != shown(status), "the run goes on")
    assert status.phase is Phase.SUCCEEDED
    assert kills >= 9
    jobs = runs.jobs(name)
    stages = [job["metadata"]["annotations"]["scalequest.io/node"] for job in jobs]
    assert len(stages) == len(set(stages)), f"a stage had two Jobs: {stages}"
    runs.delete(name, wait=False)


def shown(status: RunStatus) -> list[tuple[str, StageState]]:
    """Return what changes at every step of a run."""
    return [(stage.name, stage.state) for stage in status.stages]


def test_a_standby_takes_over_within_twenty_seconds_of_a_kill(
    runs: Runs, operator: OperatorProcess, installation: Installation, folder: Path
) -> None:
    standby = OperatorProcess(installation=installation, folder=folder, identity="operator-b")
    standby.start()
    waiting.until(
        lambda: "waiting for the lease" in standby.log.read_text(), "the standby stands by", seconds=60
    )
    runs.submit("taken-over", tiny_spec(16, shards=1))
    assert "leading" not in standby.log.read_text()
    killed = time.monotonic()
    operator.kill()
    standby.wait_until_leading(TAKEOVER_SECONDS + 5)
    assert time.monotonic() - killed <= TAKEOVER_SECONDS
    assert runs.wait_for_end("taken-over").phase is Phase.SUCCEEDED
    assert standby.stop() == 0
    operator.start()
    operator.wait_until_leading()
    runs.delete("taken-over", wait=False)


def test_an_operator_that_slept_through_its_lease_ends_itself(
    runs: Runs, operator: OperatorProcess, installation: Installation, folder: Path
) -> None:
    other = OperatorProcess(installation=installation, folder=folder, identity="operator-c")
    operator.send(signal.SIGSTOP)
    other.start()
    other.wait_until_leading(60)
    operator.send(signal.SIGCONT)
    assert operator._process is not None
    assert operator._process.wait(timeout=30) == 1
    assert other.stop() == 0
    operator.start()
    operator.wait_until_leading()


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
def test_a_signal_at_any_moment_of_its_start_ends_an_operator(
    installation: Installation, tmp_path: Path, operator: OperatorProcess, seconds: float
) -> None:
    """The seconds spread the signal over the start of a leader; which of its steps they meet does not matter."""
    assert operator.stop() == 0
    starting = OperatorProcess(installation=installation, folder=tmp_path, identity="operator-d")
    write_configuration(installation, tmp_path, profiles(installation))
    starting.start()
    starting.wait_until_leading()
    time.sleep(seconds)
    assert starting.stop() == 0
    operator.start()
    operator.wait_until_leading()


def test_a_changed_configuration_is_taken_up_and_a_broken_one_is_not(
    runs: Runs, installation: Installation, folder: Path, operator: OperatorProcess
) -> None:
    runs.submit("late-profile", tiny_spec(13, shards=1, profile="added-later"))
    runs.wait(
        "late-profile",
        lambda status: condition(status, ConditionType.ACCEPTED) == ("False", "NotConfigured"),
        "the missing profile is named",
    )
    (folder / "configuration.yaml").write_text("profiles: {}\n")
    waiting.until(
        lambda: "configuration in force is kept" in operator.log.read_text(), "it is refused", seconds=30
    )
    added = {"added-later": installation.profile()}
    write_configuration(installation, folder, profiles(installation) | added)
    assert runs.wait_for_end("late-profile").phase is Phase.SUCCEEDED
    runs.delete("late-profile", wait=False)


def test_connections_that_fall_silent_delay_the_run_by_a_minute_or_two(
    runs: Runs, operator: OperatorProcess, installation: Installation, folder: Path
) -> None:
    layout = installation.cluster.layout
    assert operator.stop() == 0
    with running_silent_proxy((layout.host_address, 6443)) as proxy:
        behind = OperatorProcess(
            installation=installation,
            folder=folder,
            identity="operator-d",
            server=f"https://127.0.0.1:{proxy.port}",
        )
        behind.start()
        behind.wait_until_leading()
        runs.submit("goes-silent", tiny_spec(17, shards=1))
        runs.wait_for_stage(
            "goes-silent", GENERATE, StageState.STARTING, StageState.PENDING, StageState.RUNNING
        )
        assert proxy.silence() >= 3, "two informers and kopf follow the API server"
        assert runs.wait_for_end("goes-silent", seconds=240).phase is Phase.SUCCEEDED
        assert behind.stop() == 0
    operator.start()
    operator.wait_until_leading()
    runs.delete("goes-silent", wait=False)


# ---- the servers around it


def outage(cluster: Cluster, part: str, seconds: float) -> None:
    """Take a server away for some time."""
    cluster.stop(part)
    time.sleep(seconds)
    cluster.start(part)


def test_a_store_that_is_away_for_a_minute_delays_the_run_and_is_named(runs: Runs, slow_run: str) -> None:
    cluster = runs.installation.cluster
    cluster.stop("s3")
    try:
        runs.submit("without-a-store", tiny_spec(18, shards=1))
        runs.wait(
            "without-a-store",
            lambda status: condition(status, ConditionType.DEGRADED) == ("True", "StoreUnreachable"),
            "the store is named",
            seconds=60,
        )
        time.sleep(45)
    finally:
        cluster.start("s3")
    wait_for_generation(runs, slow_run, 240)
    assert runs.wait_for_end("without-a-store").phase is Phase.SUCCEEDED
    runs.delete("without-a-store", wait=False)


def test_an_api_server_that_is_away_for_a_minute_delays_the_run(
    runs: Runs, operator: OperatorProcess, slow_run: str
) -> None:
    outage(runs.installation.cluster, "kube-apiserver", 60)
    operator.restart_if_ended()
    wait_for_generation(runs, slow_run, 240)


def test_a_lost_machine_is_named_and_its_pods_are_replaced(runs: Runs, slow_run: str) -> None:
    cluster = runs.installation.cluster
    pod = first_pod(runs, slow_run)
    machine = pod["spec"]["nodeName"]
    cluster.kill_node(machine)
    try:
        wait_for_generation(runs, slow_run, 300)
        adopted(runs, slow_run, pod["metadata"]["uid"])
        stage = runs.stage(slow_run, GENERATE)
        assert stage.failures == 0
        assert stage.disruptions >= 1
    finally:
        cluster.start_node(machine)
