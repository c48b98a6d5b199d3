"""The order of a reconciliation: status, actions, events; and events even where an action failed."""

import contextlib
from collections.abc import Callable
from typing import Any

from builders import run_document
from fake_kubernetes.api import Call
from fake_kubernetes.world import NAMESPACE, World
from operator_builders import NOW, make_profile, make_store
from scalequest_operator import cluster, errors
from scalequest_operator.configuration import Configuration
from scalequest_operator.reconcile import Reconciler
from scalequest_operator.recorder import Recorder
from scalequest_operator.stores import Buckets
from scalequest_operator.workqueue import RunKey
from schedules.bucket import Bucket


class NoChildren:
    def jobs(self, run_uid: str) -> tuple[()]:
        return ()

    def pods(self, run_uid: str) -> tuple[()]:
        return ()


def written(before: Callable[[Call], None] = lambda _: None) -> list[str]:
    """Reconcile a new run once and return what was written, in order."""
    world = World()
    body: dict[str, Any] = run_document()
    body["metadata"] |= {"namespace": NAMESPACE}
    world.api.create(cluster.RUNS, NAMESPACE, body)
    client = world.client()
    client.before = before
    reconciler = Reconciler(
        api=client,
        children=NoChildren(),
        configuration=lambda: Configuration(stores=(make_store(),), profiles={"default": make_profile()}),
        buckets=Buckets(lambda _store, _storage: Bucket()),
        recorder=Recorder(client, host="test"),
        clock=lambda: NOW,
    )
    with contextlib.suppress(errors.UnavailableError):
        reconciler.reconcile(RunKey(namespace=NAMESPACE, name=body["metadata"]["name"]))
    writes = [f"{call.verb} {call.resource.plural}" for call in client.calls if call.verb != "get"]
    return list(dict.fromkeys(writes))


def test_the_intent_is_written_before_jobs_are_created_and_events_come_last() -> None:
    assert written() == ["update scalequestruns", "patch scalequestruns", "create jobs", "create events"]


def test_what_was_written_is_told_even_if_a_job_could_not_be_created() -> None:
    def fail(call: Call) -> None:
        if call.verb == "create" and call.resource is cluster.JOBS:
            raise errors.UnavailableError("nobody answers")

    assert "create events" in written(fail)
