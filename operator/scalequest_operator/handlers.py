"""What kopf is used for: log-in, and the events of runs. Nothing else of it decides anything.

No create, update or field handlers, daemons, timers or indices, no kopf annotations or finalizers: they lose updates
and keep objects that are gone (ARCHITECTURE.md).
"""

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import kopf

from scalequest_operator import cluster
from scalequest_operator.workqueue import RunKey, WorkQueue


def registry(queue: WorkQueue, stop: threading.Event) -> kopf.OperatorRegistry:
    """Return the handlers that put the keys of changed runs into the queue."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.startup(registry=handlers)
    def hear_an_early_signal(**_: Any) -> None:
        # kopf takes the signals over before this; one that came earlier only set `stop`.
        if stop.is_set():
            signal.raise_signal(signal.SIGTERM)

    @kopf.on.login(registry=handlers)
    def log_in(**arguments: Any) -> Any:
        return kopf.login_via_client(**arguments)

    @kopf.on.event(cluster.RUNS.group, cluster.RUNS.version, cluster.RUNS.plural, registry=handlers)
    def run_changed(namespace: str | None, name: str | None, event: kopf.RawEvent, **_: Any) -> None:
        if not namespace or not name:
            return
        key = RunKey(namespace=namespace, name=name)
        if event["type"] == "MODIFIED":
            # Most often our own write of its status.
            queue.add_soon(key)
        else:
            queue.add(key)

    return handlers


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no rights beyond those on runs, no events of its own, no giving up in an outage."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.watching.chunk_size = 500
    chosen.watching.inactivity_timeout = 70
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    # The default ends after two minutes of outage, and the watching task with it.
    chosen.networking.error_backoffs = [1, 1, 2, 3, 5, 8, 13, 21, *[30] * 10_000]
    return chosen


def follow(queue: WorkQueue, namespaces: Sequence[str], stop: threading.Event) -> None:
    """Follow runs in this thread, the main one, until the process is told to end.

    kopf gets no stop flag: it waits for one in a thread that nothing ends, and its own end waits for that thread.
    """
    # kopf asks for the user's name, which the user of a container need not have.
    os.environ.setdefault("USER", "scalequest-operator")
    kopf.run(
        registry=registry(queue, stop),
        settings=settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
    )
