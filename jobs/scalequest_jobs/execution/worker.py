"""One shard of one stage, from its order to its manifest: what a pod and a local run both execute."""

import logging
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pydantic

from scalequest_jobs import catalog, domains, ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import ArtifactKeys, ArtifactRef
from scalequest_jobs.contract.progress import Progress
from scalequest_jobs.contract.stage import Order, Stage
from scalequest_jobs.execution.checkpoints import CheckpointLog
from scalequest_jobs.execution.chunks import ShardLog
from scalequest_jobs.execution.context import StageContext, WorkerSettings
from scalequest_jobs.execution.reporting import Reporter, Sink

logger = logging.getLogger(__name__)

PROGRESS_SECONDS: Final = 10.0
"""Least time between two progress records in the store."""


def read_order(store: ports.ArtifactStore, key: str, sha256: str) -> Order:
    """Return the order under a key.

    Raises:
        BadInputError: it is missing or is not the one that the launcher wrote.
    """
    try:
        data = store.get(key)
    except ports.ObjectMissingError as error:
        raise ports.BadInputError(f"there is no order {key} in {store.describe()}") from error
    if (seen := fingerprint.sha256(data)) != sha256:
        raise ports.BadInputError(f"order {key} has sha256 {seen}, expected {sha256}")
    try:
        return Order.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise ports.BadInputError(f"order {key} is not of this version: {error}") from error


def execute(
    order: Order,
    *,
    shard: int,
    attempt: str,
    store: ports.ArtifactStore,
    engines: ports.Engines,
    settings: WorkerSettings,
    sinks: Mapping[Sink, float],
    stop: threading.Event,
) -> ArtifactRef:
    """Do what an order says for one shard and return the reference to the shard's manifest.

    Chunks that earlier attempts committed are adopted. `sinks` receive progress besides the store.

    Raises:
        StageError: see `ports`; whatever was committed before stays.
    """
    stage = _stage(order)
    log = ShardLog(store, order, output=stage.output, shard=shard, attempt=attempt)
    all_sinks = {**sinks, _store_sink(store, order, shard, attempt): PROGRESS_SECONDS}
    with tempfile.TemporaryDirectory(prefix="scalequest-") as scratch:
        context: StageContext[Any] = StageContext(
            order=order,
            parameters=_parameters(stage, order),
            domain=domains.by_name(order.domain),
            shard=shard,
            store=store,
            engines=engines,
            settings=settings,
            log=log,
            checkpoints=CheckpointLog(store, order, shard=shard, attempt=attempt),
            reporter=Reporter(order.node, shard, all_sinks, time.time),
            scratch=Path(scratch),
            stop=stop,
        )
        stage.run(context)
        return log.finish(context.chunks, context.engine)


def _stage(order: Order) -> Stage:
    try:
        return catalog.stage(order.stage)
    except KeyError as error:
        raise ports.BadParametersError(
            f"the order names an unknown stage ({error.args[0]}): use images and operator of one release"
        ) from error


def _parameters(stage: Stage, order: Order) -> pydantic.BaseModel:
    if stage.version != order.stage_version:
        raise ports.BadParametersError(
            f"the order is for {stage.name} version {order.stage_version}, this worker has version {stage.version}: "
            "use images and operator of one release"
        )
    try:
        return stage.parameters.model_validate(order.parameters)
    except pydantic.ValidationError as error:
        raise ports.BadParametersError(f"the order's parameters do not fit {stage.name}: {error}") from error


def _store_sink(store: ports.ArtifactStore, order: Order, shard: int, attempt: str) -> Sink:
    key = ArtifactKeys(order.run.uid, order.node, order.fingerprint).progress(shard, attempt)

    def write(progress: Progress) -> None:
        try:
            store.put(key, progress.model_dump_json().encode())
        except ports.TryAgainError as error:
            # Progress is for onlookers: a stage goes on without it.
            logger.warning("progress not written: %s", error)

    return write
