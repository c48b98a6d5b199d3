"""Informers: nothing is missed, nothing stays that is gone, nothing ends them but `stop`."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.lab import waiting
from fake_clock import FakeClock
from fake_kubernetes.api import Call, FakeCluster
from fake_kubernetes.world import World
from scalequest_operator import cluster, errors
from scalequest_operator.watch import Informer, Subject, Timing

View = tuple[str, str]
"""A lease's name and holder: leases stand for anything here."""

RULES = (cluster.Rule(resource=cluster.LEASES, verbs=("list", "watch")),)


class Scene:
    """Leases in a fake cluster, an informer that follows them, and every change that it reported."""

    def __init__(
        self, *, blocking: bool = False, namespaces: tuple[str, ...] | None = None, **timing: float
    ) -> None:
        self.clock = FakeClock()
        self.world = World(self.clock, blocking=blocking)
        self.api: FakeCluster = self.world.client(rules=RULES)
        self.changes: list[tuple[View | None, View | None]] = []
        subject = Subject(
            resource=cluster.LEASES,
            namespaces=namespaces,
            label_selector="app=x",
            digest=lambda body: (body["metadata"]["name"], body["spec"]["holderIdentity"]),
            owner=lambda body: str(body["metadata"]["labels"]["owner"]),
            on_change=lambda old, new: self.changes.append((old, new)),
        )
        self.informer = Informer(
            self.api,
            subject,
            timing=Timing(**timing),
            monotonic=self.clock.monotonic,
            draw=lambda: 1.0,
        )

    def put(
        self,
        name: str,
        holder: str = "a",
        *,
        owner: str = "run",
        app: str = "x",
        namespace: str = "default",
        **spec: Any,
    ) -> None:
        """Create or change a lease."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "labels": {"app": app, "owner": owner}},
            "spec": {"holderIdentity": holder, **spec},
        }
        try:
            self.world.api.create(cluster.LEASES, namespace, body)
        except errors.AlreadyExistsError:
            operations = [
                {"op": "replace", "path": "/metadata/labels", "value": body["metadata"]["labels"]},  # type: ignore[index]
                {"op": "replace", "path": "/spec", "value": body["spec"]},
            ]
            self.world.api.patch(cluster.LEASES, namespace, name, operations)

    def remove(self, name: str) -> None:
        uid = self.world.api.get(cluster.LEASES, "default", name)["metadata"]["uid"]
        self.world.api.delete(cluster.LEASES, "default", name, uid=uid)

    def news(self) -> list[tuple[View | None, View | None]]:
        """Return what was reported since the last look."""
        found, self.changes[:] = [*self.changes], []
        return found

    def verbs(self) -> list[str]:
        """Return what was asked since the last look."""
        found = [call.verb for call in self.api.calls]
        self.api.calls.clear()
        return found


@pytest.fixture
def scene() -> Scene:
    return Scene()


def failing(error: errors.ClusterError, verb: str = "") -> Callable[[Call], None]:
    def fail(call: Call) -> None:
        if verb in {"", call.verb}:
            raise error

    return fail


def test_nothing_is_known_before_the_first_list(scene: Scene) -> None:
    scene.put("one")
    assert not scene.informer.synced
    assert len(scene.informer) == 0


def test_a_first_list_reports_everything_that_fits_the_selector(scene: Scene) -> None:
    scene.put("two", "b")
    scene.put("one", "a")
    scene.put("alien", app="y")
    scene.informer.step()
    assert scene.informer.synced
    assert scene.news() == [(None, ("one", "a")), (None, ("two", "b"))]
    assert len(scene.informer) == 2


def test_changes_are_reported_with_the_view_before_and_after(scene: Scene) -> None:
    scene.informer.step()
    scene.put("one", "a")
    scene.put("one", "b")
    scene.remove("one")
    scene.informer.step()
    assert scene.news() == [
        (None, ("one", "a")),
        (("one", "a"), ("one", "b")),
        (("one", "b"), None),
    ]
    assert len(scene.informer) == 0


def test_a_change_that_the_view_does_not_show_is_not_reported(scene: Scene) -> None:
    scene.put("one")
    scene.informer.step()
    scene.put("one", leaseTransitions=5)
    scene.news()
    scene.informer.step()
    assert scene.news() == []


def test_an_object_that_leaves_the_selector_is_gone(scene: Scene) -> None:
    scene.put("one")
    scene.informer.step()
    scene.put("one", app="y")
    scene.informer.step()
    assert scene.informer.view("default", "one") is None


def test_views_are_found_by_their_owner_by_name_and_move_with_it(scene: Scene) -> None:
    for name, owner in [("b", "run"), ("a", "run"), ("c", "other")]:
        scene.put(name, owner=owner)
    scene.informer.step()
    assert scene.informer.views("run") == (("a", "a"), ("b", "a"))
    scene.put("b", owner="other")
    scene.informer.step()
    assert scene.informer.views("run") == (("a", "a"),)
    assert scene.informer.views("other") == (("b", "a"), ("c", "a"))
    assert scene.informer.views("nobody") == ()
    assert scene.informer.view("default", "a") == ("a", "a")
    assert scene.informer.view("other", "a") is None


def test_a_watch_is_resumed_where_the_last_one_ended_without_a_new_list(scene: Scene) -> None:
    scene.informer.step()
    for holder in ("a", "b", "c"):
        scene.put("one", holder)
        assert scene.informer.step() == 0
    assert scene.verbs() == ["list", "watch", "watch", "watch"]
    assert [new for _, new in scene.news()] == [("one", "a"), ("one", "b"), ("one", "c")]


def test_a_watch_begins_at_the_moment_of_the_list(scene: Scene) -> None:
    scene.put("one")
    scene.world.store.compact()
    scene.informer.step()
    scene.put("two")
    assert scene.informer.step() == 0, "nothing before that moment is asked for"
    assert len(scene.informer) == 2


def test_a_bookmark_moves_the_place_from_which_a_watch_is_resumed(scene: Scene) -> None:
    scene.informer.step()
    scene.put("alien", app="y")
    scene.informer.step()
    scene.world.store.compact()
    scene.put("one")
    scene.verbs()
    scene.informer.step()
    assert scene.verbs() == ["watch"]
    assert scene.news() == [(None, ("one", "a"))]


def test_after_a_gap_in_the_history_a_new_list_repairs_what_was_missed(scene: Scene) -> None:
    for name in ("kept", "changed", "deleted", "remade"):
        scene.put(name)
    scene.informer.step()
    scene.news()
    scene.put("changed", "b")
    scene.remove("deleted")
    scene.remove("remade")
    scene.put("remade", "c")
    scene.put("new")
    scene.world.store.compact()
    wait = scene.informer.step()
    assert 0 < wait <= 1
    assert scene.news() == []
    scene.informer.step()
    assert sorted(scene.news(), key=str) == [
        (("changed", "a"), ("changed", "b")),
        (("deleted", "a"), None),
        (("remade", "a"), ("remade", "c")),
        (None, ("new", "a")),
    ]


def test_a_list_is_repeated_every_now_and_then_and_repairs_a_delete_that_no_stream_told() -> None:
    scene = Scene(relist_seconds=600)
    scene.put("one")
    scene.informer.step()
    scene.world.store.history.clear()
    scene.remove("one")
    scene.world.store.history.clear()
    scene.informer.step()
    assert scene.informer.view("default", "one") is not None, "the stream said nothing"
    scene.clock.advance(659)
    scene.verbs()
    scene.informer.step()
    assert scene.verbs() == ["watch"]
    scene.clock.advance(1)
    scene.informer.step()
    assert scene.verbs() == ["list"]
    assert scene.informer.view("default", "one") is None


def test_a_list_that_was_due_and_failed_is_tried_before_anything_else() -> None:
    scene = Scene(relist_seconds=600)
    scene.informer.step()
    scene.clock.advance(700)
    scene.api.before = failing(errors.UnavailableError("no answer"), "list")
    scene.informer.step()
    scene.informer.step()
    assert scene.verbs() == ["list", "list", "list"]


def test_a_list_that_breaks_off_forgets_nothing_and_is_begun_anew(scene: Scene) -> None:
    for number in range(3):
        scene.put(f"kept-{number}")
    scene.informer.step()
    scene.world.store.compact()
    scene.informer.step()
    scene.api.before = failing(errors.UnavailableError("no answer"), "list")
    scene.informer.step()
    assert len(scene.informer) == 3
    scene.api.before = lambda call: None
    scene.informer.step()
    assert len(scene.informer) == 3


def test_long_lists_come_in_pages_and_one_that_breaks_off_between_them_does_not_count() -> None:
    scene = Scene()
    for number in range(1001):
        scene.put(f"lease-{number:04d}")
    pages = []

    def fail(call: Call) -> None:
        pages.append(call.verb)
        if len(pages) == 3:
            raise errors.GoneError("the continue parameter is too old")

    scene.api.before = fail
    scene.informer.step()
    assert not scene.informer.synced
    scene.informer.step()
    assert scene.informer.synced
    assert len(scene.informer) == 1001
    assert pages == ["list"] * 6
    assert len(scene.news()) == 1001, "what the first try reported is not reported twice"


def test_failures_are_waited_out_longer_and_longer_and_never_given_up(scene: Scene) -> None:
    scene.api.before = failing(errors.ForbiddenError("no"))
    waits = [scene.informer.step() for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    scene.api.before = lambda call: None
    scene.put("one")
    assert scene.informer.step() == 0
    assert scene.informer.synced
    scene.api.before = failing(errors.UnavailableError("no"))
    assert scene.informer.step() == 1, "a success starts the waits anew"


def test_waits_are_spread_over_their_upper_half() -> None:
    scene = Scene()
    informer = Informer(
        scene.world.client(rules=()),
        scene.informer._streams[0]._subject,
        monotonic=scene.clock.monotonic,
        draw=lambda: 0.0,
    )
    assert [informer.step() for _ in range(3)] == [0.5, 1, 2]


def test_a_broken_stream_is_resumed_and_not_listed_anew(scene: Scene) -> None:
    scene.informer.step()
    scene.api.after = failing(errors.UnavailableError("reset"), "watch")
    scene.put("one")
    assert scene.informer.step() == 1
    scene.api.after = lambda call: None
    scene.verbs()
    scene.informer.step()
    assert scene.verbs() == ["watch"]
    assert scene.news() == [(None, ("one", "a"))]


def test_a_server_that_ends_streams_at_once_is_not_asked_in_a_tight_loop(scene: Scene) -> None:
    scene.informer.step()
    assert scene.informer.step() == 0, "a bookmark came"
    scripted(scene)
    assert scene.informer.step() == 1
    scripted(scene, meanwhile=lambda: scene.clock.advance(60))
    assert scene.informer.step() == 0


class ScriptedWatch:
    """A stream that says these words and ends."""

    def __init__(self, events: tuple[cluster.WatchEvent, ...], meanwhile: Callable[[], None]) -> None:
        self._events = events
        self._meanwhile = meanwhile

    def __iter__(self) -> Iterator[cluster.WatchEvent]:
        self._meanwhile()
        return iter(self._events)

    def close(self) -> None:
        pass


def scripted(scene: Scene, *events: cluster.WatchEvent, meanwhile: Callable[[], None] = lambda: None) -> None:
    scene.api.watch = lambda *_, **__: ScriptedWatch(events, meanwhile)  # type: ignore[method-assign, assignment, return-value]


def test_the_end_of_an_object_that_was_never_seen_is_no_news(scene: Scene) -> None:
    scene.put("one")
    body = scene.world.api.get(cluster.LEASES, "default", "one")
    scene.remove("one")
    scene.informer.step()
    scripted(scene, cluster.WatchEvent(type="DELETED", body=body))
    scene.informer.step()
    assert scene.news() == []


def test_age_counts_from_the_last_sign_of_life(scene: Scene) -> None:
    scene.clock.advance(5)
    assert scene.informer.age_seconds == 5
    scene.informer.step()
    assert scene.informer.age_seconds == 0
    scripted(scene, meanwhile=lambda: scene.clock.advance(60))
    scene.informer.step()
    assert scene.informer.age_seconds == 0, "a stream that ends in the ordinary way is alive"
    scene.api.before = failing(errors.UnavailableError("silent"))
    scene.clock.advance(9)
    scene.api.watch = FakeCluster.watch.__get__(scene.api)  # type: ignore[method-assign]
    scene.informer.step()
    assert scene.informer.age_seconds == 9


def test_each_namespace_is_followed_for_itself_and_the_most_silent_one_gives_the_age() -> None:
    scene = Scene(namespaces=("default", "other"))
    scene.put("one")
    scene.put("one", "b", namespace="other")
    scene.api.before = lambda call: (
        failing(errors.ForbiddenError("no"))(call) if call.namespace == "other" else None
    )
    scene.clock.advance(5)
    assert scene.informer.step() == 1
    assert not scene.informer.synced
    assert scene.informer.age_seconds == 5
    assert scene.informer.views("run") == (("one", "a"),)
    scene.api.before = lambda call: None
    scene.informer.step()
    assert scene.informer.synced
    assert scene.informer.views("run") == (("one", "a"), ("one", "b"))


def test_a_new_list_of_one_namespace_leaves_the_other_alone() -> None:
    scene = Scene(namespaces=("default", "other"))
    scene.put("one", namespace="other")
    scene.informer.step()
    scene.world.store.compact()
    scene.put("two")
    scene.informer.step()
    scene.informer.step()
    assert scene.informer.views("run") == (("two", "a"), ("one", "a"))


# --- In threads ---------------------------------------------------------------------------------


@pytest.fixture
def running() -> Any:
    scene = Scene(blocking=True)
    scene.informer.start()
    waiting.until(lambda: scene.informer.synced, "the first list", seconds=10)
    yield scene
    scene.informer.stop()


def test_a_started_informer_follows_by_itself(running: Scene) -> None:
    running.put("one")
    waiting.until(lambda: running.informer.view("default", "one") is not None, "the lease", seconds=10)
    running.remove("one")
    waiting.until(lambda: running.informer.view("default", "one") is None, "its end", seconds=10)


def test_stop_ends_a_thread_that_waits_in_a_stream_of_a_minute(running: Scene) -> None:
    waiting.until(lambda: "watch" in [call.verb for call in running.api.calls], "a stream", seconds=10)
    running.informer.stop()
    assert not any(thread.is_alive() for thread in running.informer._threads)


def test_stop_ends_a_thread_that_waits_after_a_failure() -> None:
    scene = Scene(blocking=True, first_backoff_seconds=300, max_backoff_seconds=300)
    scene.api.before = failing(errors.ForbiddenError("no"))
    scene.informer.start()
    waiting.until(lambda: bool(scene.api.calls), "a try", seconds=10)
    scene.informer.stop()
    assert not any(thread.is_alive() for thread in scene.informer._threads)


def test_a_stop_between_the_request_and_its_answer_ends_the_stream_too() -> None:
    scene = Scene(blocking=True)
    stopper = threading.Thread(target=scene.informer.stop)

    def stop(call: Call) -> None:
        if call.verb == "watch":
            stopper.start()
            waiting.until(scene.informer._streams[0]._stopping.is_set, "the stop", seconds=10)

    scene.api.before = stop
    scene.informer.start()
    waiting.until(lambda: not scene.informer._threads[0].is_alive(), "the end", seconds=4)
    stopper.join(10)
