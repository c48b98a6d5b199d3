"""What kopf is used for: log-in, and the events of runs. Nothing else of it decides anything.

No create, update or field handlers, daemons, timers or indices, no kopf annotations or finalizers: they lose updates
and keep objects that are gone (ARCHITECTURE.md).
"""

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from typing import Any, Final

import kopf

from scalequest_operator import cluster, errors
from scalequest_operator.workqueue import RunKey, WorkQueue

END_SECONDS: Final = 20.0
"""How long kopf may take to end."""


def registry(queue: WorkQueue) -> kopf.OperatorRegistry:
    """Return the handlers that put the keys of changed runs into the queue."""
    handlers = kopf.OperatorRegistry()

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
    """Follow runs until `stop` is set.

    kopf gets a thread of its own. In the main one it would take the signals over, and one that comes just then is lost.
    Its stop flag is asyncio's: for any other it waits in a thread that nothing ends.

    Raises:
        OperatorError: kopf ended by itself; the log says why.
    """
    # kopf asks for the user's name, which the user of a container need not have.
    os.environ.setdefault("USER", "scalequest-operator")
    logging.getLogger("kopf._core.reactor.running").addFilter(_is_no_word_about_signals)
    loop, flag = asyncio.new_event_loop(), asyncio.Event()
    arguments: dict[str, Any] = {
        "loop": loop,
        "stop_flag": flag,
        "registry": registry(queue),
        "settings": settings(),
        "standalone": True,
        "clusterwide": not namespaces,
        "namespaces": namespaces,
    }
    following = threading.Thread(target=kopf.run, kwargs=arguments, name="kopf", daemon=True)
    following.start()
    while following.is_alive() and not stop.wait(0.5):
        pass
    if not stop.is_set():
        raise errors.OperatorError("kopf ended by itself")
    loop.call_soon_threadsafe(flag.set)
    following.join(END_SECONDS)


def _is_no_word_about_signals(record: logging.LogRecord) -> bool:
    return "signals are ignored" not in record.getMessage()
