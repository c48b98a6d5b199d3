"""What planning works on, for tests: every default valid, only what a test is about is named."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import builders
from scalequest_jobs import catalog
from scalequest_jobs.contract import names
from scalequest_jobs.contract.artifact import ArtifactRef, Counts
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Role
from scalequest_jobs.contract.status import (
    Artifact,
    ConditionType,
    RunStatus,
    Shards,
    StageState,
    StageStatus,
)
from scalequest_operator.configuration import Configuration, Profile, StoreConfiguration
from scalequest_operator.planning import plan as planning
from scalequest_operator.planning.model import (
    Answer,
    CommitStage,
    Committed,
    ConfirmGone,
    Explained,
    Gone,
    JobView,
    Observed,
    Ordered,
    Plan,
    PodView,
    PrepareStage,
    Question,
    ReadProgress,
    Reported,
    RunView,
    Setting,
)

NOW = dt.datetime(2026, 3, 1, 12, 0, 0, tzinfo=dt.UTC)
RUN_UID = "0a1b2c3d-0000-4000-8000-000000000001"
NODE = "generate-questions@a"
"""A sharded stage whose only input is the model `fetch-model@writer`."""


def make_spec(**spec: Any) -> Spec:
    """Return a valid spec of a run without training, so that its graph is short."""
    stages = {"generate-questions": {"shards": 2, "chunkRows": 20}}
    short = {"fineTuning": None, "preference": None, "compute": {"stages": stages}}
    return builders.make_run(**short | spec).spec


def configuration_document(**profile: Any) -> dict[str, Any]:
    """Return a valid configuration as a mapping; `profile` replaces fields of the default profile."""
    store = {"endpoint": "http://s3.example:9000", "credentialsFolder": "/etc/scalequest/s3"}
    roles = {role.value: {"image": f"registry.example/{role.value}@sha256:1"} for role in Role}
    return {"stores": [store], "profiles": {"default": {"roles": roles, **profile}}}


def make_profile(**profile: Any) -> Profile:
    return Configuration.model_validate(configuration_document(**profile)).profiles["default"]


def make_store(**store: Any) -> StoreConfiguration:
    (valid,) = configuration_document()["stores"]
    return StoreConfiguration.model_validate({**valid, **store})


def make_run(
    *stages: StageStatus, spec: Mapping[str, Any] | Spec | None = None, status: Any = None, **run: Any
) -> RunView:
    """Return a run whose status lists `stages`; `status` names other fields of the status, `spec` of the spec."""
    defaults: dict[str, Any] = {
        "namespace": "default",
        "name": "run",
        "uid": RUN_UID,
        "generation": 1,
        "resource_version": "7",
        "created": NOW - dt.timedelta(minutes=10),
        "finalizers": (names.FINALIZER,),
        "spec": spec if isinstance(spec, Spec) else make_spec(**(spec or {})),
        "status": RunStatus(stages=stages, started=NOW - dt.timedelta(minutes=9)).model_copy(
            update=status or {}
        ),
    }
    return RunView(**defaults | run)


def make_stage(name: str = NODE, state: StageState = StageState.RUNNING, **status: Any) -> StageStatus:
    """Return a stage of which attempt 1 is at work."""
    defaults = {
        "attempt": 1,
        "job": names.job_name("run", RUN_UID, name, status.get("attempt", 1)),
        "order": "a" * 64,
        "fingerprint": "b" * 64,
        "shards": Shards(total=2),
        "started": NOW - dt.timedelta(seconds=10),
    }
    return StageStatus(name=name, state=state, **defaults | status)


def make_done(name: str, **status: Any) -> StageStatus:
    """Return a stage that succeeded."""
    artifact = Artifact(key=f"runs/x/{name}/stage.json", sha256="c" * 64, content="d" * 64)
    done: dict[str, Any] = {"artifact": artifact, "rows_in": 60, "rows_out": 60, "finished": NOW}
    return make_stage(name, StageState.SUCCEEDED, **done | status)


def make_ready(node: str = NODE, spec: Spec | None = None) -> tuple[StageStatus, ...]:
    """Return every stage that does not wait for `node`, succeeded: what happens next happens to `node`."""
    graph = catalog.plan(spec or make_spec())
    behind = {node}
    for other in graph.nodes:
        if behind & set(other.inputs.values()):
            behind.add(other.name)
    return tuple(make_done(other.name) for other in graph.nodes if other.name not in behind)


def stage_of(plan: Plan, name: str = NODE) -> StageStatus:
    """Return what a plan says of a stage."""
    return plan.status.stage_of(name)


def said(plan: Plan, kind: ConditionType) -> tuple[str, str]:
    """Return the status and the reason of a condition."""
    condition = plan.status.condition(kind)
    assert condition is not None, kind
    return condition.status, condition.reason


def at_work(*, stage: Any = None, run: Any = None, **observed: Any) -> Observed:
    """Return a run of which NODE is at work and everything before it is done."""
    view = make_run(*make_ready(), make_stage(**(stage or {})), **(run or {}))
    return make_observed(view, **{"jobs": [make_job()], **observed})


def make_job(node: str = NODE, *, attempt: int = 1, **job: Any) -> JobView:
    """Return the Job of an attempt that is at work."""
    defaults: dict[str, Any] = {
        "namespace": "default",
        "name": names.job_name("run", RUN_UID, node, attempt),
        "uid": f"job-{node}-{attempt}",
        "run": "run",
        "run_uid": RUN_UID,
        "node": node,
        "attempt": attempt,
        "order": "a" * 64,
        "created": NOW - dt.timedelta(seconds=10),
    }
    return JobView(**defaults | job)


def make_pod(index: int = 0, *, node: str = NODE, attempt: int = 1, **pod: Any) -> PodView:
    """Return a pod of an attempt that runs."""
    defaults: dict[str, Any] = {
        "namespace": "default",
        "name": f"pod-{index}",
        "uid": f"{index:08x}-aaaa-4000-8000-{attempt:012x}",
        "run": "run",
        "run_uid": RUN_UID,
        "node": node,
        "attempt": attempt,
        "job_uid": f"job-{node}-{attempt}",
        "index": index,
        "phase": "Running",
        "machine": "node-1",
        "created": NOW - dt.timedelta(seconds=10),
    }
    return PodView(**defaults | pod)


def make_lost(index: int = 0, exit_code: int | None = 1, **pod: Any) -> PodView:
    """Return a pod that failed."""
    return make_pod(index, **{"phase": "Failed", "exit_code": exit_code, **pod})


def make_observed(
    run: RunView | None = None,
    *,
    jobs: Sequence[JobView] = (),
    pods: Sequence[PodView] = (),
    profile: Profile | None = None,
    refused: Mapping[str, str] | None = None,
    setting: Setting | None = None,
) -> Observed:
    """Return what was observed of a run under a valid configuration."""
    return Observed(
        run=run or make_run(),
        setting=setting or Setting(profile=profile or make_profile(), store=make_store()),
        jobs=tuple(jobs),
        pods=tuple(pods),
        refused=refused or {},
    )


def make_committed(rows: int = 60, **counts: Any) -> Committed:
    artifact = ArtifactRef(key="runs/x/stage-1.json", sha256="e" * 64, content="f" * 64)
    return Committed(artifact=artifact, counts=Counts(rows_in=rows, rows_out=rows, **counts))


def anew(question: Question) -> Answer:
    """Answer as an empty bucket and an API server without Jobs do; whatever is to be committed can be."""
    match question:
        case PrepareStage():
            return Ordered()
        case CommitStage():
            return make_committed()
        case ConfirmGone():
            return Gone(gone=True)
        case ReadProgress():
            return Reported(progress=None)
        case _:
            return Explained()


def planned(
    observed: Observed,
    *answers: tuple[type[Question], Answer],
    now: dt.datetime = NOW,
    asked: list[Question] | None = None,
    answer: Callable[[Question], Answer] = anew,
) -> Plan:
    """Plan until nothing is left to ask. `answers` replace those of `answer` by the question's kind."""
    special: dict[type[Any], Answer] = dict(answers)
    facts: dict[Question, Answer] = {}
    for _ in range(200):
        plan = planning.plan(observed, facts, now)
        unanswered = [question for question in plan.questions if question not in facts]
        if not unanswered:
            return plan
        for question in unanswered:
            facts[question] = special.get(type(question)) or answer(question)
        if asked is not None:
            asked += unanswered
    raise AssertionError("the plan never stops asking")
