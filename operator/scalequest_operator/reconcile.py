"""The main path: observe, plan, write the status once, act. One run, once."""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from scalequest_jobs import ports
from scalequest_operator import cluster, errors, observe
from scalequest_operator.answers import STORE_UNREACHABLE, Answerer
from scalequest_operator.apply import Applier, JobRefusedError
from scalequest_operator.configuration import Configuration
from scalequest_operator.observe import Children
from scalequest_operator.planning import plan as planning
from scalequest_operator.planning.model import (
    Answer,
    CommitStage,
    CreateJob,
    Observed,
    Plan,
    PrepareStage,
    Question,
    ReadProgress,
    Unavailable,
)
from scalequest_operator.recent_hits import RecentHits
from scalequest_operator.recorder import Recorder
from scalequest_operator.stores import Buckets
from scalequest_operator.workqueue import RunKey

logger = logging.getLogger(__name__)

MAX_ROUNDS: Final = 200
"""Rounds of questions in one reconciliation. Each finishes a stage or more, and a run has fewer stages."""


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Brings runs nearer to what their users asked for. Whatever it must remember is in the run's status."""

    api: cluster.KubeApi
    children: Children
    configuration: Callable[[], Configuration]
    buckets: Buckets
    recorder: Recorder
    clock: Callable[[], dt.datetime]
    hits: RecentHits = field(default_factory=RecentHits)
    refused: dict[str, str] = field(default_factory=dict)
    """Jobs that the API server did not take, for the next plan to say; forgotten with the process and found out anew."""

    def reconcile(self, key: RunKey) -> float | None:
        """Look at one run and do what it needs; return in how many seconds to look again, None for no hurry.

        Raises:
            ClusterError: a call was refused or not answered. Everything may be done again.
        """
        seen = observe.observe(self.api, self.children, self.configuration(), key)
        if seen is None:
            return None
        body, observed = seen
        observed = replace(observed, refused=dict(self.refused))
        now = self.clock()
        plan = self._plan(observed, now)
        self._write(body, plan)
        try:
            self._act(observed, plan, now)
        except errors.ClusterError:
            # The status is written, so no later plan tells of it.
            self._tell(observed, plan, now)
            raise
        self._tell(observed, plan, now)
        return plan.again_seconds

    def _tell(self, observed: Observed, plan: Plan, now: dt.datetime) -> None:
        """Create the events, after the actions: nobody waits for an event, and a stage waits for its Job."""
        for notice in plan.notices:
            self.recorder.tell(observed.run, notice, now)

    def _act(self, observed: Observed, plan: Plan, now: dt.datetime) -> None:
        applier = Applier(api=self.api, run=observed.run, now=now)
        for action in plan.actions:
            try:
                applier.apply(action)
            except JobRefusedError as error:
                # The next plan says so in a condition; the other stages go on.
                logger.warning("%s/%s: %s", observed.run.namespace, observed.run.name, error)
                self.refused[error.job] = str(error)
            else:
                if isinstance(action, CreateJob):
                    self.refused.pop(action.name, None)

    def _plan(self, observed: Observed, now: dt.datetime) -> Plan:
        """Plan until nothing is left to ask. No answer is asked for twice, so this ends."""
        facts: dict[Question, Answer] = {}
        answerer = Answerer(
            api=self.api,
            bucket=lambda: self._bucket(observed),
            namespace=observed.run.namespace,
            run_uid=observed.run.uid,
            now=now,
            hits=self.hits,
        )
        for _ in range(MAX_ROUNDS):
            plan = planning.plan(observed, facts, now)
            unanswered = [question for question in plan.questions if question not in facts]
            if not unanswered:
                return plan
            for question in unanswered:
                facts[question] = answerer.answer(question)
                if _is_store_away(facts[question]):
                    # The others would only wait for the same server.
                    facts |= {other: facts[question] for other in unanswered if _asks_the_store(other)}
                    break
        raise AssertionError(f"{observed.run.name}: the plan still asks after {MAX_ROUNDS} rounds")

    def _bucket(self, observed: Observed) -> ports.ArtifactStore:
        spec, store = observed.run.spec, observed.setting.store
        assert spec is not None, "only a run with a spec asks the store"
        assert store is not None, "only a run with a store asks it"
        return self.buckets.open(store, spec.storage)

    def _write(self, body: cluster.Body, plan: Plan) -> None:
        """Write the status if it changed, guarded by the resourceVersion that was read: a stale writer changes nothing."""
        status = plan.status.body()
        if plan.keeps_status or status == (body.get("status") or {}):
            return
        metadata = body["metadata"]
        self.api.replace_status(
            cluster.RUNS, metadata["namespace"], metadata["name"], {**body, "status": status}
        )


def _is_store_away(answer: Answer) -> bool:
    return isinstance(answer, Unavailable) and answer.reason == STORE_UNREACHABLE


def _asks_the_store(question: Question) -> bool:
    return isinstance(question, PrepareStage | CommitStage | ReadProgress)
