"""One seeded schedule: whole runs on a fake cluster, while everything that can go wrong does, one step at a time."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import builders
from fake_kubernetes.api import Call
from fake_kubernetes.store import Place
from fake_kubernetes.world import NAMESPACE, World
from operator_builders import configuration_document
from scalequest_jobs import ports
from scalequest_jobs.contract import names
from scalequest_jobs.contract.launch import Termination
from scalequest_jobs.contract.status import ConditionType, RunStatus
from scalequest_operator import cluster, errors
from scalequest_operator.configuration import Configuration
from scalequest_operator.workqueue import RunKey
from schedules.bucket import CHUNKS_PER_SHARD, Bucket, Workers
from schedules.invariants import BrokenError, Invariants, key_of
from schedules.operator_process import CrashError, Operator

RUN: Final = "run"
STRANGER: Final = "00000000-0000-4000-8000-00000000dead"
"""UID of an earlier run of the same name, whose Job is still there."""

QUIET_STEPS: Final = 600

CONFIGURED: Final = Configuration.model_validate(configuration_document(jobTtlSeconds=600))
QUEUED: Final = Configuration.model_validate(configuration_document(jobTtlSeconds=600, queue="gpus"))
OTHER_IMAGE: Final = Configuration.model_validate(
    configuration_document(
        jobTtlSeconds=600,
        roles={role: {"image": f"other/{role}"} for role in ("cpu", "train", "generate", "score")},
    )
)
WITHOUT_PROFILE: Final = Configuration.model_validate(
    {**configuration_document(), "profiles": {"other": configuration_document()["profiles"]["default"]}}
)


@dataclass(frozen=True, kw_only=True)
class Risks:
    """How likely what is, at each call of an operator or each change on a watch."""

    crash: float = 0.0
    refuse: float = 0.0
    lose_answer: float = 0.0
    interleave: float = 0.0
    lose_event: float = 0.0
    repeat_event: float = 0.0
    bucket: float = 0.0


def draw_risks(rng: random.Random) -> Risks:
    """Draw a mood: most schedules have a few kinds of faults, some have many."""

    def some(likely: float) -> float:
        return likely * rng.random() if rng.random() < 0.5 else 0.0

    return Risks(
        crash=some(0.06),
        refuse=some(0.15),
        lose_answer=some(0.15),
        interleave=some(0.3),
        lose_event=some(0.3),
        repeat_event=some(0.3),
        bucket=some(0.15),
    )


class Schedule:
    """A world and a random order of what happens in it. Same seed, same schedule.

    `risks` and `num_operators` are drawn unless they are given.
    """

    def __init__(self, seed: int, *, risks: Risks | None = None, num_operators: int | None = None) -> None:
        self.rng = random.Random(seed)
        self.world = World()
        self.bucket = Bucket()
        self.workers = Workers(self.bucket)
        self.risks = risks or draw_risks(self.rng)
        self.configuration = CONFIGURED
        self.lost: set[str] = set()
        self.trace: list[str] = []
        self._busy: list[Operator] = []
        self.bucket.on_call = self._bucket_called
        num_operators = num_operators or self.rng.choices((1, 2), (6, 4))[0]
        self.operators = [self._operator() for _ in range(num_operators)]
        self.invariants = Invariants(
            store=self.world.store, bucket=self.bucket, is_alone=len(self.operators) == 1
        )
        self._create_stranger()
        self._create_run()

    # ---- the whole

    def run(self, steps: int) -> None:
        """Let `steps` things happen, then stop all faults and see where the run ends."""
        for _ in range(steps):
            self.step()
        self._calm_down()
        self._be_quiet()
        self._check_end()

    def step(self) -> None:
        """Let one thing happen, drawn at random."""
        action = self.rng.choices(self._ACTIONS, self._WEIGHTS)[0]
        self.trace.append(action.__name__)
        action(self)
        self.invariants.check()

    # ---- operators

    def _operator(self) -> Operator:
        operator = Operator(
            store=self.world.store,
            clock=self.world.clock,
            rng=self.rng,
            configuration=lambda: self.configuration,
            bucket=self.bucket,
            on_call=self._called,
        )
        operator.api.disturb = self._arrivals  # type: ignore[method-assign]
        return operator

    def _arrivals(self) -> int:
        if self.rng.random() < self.risks.lose_event:
            return 0
        return 2 if self.rng.random() < self.risks.repeat_event else 1

    def _called(self, call: Call, done: bool) -> None:  # noqa: FBT001 - a hook's signature
        self._maybe_crash(call.verb)
        likely = self.risks.lose_answer if done else self.risks.refuse
        if call.verb != "watch" and self.rng.random() < likely:
            raise errors.UnavailableError(f"{call.verb} {call.resource.plural}: no answer")
        self._interleave()

    def _bucket_called(self) -> None:
        if not self._busy:
            return
        self._maybe_crash("bucket")
        if self.rng.random() < self.risks.bucket:
            raise ports.TryAgainError("the bucket did not answer")
        self._interleave()

    def _maybe_crash(self, where: str) -> None:
        if self.rng.random() < self.risks.crash:
            self.trace.append(f"crash at {where}")
            raise CrashError

    def _interleave(self) -> None:
        """Let something else happen in the middle of an operator's work: another operator's, a user's, a kubelet's."""
        if len(self._busy) == 1 and self.rng.random() < self.risks.interleave:
            for _ in range(self.rng.randint(1, 3)):
                self.step()

    def _idle(self) -> list[int]:
        return [number for number, operator in enumerate(self.operators) if operator not in self._busy]

    @contextmanager
    def _at_work(self, number: int) -> Iterator[Operator]:
        operator = self.operators[number]
        self._busy.append(operator)
        try:
            yield operator
        except CrashError:
            self.operators[number] = self._operator()
        finally:
            self._busy.remove(operator)

    def _let_operator(self, act: Callable[[Operator], Any]) -> None:
        if idle := self._idle():
            with self._at_work(self.rng.choice(idle)) as operator:
                act(operator)

    def reconcile(self) -> None:
        self._let_operator(Operator.work)

    def follow_runs(self) -> None:
        self._let_operator(lambda operator: operator.follow_runs(lambda: self._arrivals() > 0))

    def follow_children(self) -> None:
        self._let_operator(lambda operator: self.rng.choice(operator.informers).step())

    def restart(self) -> None:
        if idle := self._idle():
            self.operators[self.rng.choice(idle)] = self._operator()

    def forget_history(self) -> None:
        self.world.store.compact()
        self.invariants.seen = max(self.invariants.seen, self.world.store.version)

    # ---- controllers, kubelets, machines

    def control(self) -> None:
        self.world.settle()

    def _pods(self, *phases: str) -> list[cluster.Body]:
        return self.world.store.all(
            "pods",
            where=lambda pod: (
                pod["status"]["phase"] in phases and pod["spec"].get("nodeName") not in self.lost
            ),
        )

    def start_pod(self) -> None:
        pods = [pod for pod in self._pods("Pending") if "deletionTimestamp" not in pod["metadata"]]
        if pods:
            name = self.rng.choice(pods)["metadata"]["name"]
            healthy = [node for node in ("node-1", "node-2", "node-3") if node not in self.lost]
            self.world.kubelet.bind(name, self.rng.choice(healthy))
            self.world.kubelet.run(name)

    def finish_pod(self) -> None:
        if pods := self._pods("Running"):
            self._finish(self.rng.choice(pods), chunks=CHUNKS_PER_SHARD)

    def fail_pod(self) -> None:
        if pods := self._pods("Running"):
            pod = self.rng.choice(pods)
            self._finish(
                pod, chunks=1, exit_code=self.rng.choices((75, 137, 1, 64, 65, 0), (6, 4, 3, 1, 1, 1))[0]
            )

    def _finish(self, pod: cluster.Body, *, chunks: int, exit_code: int = 75) -> None:
        """End a pod: with its manifest when its shard is done, else with `exit_code`; 0 lies."""
        try:
            words = self.workers.work(pod, chunks)
        except ports.TryAgainError:
            words = None
        except ports.BadInputError as error:
            raise BrokenError(f"a worker found no order: {error}") from error
        name = pod["metadata"]["name"]
        if words is not None:
            self.world.kubelet.finish(name, 0, message=words.encode())
        else:
            message = Termination(error="TryAgainError", message="stopped").encode()
            self.world.kubelet.finish(name, exit_code, message=message)

    def evict_pod(self) -> None:
        if pods := self._pods("Running", "Pending"):
            self.world.kubelet.disrupt(self.rng.choice(pods)["metadata"]["name"])

    def delete_pod(self) -> None:
        if pods := self._pods("Running", "Pending", "Failed", "Succeeded"):
            name = self.rng.choice(pods)["metadata"]["name"]
            self.rng.choice((self.world.kubelet.delete, self.world.kubelet.delete_by_force))(name)

    def lose_machine(self) -> None:
        if len(self.lost) < 2 and (pods := self._pods("Running")):
            self.lost.add(self.rng.choice(pods)["spec"]["nodeName"])

    def taint_lost_machines(self) -> None:
        """What the node controller does to pods on machines that it hears nothing of."""
        for pod in self.world.store.all("pods"):
            on_lost = pod["spec"].get("nodeName") in self.lost
            if on_lost and "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running":
                self.world.kubelet.disrupt(pod["metadata"]["name"], "DeletionByTaintManager")

    def regain_machine(self) -> None:
        if self.lost:
            self.lost.discard(self.rng.choice(sorted(self.lost)))

    def delete_job(self) -> None:
        if jobs := [job for job in self.world.store.all("jobs") if job["metadata"]["uid"] != self._stranger]:
            place = Place(plural="jobs", namespace=NAMESPACE, name=self.rng.choice(jobs)["metadata"]["name"])
            self.world.store.delete(place)

    def admit_jobs(self) -> None:
        """What a queue does: let suspended Jobs in, and put admitted ones out again."""
        for job in self.world.store.all("jobs"):
            if names.Label.QUEUE in job["metadata"]["labels"]:
                suspend = self.rng.random() < 0.2 and not self._is_calm
                place = Place(plural="jobs", namespace=NAMESPACE, name=job["metadata"]["name"])
                self.world.store.update(place, lambda body, to=suspend: body["spec"].update(suspend=to))

    def pass_time(self) -> None:
        self.world.clock.advance(self.rng.choice((1.0, 5.0, 12.0, 40.0, 130.0, 700.0)))

    def switch_bucket(self) -> None:
        self.bucket.is_down = not self.bucket.is_down

    def change_configuration(self) -> None:
        self.configuration = self.rng.choice((CONFIGURED, CONFIGURED, QUEUED, OTHER_IMAGE, WITHOUT_PROFILE))

    # ---- users

    def _create_run(self) -> None:
        stages = {"generate-questions": {"shards": 2}}
        document = builders.run_document(
            compute={"stages": stages},
            fineTuning=None,
            preference=None,
            retries={"failures": 2, "disruptions": self.rng.choice(("unlimited", "unlimited", 0, 1, 3))},
        )
        document["metadata"] = {"name": RUN, "namespace": NAMESPACE}
        if self.rng.random() < 0.1:
            document["spec"]["activeDeadlineSeconds"] = self.rng.choice((60, 900))
        self.world.api.create(cluster.RUNS, NAMESPACE, document)

    def _create_stranger(self) -> None:
        """A Job of an earlier run of the same name; nobody but its owner may touch it."""
        labels = names.labels(run=RUN, run_uid=STRANGER, stage="fetch-model", role="cpu", attempt=1)
        body = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": "stranger",
                "labels": labels,
                "annotations": {names.Annotation.NODE.value: "fetch-model@writer"},
            },
            "spec": {
                "completionMode": "Indexed",
                "completions": 1,
                "suspend": True,
                "backoffLimitPerIndex": 0,
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "worker"}]}},
            },
        }
        self._stranger = self.world.api.create(cluster.JOBS, NAMESPACE, body)["metadata"]["uid"]

    def _run(self) -> cluster.Body | None:
        return self.world.store.find(Place(plural=cluster.RUNS.plural, namespace=NAMESPACE, name=RUN))

    def _edit(self, **spec: Any) -> None:
        if self._run() is not None:
            place = Place(plural=cluster.RUNS.plural, namespace=NAMESPACE, name=RUN)
            self.world.store.update(place, lambda body: body["spec"].update(spec))

    def suspend(self) -> None:
        self._edit(suspend=True)

    def resume(self) -> None:
        self._edit(suspend=False)

    def cancel(self) -> None:
        self._edit(cancel=True)

    def allow_more(self) -> None:
        self._edit(retries={"failures": 5, "disruptions": "unlimited"}, activeDeadlineSeconds=7200)

    def delete_run(self) -> None:
        self.world.store.delete(Place(plural=cluster.RUNS.plural, namespace=NAMESPACE, name=RUN))

    def create_run_again(self) -> None:
        if self._run() is None:
            self._create_run()

    # ---- quiet

    _is_calm = False
    _is_restarted = False

    def _calm_down(self) -> None:
        """Stop all faults; one operator leads. Lost machines stay lost, and only an operator ends their pods."""
        self._is_calm = True
        self._is_restarted = self.rng.random() < 0.5
        self.operators = [self._operator() if self._is_restarted else self.rng.choice(self.operators)]
        self.risks = Risks()
        self.bucket.is_down = False
        self.configuration = CONFIGURED
        self.taint_lost_machines()
        if self.rng.random() < 0.8:
            self.resume()

    def _be_quiet(self) -> None:
        for _ in range(QUIET_STEPS):
            before = self.world.store.version
            self._do_everything()
            self.invariants.check()
            if self.world.store.version == before:
                self._check_strays()
                if self._is_settled():
                    return
                self._sleep()
        raise BrokenError(f"no end and no reason: {self._describe()}")

    def _do_everything(self) -> None:
        self.world.settle()
        self.admit_jobs()
        while pods := [pod for pod in self._pods("Pending") if "deletionTimestamp" not in pod["metadata"]]:
            self.world.kubelet.bind(pods[0]["metadata"]["name"], "node-4")
            self.world.kubelet.run(pods[0]["metadata"]["name"])
        for pod in self._pods("Running"):
            self._finish(pod, chunks=CHUNKS_PER_SHARD)
        for number in range(len(self.operators)):
            with self._at_work(number) as operator:
                operator.follow_runs()
                for informer in operator.informers:
                    informer.step()
                while operator.work():
                    pass

    def _sleep(self) -> None:
        """Let time pass until somebody has something to do."""
        now = self.world.clock.monotonic()
        due = [operator.next_due() for operator in self.operators]
        if self.world.jobs.next_due is not None:
            due.append(now + self.world.jobs.next_due - self.world.clock.wall())
        self.world.clock.advance(max(0.5, min(due) - now))

    def status(self) -> RunStatus | None:
        """Return the run's status; None when there is no run."""
        run = self._run()
        return None if run is None else RunStatus.model_validate(run.get("status") or {})

    def _check_strays(self) -> None:
        """An operator that has seen everything and has nothing to do leaves no Job that no stage names."""
        status = self.status()
        if status is None or not self._is_restarted:
            return
        for job in self.unfinished():
            stage = status.stage_of(key_of(job)[1])
            if not stage.state.is_active or stage.job != job["metadata"]["name"]:
                raise BrokenError(f"no stage names the Job {job['metadata']['name']}, and it goes on")

    def unfinished(self) -> list[cluster.Body]:
        """Return the runs' own Jobs that hold or want resources."""
        self.invariants.check()
        return [job for job in self.invariants.unfinished() if job["metadata"]["uid"] != self._stranger]

    def _is_settled(self) -> bool:
        """Tell whether the run has come to its end, or waits for its user, and holds nothing."""
        held = self.unfinished()
        status = self.status()
        if status is None or status.finished is not None:
            return not held
        suspended = status.condition(ConditionType.SUSPENDED)
        return suspended is not None and suspended.status == "True" and not self._pods("Running", "Pending")

    def _check_end(self) -> None:
        if self._stranger not in self.invariants.jobs:
            raise BrokenError("another run's Job was deleted")
        limit = 10 + 3 * self.invariants.status_writes
        if self.invariants.events > limit:
            raise BrokenError(
                f"{self.invariants.events} events for {self.invariants.status_writes} status writes"
            )
        (operator,) = self.operators
        for looks in range(3):
            before = self.world.store.version
            operator.queue.add(RunKey(namespace=NAMESPACE, name=RUN))
            operator.work()
            if looks and self.world.store.version != before:
                raise BrokenError("a run at rest is written again")

    def _describe(self) -> str:
        run = self._run()
        return f"{None if run is None else run.get('status')}"

    _ACTIONS: tuple[Callable[["Schedule"], None], ...] = (
        reconcile, follow_children, follow_runs, control, start_pod, finish_pod, fail_pod, pass_time,
        evict_pod, delete_pod, lose_machine, taint_lost_machines, regain_machine, delete_job, admit_jobs,
        switch_bucket, change_configuration, restart, forget_history,
        suspend, resume, cancel, allow_more, delete_run, create_run_again,
    )  # fmt: skip
    _WEIGHTS = (
        30, 30, 8, 16, 14, 10, 4, 10,
        2, 1, 0.7, 2, 0.7, 1, 2,
        0.7, 0.7, 0.5, 0.5,
        0.8, 2, 0.2, 0.3, 0.5, 2,
    )  # fmt: skip
