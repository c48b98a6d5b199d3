"""What the operator relies on of the Job controller; the fake and a real one must do the same.

The test plays the nodes: it binds pods, starts and ends them.
"""

from typing import Any

import pytest

from adapters.kubernetes_worlds import FakeWorld, World, job
from fake_kubernetes import job_parts
from scalequest_operator import cluster, errors
from scalequest_operator.cluster import EVENTS, JOBS, PODS


class Bench:
    """One Job and its pods."""

    def __init__(self, world: World, **spec: Any) -> None:
        self.world = world
        self.kubelet = world.kubelet
        self.made = world.api.create(JOBS, world.namespace, job(**spec))

    @property
    def job(self) -> cluster.Body:
        return self.world.api.get(JOBS, self.world.namespace, "one")

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.job["status"]
        return status

    def pods(self, index: int | None = None) -> list[cluster.Body]:
        return [pod for pod in self.kubelet.pods("one") if index in {None, job_parts.index_of(pod)}]

    def live(self, index: int) -> str:
        """Wait for the pod of an index that is to run, and return its name."""

        def found() -> list[str]:
            return [
                pod["metadata"]["name"]
                for pod in self.pods(index)
                if not job_parts.is_ended(pod) and not job_parts.is_terminating(pod)
            ]

        self.world.until(lambda: bool(found()), f"a pod of index {index}")
        return found()[0]

    def run(self, *indexes: int) -> list[str]:
        names = [self.live(index) for index in indexes]
        for name in names:
            self.kubelet.run(name)
        return names

    def until(self, what: str, **wanted: Any) -> None:
        """Wait until the status says so; a missing number is 0, a missing text is empty."""

        def holds() -> bool:
            status = self.status
            return all((status.get(name) or type(value)()) == value for name, value in wanted.items())

        self.world.until(holds, f"{what}: {wanted}")

    def until_condition(self, kind: str, reason: str) -> None:
        self.world.until(lambda: self.condition(kind).get("reason") == reason, f"{kind} {reason}")

    def condition(self, kind: str, status: str = "True") -> dict[str, Any]:
        found = job_parts.condition(self.status, kind) or {}
        return found if found.get("status") == status else {}

    def suspend(self, *, suspend: bool = True) -> None:
        operation = {"op": "replace", "path": "/spec/suspend", "value": suspend}
        self.world.api.patch(JOBS, self.world.namespace, "one", [operation])

    def replaced(self, index: int, old: str) -> cluster.Body:
        """Wait for another pod of an index than `old`."""
        self.world.until(lambda: self.live(index) != old, f"a new pod of index {index}")
        return self.kubelet.pod(self.live(index))


def counters(pod: cluster.Body) -> tuple[int, int]:
    return job_parts.counter(pod, job_parts.FAILURES), job_parts.counter(pod, job_parts.IGNORED)


def test_each_index_has_a_pod_that_says_where_it_belongs(world: World) -> None:
    bench = Bench(world)
    pods = [world.kubelet.pod(bench.live(index)) for index in (0, 1)]
    for index, pod in enumerate(pods):
        metadata = pod["metadata"]
        assert metadata["name"].startswith(f"one-{index}-")
        assert pod["spec"]["hostname"] == f"one-{index}"
        assert metadata["labels"]["app"] == "x"
        assert metadata["labels"]["batch.kubernetes.io/job-name"] == "one"
        assert metadata["labels"][job_parts.INDEX] == str(index)
        assert metadata["annotations"][job_parts.INDEX] == str(index)
        assert metadata["annotations"][job_parts.FAILURES] == "0"
        assert job_parts.TRACKING in metadata["finalizers"]
        [owner] = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Job", "one", True)
        assert owner["uid"] == bench.made["metadata"]["uid"]
        assert pod["status"]["phase"] == "Pending"
    bench.until("counted", active=2, ready=0)
    bench.run(0, 1)
    bench.until("ready", active=2, ready=2)
    assert bench.status["startTime"]


def test_defaults_of_a_stage_job(world: World) -> None:
    spec = Bench(world).made["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["backoffLimit"] == 2147483647
    assert spec["suspend"] is False


def test_no_more_pods_live_than_the_parallelism_allows(world: World) -> None:
    bench = Bench(world, completions=3, parallelism=1)
    [first] = bench.run(0)
    assert [job_parts.index_of(pod) for pod in bench.pods()] == [0]
    bench.kubelet.finish(first)
    bench.run(1)
    assert [job_parts.index_of(pod) for pod in bench.pods()] == [0, 1]


def test_a_job_is_complete_when_every_index_has_ended_well(world: World) -> None:
    bench = Bench(world)
    first, second = bench.run(0, 1)
    bench.kubelet.finish(second, message="done")
    bench.until("one index", completedIndexes="1", active=1, succeeded=1)
    bench.kubelet.finish(first)
    bench.until_condition("Complete", "CompletionsReached")
    assert bench.condition("SuccessCriteriaMet")["reason"] == "CompletionsReached"
    assert (bench.status["completedIndexes"], bench.status["succeeded"]) == ("0,1", 2)
    assert bench.status["completionTime"]
    pod = bench.kubelet.pod(second)
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "done"
    assert "finalizers" not in pod["metadata"]


def test_three_indexes_in_a_row_are_written_as_a_range(world: World) -> None:
    bench = Bench(world, completions=4, parallelism=4)
    for name in bench.run(0, 1, 2):
        bench.kubelet.finish(name)
    bench.until("a range", completedIndexes="0-2")


def test_a_failed_index_is_tried_again_after_a_while_with_its_failures_counted(world: World) -> None:
    bench = Bench(world)
    first, _ = bench.run(0, 1)
    bench.kubelet.finish(first, 1)
    bench.until("less active", active=1)
    held = bench.kubelet.pod(first)
    assert job_parts.is_tracked(held), "it carries the count until the next pod does"
    assert bench.status.get("failed", 0) == 0
    pod = bench.replaced(0, first)
    assert counters(pod) == (1, 0)
    started = job_parts.moment(pod["metadata"]["creationTimestamp"])
    assert 10 <= started - job_parts.finished_at(held) < 15
    bench.until("counted", failed=1, active=2)
    world.until(lambda: not job_parts.is_tracked(bench.kubelet.pod(first)), "the old pod to be let go")


def test_an_index_out_of_tries_fails_and_the_others_go_on_before_the_job_fails(world: World) -> None:
    bench = Bench(world, backoffLimitPerIndex=0)
    first, second = bench.run(0, 1)
    bench.kubelet.finish(first, 137, reason="OOMKilled")
    bench.until("a failed index", failedIndexes="0", failed=1, active=1)
    assert not bench.condition("FailureTarget")
    bench.kubelet.finish(second)
    bench.until_condition("Failed", "FailedIndexes")
    assert (bench.status["completedIndexes"], bench.status["failedIndexes"]) == ("1", "0")
    assert "completionTime" not in bench.status


def test_an_exit_code_of_the_policy_ends_the_job_at_once(world: World) -> None:
    bench = Bench(world)
    first, second = bench.run(0, 1)
    bench.kubelet.finish(first, 64)
    bench.until_condition("FailureTarget", "PodFailurePolicy")
    bench.until("the other is being ended", active=0, terminating=1, failed=2)
    assert not bench.condition("Failed"), "not before every pod has ended"
    bench.kubelet.finish(second, 75)
    bench.until_condition("Failed", "PodFailurePolicy")
    message = bench.condition("Failed")["message"]
    place = f"{world.namespace}/{first}"
    assert (
        message
        == f"Container worker for pod {place} failed with exit code 64 matching FailJob rule at index 1"
    )


def test_a_disrupted_pod_is_replaced_after_it_has_ended_and_spends_no_try(world: World) -> None:
    bench = Bench(world, backoffLimitPerIndex=0)
    first, _ = bench.run(0, 1)
    bench.kubelet.disrupt(first)
    bench.until("ending", terminating=1, active=1)
    assert len(bench.pods(0)) == 1, "not replaced while it may still work"
    bench.kubelet.finish(first, 75)
    pod = bench.replaced(0, first)
    assert counters(pod) == (0, 1)
    bench.until("not counted", failed=0, failedIndexes="")


def test_a_pod_that_is_deleted_by_hand_spends_a_try(world: World) -> None:
    bench = Bench(world, backoffLimitPerIndex=0)
    first, _ = bench.run(0, 1)
    bench.kubelet.delete(first)
    bench.until("ending", terminating=1)
    bench.kubelet.finish(first, 143)
    bench.until("counted", failed=1, failedIndexes="0", terminating=0)
    world.until(lambda: bench.pods(0) == [], "the pod to go")


def test_a_pod_that_is_deleted_before_it_had_a_node_fails_without_one(world: World) -> None:
    bench = Bench(world, backoffLimitPerIndex=0)
    first = bench.live(0)
    bench.kubelet.delete(first)
    bench.until("counted", failed=1, failedIndexes="0")


def test_a_pod_that_catches_its_end_and_exits_well_completes_its_index(world: World) -> None:
    bench = Bench(world)
    first, _ = bench.run(0, 1)
    bench.kubelet.disrupt(first)
    bench.kubelet.finish(first, 0)
    bench.until("completed", completedIndexes="0", succeeded=1)


def test_a_pod_on_a_lost_node_stalls_its_index_until_it_is_marked_failed(world: World) -> None:
    bench = Bench(world, backoffLimitPerIndex=0)
    first, _ = bench.run(0, 1)
    bench.kubelet.disrupt(first, "DeletionByTaintManager")
    bench.kubelet.delete_by_force(first)
    bench.until("stalled", terminating=1, active=1)
    assert job_parts.is_tracked(bench.kubelet.pod(first)), "deleting by force does not help"
    status = bench.kubelet.pod(first)["status"] | {"phase": "Failed"}
    operation = {"op": "replace", "path": "/status", "value": status}
    world.api.patch(PODS, world.namespace, first, [operation], subresource="status")
    pod = bench.replaced(0, first)
    assert counters(pod) == (0, 1)
    bench.until("not counted", failed=0, failedIndexes="", terminating=0, active=2)


def test_suspending_keeps_what_is_complete_and_counts_no_failure(world: World) -> None:
    bench = Bench(world, backoffLimitPerIndex=0)
    first, second = bench.run(0, 1)
    bench.kubelet.finish(first)
    bench.until("one index", completedIndexes="0")
    bench.suspend()
    bench.until_condition("Suspended", "JobSuspended")
    bench.until("ending", terminating=1, active=0)
    assert "startTime" not in bench.status
    bench.kubelet.finish(second, 75)
    world.until(lambda: bench.pods(1) == [], "the pod to go")
    bench.until("kept", completedIndexes="0", failed=0, failedIndexes="", terminating=0)
    bench.suspend(suspend=False)
    assert bench.replaced(1, second)
    world.until(lambda: bench.condition("Suspended", "False").get("reason") == "JobResumed", "to be resumed")
    assert bench.status["startTime"]
    assert bench.pods(0)[0]["metadata"]["name"] == first


def test_a_job_that_is_born_suspended_has_no_pod(world: World) -> None:
    bench = Bench(world, suspend=True)
    bench.until_condition("Suspended", "JobSuspended")
    assert bench.pods() == []
    assert "startTime" not in bench.status


def test_the_deadline_ends_the_job_without_the_operator(world: World) -> None:
    bench = Bench(world, activeDeadlineSeconds=2)
    [first] = bench.run(0)
    bench.until_condition("FailureTarget", "DeadlineExceeded")
    bench.until("ending", active=0, terminating=1)
    bench.kubelet.finish(first, 75)
    bench.until_condition("Failed", "DeadlineExceeded")


def test_the_deadline_of_a_running_job_can_be_moved_both_ways(world: World) -> None:
    bench = Bench(world, activeDeadlineSeconds=3000)
    bench.run(0, 1)
    for seconds in (4000, 1):
        operation = {"op": "replace", "path": "/spec/activeDeadlineSeconds", "value": seconds}
        world.api.patch(JOBS, world.namespace, "one", [operation])
    bench.until_condition("FailureTarget", "DeadlineExceeded")


def test_deleting_a_job_ends_its_pods_and_lets_them_go(world: World) -> None:
    bench = Bench(world)
    first, *_ = bench.run(0)
    bench.live(1)
    world.api.delete(JOBS, world.namespace, "one", uid=bench.made["metadata"]["uid"])
    world.until(lambda: [p["metadata"]["name"] for p in bench.pods()] == [first], "the pending pod to go")
    world.until(lambda: job_parts.is_terminating(bench.kubelet.pod(first)), "the other to be asked to end")
    bench.kubelet.finish(first, 75)
    world.until(lambda: bench.pods() == [], "it to go")


def test_a_finalizer_in_the_template_keeps_a_finished_pod_without_its_job(world: World) -> None:
    bench = Bench(world, finalizers=("scalequest.io/accounting",))
    for name in bench.run(0, 1):
        bench.kubelet.finish(name, message="done")
    bench.until_condition("Complete", "CompletionsReached")
    world.api.delete(JOBS, world.namespace, "one", uid=bench.made["metadata"]["uid"])
    world.until(lambda: all(job_parts.is_terminating(pod) for pod in bench.pods()), "the pods to be deleted")
    [first, second] = bench.pods()
    for pod in (first, second):
        assert pod["metadata"]["finalizers"] == ["scalequest.io/accounting"]
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "done"
        operation = {"op": "remove", "path": "/metadata/finalizers"}
        world.api.patch(PODS, world.namespace, pod["metadata"]["name"], [operation])
    world.until(lambda: bench.pods() == [], "the pods to go")


def test_a_finished_job_goes_after_its_time_and_its_pods_with_it(world: World) -> None:
    bench = Bench(world, ttlSecondsAfterFinished=2)
    for name in bench.run(0, 1):
        bench.kubelet.finish(name)

    def is_gone() -> bool:
        try:
            return not bench.job
        except errors.NotFoundError:
            return True

    world.until(is_gone, "the Job to go")
    world.until(lambda: bench.pods() == [], "the pods to go")


def test_what_a_quota_forbids_is_told_by_an_event_of_the_job(world: World) -> None:
    words = forbid_pods(world)
    bench = Bench(world)
    uid = bench.made["metadata"]["uid"]

    def told() -> list[cluster.Body]:
        selector = "involvedObject.name=one"
        return list(world.api.list(EVENTS, world.namespace, field_selector=selector).items)

    world.until(lambda: bool(told()), "an event")
    event = told()[0]
    assert (event["type"], event["reason"]) == ("Warning", "FailedCreate")
    assert event["message"].startswith("Error creating: ")
    assert words in event["message"]
    assert event["involvedObject"]["uid"] == uid
    bench.until("no pod", active=0, failed=0)
    assert bench.pods() == []


def forbid_pods(world: World) -> str:
    """Allow no pod in the namespace; return the words in which a pod is refused."""
    if isinstance(world, FakeWorld):
        world.jobs.refusal = 'pods "one-0-x" is forbidden: exceeded quota: none'
    else:
        quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
        core = world.plane.core  # type: ignore[attr-defined]
        core.create_namespaced_resource_quota(world.namespace, quota)
        world.until(
            lambda: bool(core.read_namespaced_resource_quota("none", world.namespace).status.hard),
            "the quota to hold",
        )
    return "exceeded quota: none"


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (50, 600)]
)
def test_the_wait_before_another_try_doubles_up_to_ten_minutes(failures: int, seconds: int) -> None:
    assert job_parts.backoff_seconds(failures) == seconds


def test_ranges_are_read_as_they_are_written() -> None:
    for indexes in ({0}, {0, 1}, {0, 1, 2}, {1, 3, 4, 5, 7}, set[int](), set(range(100)) - {50}):
        assert job_parts.parse_ranges(job_parts.ranges(indexes)) == indexes
    assert job_parts.ranges({1, 3, 4, 5, 7}) == "1,3-5,7"
