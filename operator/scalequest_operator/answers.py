"""Answers to what planning asks: of the store, and of the API server where an informer may be behind."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import pydantic

from scalequest_jobs import ports
from scalequest_jobs.contract import commit
from scalequest_jobs.contract.artifact import ArtifactKeys, order_key
from scalequest_jobs.contract.progress import Progress
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.contract.status import StageProgress, message, ranges
from scalequest_jobs.execution import launching, worker
from scalequest_operator import cluster, errors
from scalequest_operator.planning.model import (
    Answer,
    CommitStage,
    Committed,
    ConfirmGone,
    Explain,
    Explained,
    Gone,
    Ordered,
    PrepareStage,
    Question,
    ReadProgress,
    Reported,
    ShardsMissing,
    Unavailable,
)
from scalequest_operator.recent_hits import RecentHits

STORE_UNREACHABLE: Final = "StoreUnreachable"

MAX_PROGRESS_READS: Final = 64
"""Progress records read for one stage at a time; of a wider stage a part stands for the whole."""


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """Answers the questions of one run. `bucket` opens its store, which may fail like any call to it."""

    api: cluster.KubeApi
    bucket: Callable[[], ports.ArtifactStore]
    namespace: str
    run_uid: str
    now: dt.datetime
    hits: RecentHits = field(default_factory=RecentHits)

    def answer(self, question: Question) -> Answer:
        """Return the answer; what cannot be reached is an answer too."""
        try:
            return self._answer(question)
        except (ports.TryAgainError, errors.UnavailableError, errors.UnauthorizedError) as error:
            return Unavailable(reason=_unreachable(error), message=str(error))
        except errors.ForbiddenError as error:
            return Unavailable(reason="Forbidden", message=str(error))
        except ports.StageError as error:
            # Bad credentials or a missing bucket: mended outside, so never final.
            return Unavailable(reason="StoreRefused", message=str(error))

    def _answer(self, question: Question) -> Answer:
        match question:
            case PrepareStage():
                return self._prepare(question)
            case CommitStage():
                return self._commit(question)
            case ReadProgress():
                return self._progress(question)
            case ConfirmGone(job=job):
                return Gone(gone=self._is_gone(job))
            case Explain():
                return self._explain(question)

    def _prepare(self, question: PrepareStage) -> Answer:
        store = self.bucket()
        if question.use_cache and (hit := self.hits.find(store, question.order.fingerprint, self.now)):
            return hit
        launching.put_order(store, question.order)
        return Ordered()

    def _order(self, store: ports.ArtifactStore, node: str, sha256: str) -> Order:
        return worker.read_order(store, order_key(self.run_uid, node, sha256), sha256)

    def _commit(self, question: CommitStage) -> Answer:
        store = self.bucket()
        order = self._order(store, question.node, question.sha256)
        found = launching.find_shards(store, order, dict(question.shards))
        missing = tuple(shard for shard in range(order.shards) if shard not in found)
        if missing:
            return ShardsMissing(
                shards=missing,
                reason=f"{store.describe()} holds none for shards {ranges(set(missing))}",
            )
        shards = [found[shard] for shard in range(order.shards)]
        try:
            artifact, manifest = launching.commit_stage(store, order, question.kind, shards)
        except commit.CommitError as error:
            return ShardsMissing(shards=tuple(range(order.shards)), reason=str(error))
        return Committed(artifact=artifact, counts=manifest.counts)

    def _progress(self, question: ReadProgress) -> Answer:
        store = self.bucket()
        order = self._order(store, question.node, question.sha256)
        keys = ArtifactKeys(order.run.uid, order.node, order.fingerprint)
        newest: dict[int, Progress] = {}
        for key in store.keys(keys.all_progress())[-MAX_PROGRESS_READS:]:
            if (record := _record(store, key)) is None:
                continue
            if record.shard not in newest or record.updated > newest[record.shard].updated:
                newest[record.shard] = record
        return Reported(progress=add_up(list(newest.values()), self.now))

    def _is_gone(self, job: str) -> bool:
        try:
            self.api.get(cluster.JOBS, self.namespace, job)
        except errors.NotFoundError:
            return True
        return False

    def _explain(self, question: Explain) -> Answer:
        listing = self.api.list(
            cluster.EVENTS, self.namespace, field_selector=f"involvedObject.uid={question.uid},type=Warning"
        )
        events = sorted(listing.items, key=_event_time)
        if not events:
            return Explained()
        return Explained(reason=events[-1].get("reason", ""), message=message(events[-1].get("message", "")))


def _unreachable(error: Exception) -> str:
    return STORE_UNREACHABLE if isinstance(error, ports.TryAgainError) else "ApiServerUnreachable"


def _event_time(event: cluster.Body) -> str:
    return str(
        event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp", "")
    )


def _record(store: ports.ArtifactStore, key: str) -> Progress | None:
    """Return a progress record; one that is not readable is for onlookers only and counts as none."""
    try:
        return Progress.model_validate_json(store.get(key))
    except (pydantic.ValidationError, ports.ObjectMissingError):
        return None


def add_up(records: Sequence[Progress], now: dt.datetime) -> StageProgress | None:
    """Return the progress of all shards together; the stage is as far from its end as its slowest shard."""
    if not records:
        return None
    # A shard that is done says 0; it does not make the others done.
    etas = [record.eta_seconds for record in records if record.eta_seconds]
    latest = max(records, key=lambda record: record.updated)
    return StageProgress(
        rows_total=sum(record.rows_total for record in records),
        rows_done=sum(record.rows_done for record in records),
        rows_per_second=_rate(sum(record.rows_per_second or 0 for record in records)),
        tokens_per_second=_rate(sum(record.tokens_per_second or 0 for record in records)),
        eta_seconds=int(max(etas)) if etas else None,
        activity=message(latest.activity, 200),
        updated=now,
    )


def _rate(value: float) -> str:
    return f"{value:.4g}" if value else ""
