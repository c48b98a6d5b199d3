"""Kubernetes Events: told once, never a storm, never in the way."""

import datetime as dt
from typing import Any

import pytest

from fake_kubernetes.world import NAMESPACE, World
from operator_builders import NOW, make_run
from scalequest_operator import cluster, errors
from scalequest_operator.planning.model import Notice
from scalequest_operator.recorder import BURST, PER_MINUTE, REPEAT_AFTER, Recorder


class Scene:
    def __init__(self) -> None:
        self.world = World()
        self.client = self.world.client()
        self.recorder = Recorder(self.client, host="operator-1")

    def tell(self, message: str = "words", *, now: dt.datetime = NOW, run: Any = None) -> None:
        notice = Notice(kind="Warning", reason="PodFailed", message=message)
        self.recorder.tell(run or make_run(), notice, now)

    @property
    def events(self) -> list[cluster.Body]:
        return self.world.store.all("events")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_event_is_about_its_run(scene: Scene) -> None:
    scene.tell("row 7:\n\x1b[31mbad")
    (event,) = scene.events
    assert event["involvedObject"]["uid"] == make_run().uid
    assert event["involvedObject"]["kind"] == "ScaleQuestRun"
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "PodFailed", "row 7: [31mbad")
    assert event["metadata"]["namespace"] == NAMESPACE
    assert event["lastTimestamp"] == "2026-03-01T12:00:00Z"


def test_the_same_words_are_told_once_in_a_while(scene: Scene) -> None:
    for seconds in (0, 1, 300, REPEAT_AFTER.total_seconds() - 1):
        scene.tell(now=NOW + dt.timedelta(seconds=seconds))
    assert len(scene.events) == 1
    scene.tell(now=NOW + REPEAT_AFTER)
    assert len(scene.events) == 2


def test_a_run_that_tells_too_much_is_slowed_down_and_others_are_not(scene: Scene) -> None:
    for number in range(BURST + 20):
        scene.tell(f"event {number}")
    assert len(scene.events) == BURST
    scene.tell(run=make_run(uid="another"))
    assert len(scene.events) == BURST + 1
    for number in range(PER_MINUTE + 20):
        scene.tell(f"later {number}", now=NOW + dt.timedelta(minutes=1))
    assert len(scene.events) == BURST + 1 + PER_MINUTE


def test_words_that_were_held_back_may_be_told_later(scene: Scene) -> None:
    for number in range(BURST + 1):
        scene.tell(f"event {number}")
    scene.tell(f"event {BURST}", now=NOW + dt.timedelta(minutes=1))
    assert scene.events[-1] is not None
    assert f"event {BURST}" in [event["message"] for event in scene.events]


@pytest.mark.parametrize("error", [errors.UnavailableError, errors.ForbiddenError, errors.NotFoundError])
def test_an_event_that_is_not_accepted_is_given_up(scene: Scene, error: type[errors.ClusterError]) -> None:
    def refuse(call: Any) -> None:
        raise error("no")

    scene.client.before = refuse
    scene.tell()
    assert scene.events == []


def test_a_message_is_cut(scene: Scene) -> None:
    scene.tell("x" * 5000)
    assert len(scene.events[0]["message"]) <= 1024
