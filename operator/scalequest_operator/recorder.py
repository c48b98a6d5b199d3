"""Kubernetes Events about runs: told once, never a storm."""

import datetime as dt
import logging
import threading
from collections import OrderedDict
from typing import Final

from scalequest_jobs.contract import names
from scalequest_jobs.contract.run import API_VERSION, KIND
from scalequest_jobs.contract.status import message, rfc3339
from scalequest_operator import cluster, errors
from scalequest_operator.planning.model import Notice, RunView

logger = logging.getLogger(__name__)

REPEAT_AFTER: Final = dt.timedelta(minutes=10)
"""How long the same words about the same run are not told again."""

BURST: Final = 40
PER_MINUTE: Final = 10
"""Events of one run: as many at once, and then as many a minute."""

REMEMBERED: Final = 5000


class Recorder:
    """Tells notices as Events. Thread-safe; an event that is not accepted is logged and given up."""

    def __init__(self, api: cluster.KubeApi, *, host: str) -> None:
        self._api = api
        self._host = host
        self._guard = threading.Lock()
        self._told: OrderedDict[tuple[str, Notice], dt.datetime] = OrderedDict()
        self._budgets: OrderedDict[str, tuple[float, dt.datetime]] = OrderedDict()

    def tell(self, run: RunView, notice: Notice, now: dt.datetime) -> None:
        """Create an Event about a run, unless it was told just before or the run has told too many."""
        if not self._may_tell(run.uid, notice, now):
            logger.info("not told again: %s/%s: %s", run.namespace, run.name, notice)
            return
        try:
            self._api.create(cluster.EVENTS, run.namespace, self._body(run, notice, now))
        except errors.ClusterError as error:
            logger.warning("event not told: %s", error)

    def _may_tell(self, run_uid: str, notice: Notice, now: dt.datetime) -> bool:
        with self._guard:
            last = self._told.get((run_uid, notice))
            if last is not None and now - last < REPEAT_AFTER:
                return False
            left, since = self._budgets.get(run_uid, (float(BURST), now))
            left = min(float(BURST), left + (now - since).total_seconds() / 60 * PER_MINUTE)
            if left < 1:
                return False
            self._budgets[run_uid] = (left - 1, now)
            self._told[run_uid, notice] = now
            while len(self._told) > REMEMBERED:
                self._told.popitem(last=False)
            while len(self._budgets) > REMEMBERED:
                self._budgets.popitem(last=False)
            return True

    def _body(self, run: RunView, notice: Notice, now: dt.datetime) -> cluster.Body:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{run.name}.", "namespace": run.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": run.namespace,
                "name": run.name,
                "uid": run.uid,
            },
            "type": notice.kind,
            "reason": notice.reason,
            "message": message(notice.message),
            "source": {"component": names.MANAGER},
            "reportingComponent": names.MANAGER,
            "reportingInstance": self._host,
            "firstTimestamp": rfc3339(now),
            "lastTimestamp": rfc3339(now),
            "count": 1,
        }
