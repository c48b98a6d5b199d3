"""Carry out a plan's actions. Every one may be repeated: what is done already is a success."""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scalequest_jobs.contract import names
from scalequest_jobs.contract.status import message, rfc3339
from scalequest_operator import cluster, errors
from scalequest_operator.planning.model import (
    Action,
    CreateJob,
    DeleteJob,
    DeleteRun,
    FailPod,
    RunView,
    SetFinalizer,
    SuspendJob,
)

logger = logging.getLogger(__name__)


class JobRefusedError(errors.OperatorError):
    """The API server does not take a Job: an admission policy, a quota, or a profile that makes no valid pod."""

    retriable = True

    def __init__(self, job: str, words: str) -> None:
        super().__init__(words)
        self.job = job


@dataclass(frozen=True, kw_only=True)
class Applier:
    """Carries out the actions of one run's plan."""

    api: cluster.KubeApi
    run: RunView
    now: dt.datetime

    def apply(self, action: Action) -> None:
        """Do one action.

        Raises:
            JobRefusedError: the API server does not take a Job; its words say why.
            ClusterError: nobody answered, or it was refused; the next plan asks for it again.
        """
        match action:
            case CreateJob():
                self._create(action)
            case SuspendJob():
                self._suspend(action)
            case DeleteJob(name=name, uid=uid):
                self._if_it_is_there(lambda: self.api.delete(cluster.JOBS, self.run.namespace, name, uid=uid))
            case FailPod():
                self._fail(action)
            case SetFinalizer(present=present):
                self._set_finalizer(present=present)
            case DeleteRun():
                self._if_it_is_there(
                    lambda: self.api.delete(cluster.RUNS, self.run.namespace, self.run.name, uid=self.run.uid)
                )

    def _create(self, action: CreateJob) -> None:
        try:
            self.api.create(cluster.JOBS, self.run.namespace, dict(action.body))
        except errors.AlreadyExistsError as error:
            seen = self.api.get(cluster.JOBS, self.run.namespace, action.name)
            _, owner = names.run_of(seen["metadata"].get("labels") or {})
            if owner != self.run.uid:
                words = f"a Job {action.name} exists that this run did not make; delete it"
                raise JobRefusedError(action.name, words) from error
        except (errors.InvalidError, errors.ForbiddenError) as error:
            raise JobRefusedError(action.name, str(error)) from error

    def _suspend(self, action: SuspendJob) -> None:
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": action.uid},
            {"op": "add", "path": "/spec/suspend", "value": action.suspend},
        ]
        if action.deadline_seconds is not None:
            operations.append(
                {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": action.deadline_seconds}
            )
        self._if_it_is_there(
            lambda: self.api.patch(cluster.JOBS, self.run.namespace, action.name, operations)
        )

    def _fail(self, action: FailPod) -> None:
        """Write what Kubernetes' own garbage collector writes for the pods of deleted nodes."""
        condition: dict[str, Any] = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "MachineUnreachable",
            "message": message(action.message),
            "lastTransitionTime": rfc3339(self.now),
        }
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": action.uid},
            {"op": "replace", "path": "/status/phase", "value": "Failed"},
        ]
        if not action.is_marked:
            operations.append({"op": "add", "path": "/status/conditions/-", "value": condition})
        self._if_it_is_there(
            lambda: self.api.patch(
                cluster.PODS, self.run.namespace, action.name, operations, subresource="status"
            )
        )

    def _set_finalizer(self, *, present: bool) -> None:
        """Add or remove our finalizer and no other; the resourceVersion guards the list that was read."""
        others = [name for name in self.run.finalizers if name != names.FINALIZER]
        wanted = [*others, names.FINALIZER] if present else others
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": self.run.uid},
            *self._unchanged_finalizers(),
            {"op": "add", "path": "/metadata/finalizers", "value": wanted},
        ]
        self._if_it_is_there(
            lambda: self.api.patch(cluster.RUNS, self.run.namespace, self.run.name, operations)
        )

    def _unchanged_finalizers(self) -> list[dict[str, Any]]:
        if not self.run.finalizers:
            return []
        return [{"op": "test", "path": "/metadata/finalizers", "value": list(self.run.finalizers)}]

    def _if_it_is_there(self, call: Callable[[], object]) -> None:
        try:
            call()
        except (errors.NotFoundError, errors.ConflictError) as error:
            # Gone, or another object of the same name: what was to be done to it has no object any more.
            logger.info("nothing to do: %s", error)
