"""One round of the Job controller for one Job: from what is there to what is done about it. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fake_kubernetes import job_parts, wire
from fake_kubernetes.store import moment, timestamp
from scalequest_operator import cluster

_MESSAGES = {
    "DeadlineExceeded": "Job was active longer than specified deadline",
    "FailedIndexes": "Job has failed indexes",
    "MaxFailedIndexesExceeded": "Job has exceeded the specified maximal number of failed indexes",
    "CompletionsReached": "Reached expected number of succeeded pods",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed pod that is not yet counted. `failures` and `ignored` are those of its index, this one included."""

    pod: cluster.Body
    index: int
    action: str
    message: str
    failures: int
    ignored: int


@dataclass(kw_only=True)
class Sync:
    """Counts ended pods, judges the Job, and says which pods to delete, to release and to create.

    A failed pod keeps the controller's finalizer, uncounted, until its index has a new pod or needs none: the new
    one's failure count is read from the old one's.
    """

    job: cluster.Body
    pods: Sequence[cluster.Body]
    now: float
    to_delete: list[cluster.Body] = field(default_factory=list)
    to_release: list[cluster.Body] = field(default_factory=list)
    to_create: list[cluster.Body] = field(default_factory=list)
    next_due: float | None = None

    def __post_init__(self) -> None:
        self.spec = self.job["spec"]
        if self.spec["completionMode"] != "Indexed" or "backoffLimitPerIndex" not in self.spec:
            raise NotImplementedError("the model knows Indexed Jobs with backoffLimitPerIndex only")
        self._status = wire.copied(self.job.get("status", {}))
        self._completed = job_parts.parse_ranges(self._status.get("completedIndexes", ""))
        self._failed_indexes = job_parts.parse_ranges(self._status.get("failedIndexes", ""))
        self._failed = self._status.get("failed", 0)

    @property
    def is_suspended(self) -> bool:
        return bool(self.spec["suspend"])

    @property
    def verdict(self) -> str:
        """The reason why the Job is over, though pods may still be ending; empty when it is not."""
        for kind in ("FailureTarget", "SuccessCriteriaMet"):
            if found := job_parts.condition(self._status, kind):
                return str(found["reason"])
        return ""

    def decide(self) -> None:
        self._count_successes()
        failures = list(self._failures())
        self._note_start()
        self._judge(failures)
        self._stop_active()
        self._count_failures(failures)
        if not (self.verdict or self.is_suspended or "deletionTimestamp" in self.job["metadata"]):
            self._start_pods(failures)

    def status(self, pods: Sequence[cluster.Body]) -> dict[str, Any]:
        """Return the Job's new status, given the pods as they are now."""
        alive = [pod for pod in pods if not job_parts.is_ended(pod)]
        active = [pod for pod in alive if not job_parts.is_terminating(pod)]
        numbers = {
            "active": len(active),
            "failed": self._failed,
            "succeeded": len(self._completed),
            "completedIndexes": job_parts.ranges(self._completed),
        }
        status = {name: value for name, value in self._status.items() if name not in numbers}
        status |= {name: value for name, value in numbers.items() if value}
        status |= {
            "terminating": len(alive) - len(active),
            "ready": sum(1 for pod in active if pod["status"]["phase"] == "Running"),
            "failedIndexes": job_parts.ranges(self._failed_indexes),
            "uncountedTerminatedPods": {},
        }
        if self.verdict and not alive:
            kind = "Complete" if self.verdict == "CompletionsReached" else "Failed"
            target = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
            self._set_condition(status, kind, "True", self.verdict, self._message(target))
            if kind == "Complete":
                status["completionTime"] = timestamp(self.now)
        return status

    def _count_successes(self) -> None:
        for pod in self.pods:
            if job_parts.is_tracked(pod) and pod["status"]["phase"] == "Succeeded":
                self._completed.add(job_parts.index_of(pod))
                self.to_release.append(pod)

    def _failures(self) -> Iterator[Failure]:
        limit = self.spec["backoffLimitPerIndex"]
        for pod in self.pods:
            if not job_parts.is_tracked(pod) or pod["status"]["phase"] != "Failed":
                continue
            action, message = job_parts.action(self.job, pod)
            failure = Failure(
                pod=pod,
                index=job_parts.index_of(pod),
                action=action,
                message=message,
                failures=job_parts.counter(pod, job_parts.FAILURES) + (action != "Ignore"),
                ignored=job_parts.counter(pod, job_parts.IGNORED) + (action == "Ignore"),
            )
            if action == "FailIndex" or failure.failures > limit:
                self._failed_indexes.add(failure.index)
            yield failure

    def _note_start(self) -> None:
        held = job_parts.condition(self._status, "Suspended")
        if self.is_suspended and (held is None or held["status"] == "False"):
            self._set_condition(self._status, "Suspended", "True", "JobSuspended", "Job suspended")
            self._status.pop("startTime", None)
        elif not self.is_suspended and held is not None and held["status"] == "True":
            self._set_condition(self._status, "Suspended", "False", "JobResumed", "Job resumed")
        if not self.is_suspended:
            self._status.setdefault("startTime", timestamp(self.now))

    def _judge(self, failures: Sequence[Failure]) -> None:
        if self.verdict:
            return
        for failure in failures:
            if failure.action == "FailJob":
                self._end("PodFailurePolicy", failure.message)
                return
        if self._is_late():
            self._end("DeadlineExceeded")
        elif len(self._failed_indexes) > self.spec.get("maxFailedIndexes", self.spec["completions"]):
            self._end("MaxFailedIndexesExceeded")
        elif len(self._completed | self._failed_indexes) == self.spec["completions"]:
            self._end("FailedIndexes" if self._failed_indexes else "CompletionsReached")

    def _is_late(self) -> bool:
        seconds, start = self.spec.get("activeDeadlineSeconds"), self._status.get("startTime")
        if seconds is None or start is None:
            return False
        deadline = moment(start) + seconds
        self._wake_at(deadline)
        return bool(self.now >= deadline)

    def _end(self, reason: str, message: str = "") -> None:
        kind = "SuccessCriteriaMet" if reason == "CompletionsReached" else "FailureTarget"
        self._set_condition(self._status, kind, "True", reason, message or _MESSAGES[reason])

    def _stop_active(self) -> None:
        """Delete what runs when the Job is over or suspended. Only in the first case it counts as failed."""
        if not (self.verdict or self.is_suspended):
            return
        for pod in self.pods:
            if job_parts.is_ended(pod):
                continue
            if not job_parts.is_terminating(pod):
                self.to_delete.append(pod)
            if job_parts.is_tracked(pod):
                self.to_release.append(pod)
                self._failed += bool(self.verdict)

    def _count_failures(self, failures: Sequence[Failure]) -> None:
        finished = self._completed | self._failed_indexes
        for failure in failures:
            if self.verdict or failure.index in finished or self._is_replaced(failure):
                self.to_release.append(failure.pod)
                self._failed += failure.action != "Ignore"

    def _is_replaced(self, failure: Failure) -> bool:
        tries = failure.failures + failure.ignored
        return any(
            job_parts.index_of(pod) == failure.index and job_parts.tries(pod) >= tries for pod in self.pods
        )

    def _start_pods(self, failures: Sequence[Failure]) -> None:
        alive = [pod for pod in self.pods if not job_parts.is_ended(pod)]
        taken = self._completed | self._failed_indexes | {job_parts.index_of(pod) for pod in alive}
        last = {failure.index: failure for failure in failures if not self._is_replaced(failure)}
        for index in range(self.spec["completions"]):
            if len(alive) + len(self.to_create) >= self.spec["parallelism"]:
                return
            if index not in taken and self._is_due(last.get(index)):
                self.to_create.append(self._pod(index, last.get(index)))

    def _is_due(self, last: Failure | None) -> bool:
        if last is None:
            return True
        due = job_parts.finished_at(last.pod) + job_parts.backoff_seconds(last.failures + last.ignored)
        if self.now >= due:
            return True
        self._wake_at(due)
        return False

    def _pod(self, index: int, last: Failure | None) -> cluster.Body:
        failures, ignored = (last.failures, last.ignored) if last else (0, 0)
        return job_parts.pod_of(self.job, index, failures, ignored)

    def _wake_at(self, due: float) -> None:
        self.next_due = due if self.next_due is None else min(self.next_due, due)

    def _message(self, kind: str) -> str:
        found = job_parts.condition(self._status, kind)
        return str(found["message"]) if found else ""

    def _set_condition(
        self, status: dict[str, Any], kind: str, value: str, reason: str, message: str
    ) -> None:
        kept = [each for each in status.get("conditions", []) if each["type"] != kind]
        now = timestamp(self.now)
        new = {"type": kind, "status": value, "reason": reason, "message": message}
        status["conditions"] = [*kept, new | {"lastProbeTime": now, "lastTransitionTime": now}]
