"""`plan`: from everything observed to what is asked, written and done. The operator's whole judgement."""

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scalequest_jobs import catalog
from scalequest_jobs.contract import graph, names
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.status import (
    Dataset,
    Phase,
    RunStatus,
    StageState,
    StageStatus,
    fit,
)
from scalequest_jobs.stages import publish_dataset
from scalequest_operator.planning import conditions, notices
from scalequest_operator.planning.conditions import Situation, Verdict
from scalequest_operator.planning.model import (
    Action,
    DeleteJob,
    DeleteRun,
    Facts,
    JobView,
    Notice,
    Observed,
    Plan,
    SetFinalizer,
)
from scalequest_operator.planning.stage_plan import Setup, StagePlan, without_pods
from scalequest_operator.planning.stages import plan_stage

RELEASE_BOUND: Final = dt.timedelta(seconds=120)
"""How long a deleted run waits at most for its pods to end."""

PROBLEM_INTERVAL: Final = dt.timedelta(seconds=60)
"""When a run that is not accepted is looked at again; a changed configuration does it sooner."""


def plan(observed: Observed, facts: Facts, now: dt.datetime) -> Plan:
    """Return what a run needs. Same input, same plan; a plan with questions is made again with their answers."""
    run = observed.run
    if run.deleted is not None:
        return _release(observed, run.deleted, now)
    if run.unreadable:
        return _left_alone(observed)
    if run.status.finished is not None:
        return _after_the_end(observed, run.status.finished, now)
    started = run.status.started or now
    if run.spec and (stop := _stop(run.spec, started, now)):
        return _stopped(observed, catalog.plan(run.spec).nodes, stop, now)
    profile, store = observed.setting.profile, observed.setting.store
    if run.spec is None or profile is None or store is None:
        return _refused(observed, now)
    setup = Setup(
        observed=observed,
        facts=facts,
        now=now,
        spec=run.spec,
        profile=profile,
        store=store,
        may_start=not any(stage.state is StageState.FAILED for stage in run.status.stages),
        deadline_seconds=_deadline_seconds(run.spec, started, now),
    )
    return _forward(setup, started)


# ---- runs that end, ended or cannot begin


def _release(observed: Observed, deleted: dt.datetime, now: dt.datetime) -> Plan:
    """Free everything that a deleted run holds, then let it go; never wait longer than RELEASE_BOUND."""
    run = observed.run
    status = run.status.model_copy(update={"phase": Phase.DELETING})
    kept = Plan(status=status, keeps_status=run.unreadable)
    if names.FINALIZER not in run.finalizers:
        return kept
    held = [pod for pod in observed.pods if not pod.is_over]
    if (not observed.jobs and not held) or now - deleted > RELEASE_BOUND:
        return replace(kept, actions=(SetFinalizer(present=False),))
    return replace(kept, actions=_deletions(observed.jobs), again_seconds=2)


def _left_alone(observed: Observed) -> Plan:
    """A status that cannot be read holds facts all the same, so nothing is written over it."""
    notice = Notice(kind="Warning", reason="StatusUnreadable", message=observed.run.problem)
    return Plan(
        status=observed.run.status,
        keeps_status=True,
        notices=(notice,),
        again_seconds=PROBLEM_INTERVAL.total_seconds(),
    )


def _after_the_end(observed: Observed, finished: dt.datetime, now: dt.datetime) -> Plan:
    """A run that ended stays as it is: nothing is derived from its Jobs, whether they are there or not."""
    run = observed.run
    status = run.status.model_copy(update={"observed_generation": run.generation})
    leftovers = _deletions(job for job in observed.jobs if not job.finished)
    ttl = run.spec.ttl_seconds_after_finished if run.spec else None
    if ttl is None:
        return Plan(status=status, actions=leftovers)
    left = (finished + dt.timedelta(seconds=ttl) - now).total_seconds()
    if left <= 0:
        return Plan(status=status, actions=(*leftovers, DeleteRun()))
    return Plan(status=status, actions=leftovers, again_seconds=left)


def _refused(observed: Observed, now: dt.datetime) -> Plan:
    """The run cannot be carried out as it is; what runs goes on, nothing is planned."""
    run = observed.run
    reason, words = (
        ("InvalidSpec", run.problem) if run.spec is None else ("NotConfigured", observed.setting.problem)
    )
    situation = Situation(
        stages=run.status.stages, waits={}, problem=Verdict(holds=False, reason=reason, message=words)
    )
    status = conditions.with_conditions(run.status, situation, generation=run.generation, now=now)
    return Plan(
        status=status,
        notices=notices.notices(run.status, status),
        again_seconds=PROBLEM_INTERVAL.total_seconds(),
    )


def _deletions(jobs: Iterable[JobView]) -> tuple[Action, ...]:
    return tuple(DeleteJob(name=job.name, uid=job.uid) for job in jobs if not job.deleting)


# ---- runs on their way


@dataclass(frozen=True, kw_only=True)
class _Stop:
    """Why a run is ended before its time."""

    reason: str
    message: str


def _forward(setup: Setup, started: dt.datetime) -> Plan:
    """Bring every stage one step further."""
    observed, spec, now = setup.observed, setup.spec, setup.now
    status = observed.run.status
    plans = _plan_stages(setup, catalog.plan(spec), status)
    stages = tuple(plan.status for plan in plans)
    ended = _end(spec, observed, stages)
    situation = Situation(
        stages=stages,
        waits={plan.status.name: plan.wait for plan in plans if plan.wait},
        suspended=spec.suspend,
        ended=ended,
    )
    after = status.model_copy(update={"stages": stages, "started": started})
    after = conditions.with_conditions(after, situation, generation=observed.run.generation, now=now)
    if ended:
        after = after.model_copy(update={"finished": now, "dataset": _dataset(spec, observed, after)})
    return _assembled(observed, plans, fit(after), setup.deadline_seconds)


def _plan_stages(setup: Setup, stage_graph: graph.Graph, status: RunStatus) -> list[StagePlan]:
    """Return a plan for each stage, in the graph's order, so that what is taken from the cache frees the next at once."""
    plans: dict[str, StagePlan] = {}
    for node in stage_graph.nodes:
        stage = status.stage_of(node.name)
        inputs = {}
        for name, source in node.inputs.items():
            if artifact := plans[source].status.artifact:
                inputs[name] = artifact.ref()
        if len(inputs) < len(node.inputs) and not stage.state.is_active:
            plans[node.name] = StagePlan(status=stage)
            continue
        planned = plan_stage(setup, node, stage, inputs)
        if planned.status.state is StageState.FAILED:
            setup = replace(setup, may_start=False)
        plans[node.name] = planned
    return list(plans.values())


def _assembled(
    observed: Observed, plans: Sequence[StagePlan], after: RunStatus, deadline_seconds: int | None
) -> Plan:
    run = observed.run
    finalizer: tuple[Action, ...] = () if names.FINALIZER in run.finalizers else (SetFinalizer(present=True),)
    actions = [action for plan in plans for action in plan.actions]
    doomed = {action.name for action in actions if isinstance(action, DeleteJob)}
    strays = (
        job
        for job in observed.jobs
        if not job.finished and job.name not in doomed and not _is_current(job, after)
    )
    again = [plan.again.total_seconds() for plan in plans if plan.again]
    again += [float(deadline_seconds)] if deadline_seconds is not None else []
    return Plan(
        status=after,
        questions=tuple(question for plan in plans for question in plan.questions),
        actions=(*finalizer, *actions, *_deletions(strays)),
        notices=notices.notices(run.status, after),
        again_seconds=max(1.0, min(again)) if again else None,
    )


def _is_current(job: JobView, status: RunStatus) -> bool:
    stage = status.stage_of(job.node)
    return stage.state.is_active and stage.job == job.name


# ---- ends


def _deadline_seconds(spec: Spec, started: dt.datetime, now: dt.datetime) -> int | None:
    if spec.active_deadline_seconds is None:
        return None
    left = started + dt.timedelta(seconds=spec.active_deadline_seconds) - now
    # Rounded up: a Job that ends before its run would look like a failure of its own.
    return max(1, math.ceil(left.total_seconds()))


def _stop(spec: Spec, started: dt.datetime, now: dt.datetime) -> _Stop | None:
    if spec.cancel:
        return _Stop(reason="Cancelled", message="spec.cancel is true; finished stages stay in the cache")
    deadline = spec.active_deadline_seconds
    if deadline is not None and now >= started + dt.timedelta(seconds=deadline):
        return _Stop(
            reason="DeadlineExceeded",
            message=f"the run did not end within activeDeadlineSeconds, {deadline} s; finished stages stay in the "
            "cache: a new run with a longer deadline goes on from there",
        )
    return None


def _stopped(observed: Observed, nodes: Sequence[Any], stop: _Stop, now: dt.datetime) -> Plan:
    """End the run now: no stage goes on, no Job stays."""
    run = observed.run
    stages = tuple(_given_up(run.status.stage_of(node.name), stop, now) for node in nodes)
    situation = Situation(
        stages=stages, waits={}, ended=Verdict(holds=False, reason=stop.reason, message=stop.message)
    )
    after = run.status.model_copy(
        update={"stages": stages, "finished": now, "started": run.status.started or now}
    )
    after = fit(conditions.with_conditions(after, situation, generation=run.generation, now=now))
    return Plan(
        status=after,
        actions=_deletions(job for job in observed.jobs if not job.finished),
        notices=notices.notices(run.status, after),
    )


def _given_up(stage: StageStatus, stop: _Stop, now: dt.datetime) -> StageStatus:
    if not stage.state.is_active:
        return stage
    return without_pods(stage).model_copy(
        update={"state": StageState.FAILED, "message": stop.reason, "finished": now}
    )


def _end(spec: Spec, observed: Observed, stages: Sequence[StageStatus]) -> Verdict | None:
    """Return how the run ended, None while it goes on: a failed stage lets those at work finish."""
    if all(stage.state is StageState.SUCCEEDED for stage in stages):
        rows = next(stage.rows_out for stage in stages if stage.name == publish_dataset.NAME)
        name = spec.publish.name or observed.run.name
        return Verdict(holds=True, reason="Published", message=f"the dataset {name} has {rows} rows")
    failed = [stage for stage in stages if stage.state is StageState.FAILED]
    if not failed or any(stage.state.is_active for stage in stages):
        return None
    return Verdict(holds=False, reason="StageFailed", message=f"{failed[0].name}: {failed[0].message}")


def _dataset(spec: Spec, observed: Observed, status: RunStatus) -> Dataset | None:
    published = status.stage_of(publish_dataset.NAME)
    if published.artifact is None:
        return None
    return Dataset(
        name=spec.publish.name or observed.run.name,
        rows=published.rows_out or 0,
        artifact=published.artifact,
    )
