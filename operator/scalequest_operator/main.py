"""One operator process: lead or stand by, then follow runs until told to stop."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Final

from scalequest_operator import handlers, logs
from scalequest_operator.cluster import KubeApi
from scalequest_operator.cluster_client import connect
from scalequest_operator.controller import Controller
from scalequest_operator.errors import ConfigurationError
from scalequest_operator.lease import Lease, Terms
from scalequest_operator.probes import ProbeServer
from scalequest_operator.rate import TokenBucket
from scalequest_operator.settings import Settings

logger = logging.getLogger(__name__)

LEASE_NAME: Final = "scalequest-operator"

TERMS: Final = Terms(duration_seconds=12, deadline_seconds=8.0)
"""A standby that looks every 2.4 s works at most 17 s after its leader died; the usual terms make it 20."""

WATCHDOG_SECONDS: Final = 5.0


def run(settings: Settings) -> None:
    """Work until the process is told to stop.

    Raises:
        ConfigurationError: the configuration file or the way to the API server is wrong.
    """
    logs.configure(settings.log_format, settings.log_level)
    limit = TokenBucket(per_second=settings.calls_per_second, burst=int(2 * settings.calls_per_second))
    api = connect(limit=limit)
    lease = _lease(api, settings)
    controller = Controller(api, settings, may_work=lambda: lease is None or lease.is_held)
    stop, leading = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    with contextlib.ExitStack() as stack:
        if settings.probe_port:
            stack.enter_context(_probes(settings.probe_port, controller, leading))
        if lease is not None:
            logger.info("waiting for the lease %s/%s", settings.lease_namespace, LEASE_NAME)
            if not lease.acquire(stop):
                return
            lease.start_renewing()
            stack.callback(lease.release)
        leading.set()
        logger.info("leading as %s", settings.identity)
        stack.callback(controller.stop)
        stack.callback(stop.set)
        controller.start(stop)
        threading.Thread(target=_watch_over, args=(controller, stop), name="watchdog", daemon=True).start()
        if not stop.is_set():
            handlers.follow(controller.queue, settings.namespaces, stop)
    logger.info("stopped")


def _lease(api: KubeApi, settings: Settings) -> Lease | None:
    """Return the lease to hold while working; None where nobody else works."""
    if not settings.lease_namespace:
        return None
    return Lease(
        api,
        namespace=settings.lease_namespace,
        name=LEASE_NAME,
        identity=settings.identity,
        on_lost=_die,
        terms=TERMS,
    )


@contextlib.contextmanager
def _probes(port: int, controller: Controller, leading: threading.Event) -> Iterator[None]:
    """Serve the probes: a standby is healthy, and ready to lead; a leader is ready once it knows everything."""

    def ready() -> str:
        waits = leading.is_set() and not controller.synced
        return "the informers have not listed everything yet" if waits else ""

    def healthy() -> str:
        return controller.trouble() if leading.is_set() else ""

    try:
        server = ProbeServer(port, healthy=healthy, ready=ready)
    except OSError as error:
        raise ConfigurationError(f"the probe port {port} cannot be listened on: {error.strerror}") from error
    server.start()
    try:
        yield
    finally:
        server.stop()


def _watch_over(controller: Controller, stop: threading.Event) -> None:
    """End the process when it is of no use any more: another one starts clean."""
    while not stop.wait(WATCHDOG_SECONDS):
        if trouble := controller.trouble():
            _die(trouble)


def _die(why: str) -> None:
    """End at once, without anything that could wait or write."""
    logger.critical("ending: %s", why)
    logging.shutdown()
    os._exit(1)
