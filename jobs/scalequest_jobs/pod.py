"""One stage in a pod: the order from the environment, the outcome as exit code and termination message."""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from scalequest_jobs import pod_surroundings, ports
from scalequest_jobs.contract.artifact import ArtifactRef
from scalequest_jobs.contract.launch import DEFAULT_TERMINATION_LOG, Env, ExitCode, Termination, exit_code
from scalequest_jobs.contract.progress import Progress
from scalequest_jobs.contract.stage import Order
from scalequest_jobs.execution import chunks, worker
from scalequest_jobs.execution.context import WorkerSettings
from scalequest_jobs.local.monitor import LogMonitor
from scalequest_jobs.local.runner import real_engines
from scalequest_jobs.stores import address

logger = logging.getLogger(__name__)

LOG_SECONDS = 10.0

DEFAULT_CACHE = Path("/tmp/scalequest-cache")  # noqa: S108 - a pod's own


def run_stage(
    stage: str, environment: Mapping[str, str], make_engines: Callable[[Order], ports.Engines] = real_engines
) -> ExitCode:
    """Carry out the order in the environment and return the process's exit code.

    SIGTERM stops at the next opportunity and ends with 75: exit 0 would count as a completion. An error
    that no stage raises on purpose leaves its words too, then its traceback and exit code 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    previous = signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    try:
        ref = _execute(stage, environment, make_engines, stop)
    except ports.StageError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message is for users; a traceback would bury it
        code = exit_code(error)
        _leave(environment, Termination(error=code.name, message=str(error)))
        return code
    except Exception as error:
        _leave(environment, Termination(error="DEFECT", message=f"{type(error).__name__}: {error}"))
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    _leave(environment, Termination(manifest=ref.key, sha256=ref.sha256))
    return ExitCode.OK


def _execute(
    stage: str,
    environment: Mapping[str, str],
    make_engines: Callable[[Order], ports.Engines],
    stop: threading.Event,
) -> ArtifactRef:
    cache = _path(environment, Env.CACHE) or DEFAULT_CACHE
    pod_surroundings.settle(cache)
    store = address.open_store(
        _required(environment, Env.STORE),
        credentials=_path(environment, Env.S3_CREDENTIALS),
        region=environment.get(Env.S3_REGION, "us-east-1"),
        ca_file=_path(environment, Env.S3_CA_FILE),
    )
    order = worker.read_order(
        store, _required(environment, Env.ORDER_KEY), _required(environment, Env.ORDER_SHA256)
    )
    if order.stage != stage:
        raise ports.BadParametersError(
            f"this worker was told to run {stage}, but the order is for {order.stage}"
        )
    return worker.execute(
        order,
        shard=_shard(environment, order),
        attempt=chunks.new_attempt(environment.get(Env.POD_UID, "pod")),
        store=store,
        engines=make_engines(order),
        settings=WorkerSettings(
            cache=cache,
            volumes=_path(environment, Env.VOLUMES) or Path("/"),
            api_key_file=_path(environment, Env.API_KEY_FILE),
            hub_endpoint=environment.get(Env.HUB_ENDPOINT),
            hub_token_file=_path(environment, Env.HUB_TOKEN_FILE),
        ),
        sinks={_log_sink(): LOG_SECONDS},
        stop=stop,
    )


def _log_sink() -> Callable[[Progress], None]:
    return LogMonitor(sys.stderr).progressed


def _required(environment: Mapping[str, str], name: Env) -> str:
    if not environment.get(name):
        raise ports.BadParametersError(
            f"the environment variable {name} is not set; the operator sets it in a pod"
        )
    return environment[name]


def _path(environment: Mapping[str, str], name: Env) -> Path | None:
    return Path(environment[name]) if environment.get(name) else None


def _shard(environment: Mapping[str, str], order: Order) -> int:
    text = environment.get(Env.SHARD, "0")
    if not text.isdecimal() or int(text) >= order.shards:
        raise ports.BadParametersError(f"{Env.SHARD} is {text!r}, expected 0 to {order.shards - 1}")
    return int(text)


def _leave(environment: Mapping[str, str], termination: Termination) -> None:
    """Write the last words where the kubelet reads them; a process outside a pod prints them."""
    path = _path(environment, Env.TERMINATION_LOG) or DEFAULT_TERMINATION_LOG
    try:
        path.write_text(termination.encode(), encoding="ascii")
    except OSError:
        sys.stdout.write(termination.encode() + "\n")
