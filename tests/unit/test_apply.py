"""Actions carried out on the API server; each may be repeated."""

from dataclasses import replace
from typing import Any

import pytest

import builders
from fake_kubernetes.store import Place
from fake_kubernetes.world import NAMESPACE, World
from operator_builders import NOW, make_observed, planned
from scalequest_jobs.contract import names
from scalequest_operator import cluster, errors
from scalequest_operator.apply import Applier, JobRefusedError
from scalequest_operator.planning import views
from scalequest_operator.planning.model import (
    Action,
    CreateJob,
    DeleteJob,
    DeleteRun,
    FailPod,
    SetFinalizer,
    SuspendJob,
)


class Scene:
    """A run on a fake cluster, and an operator's client."""

    def __init__(self, *, finalizers: list[str] | None = None) -> None:
        self.world = World()
        document = builders.run_document(preference=None, fineTuning=None)
        document["metadata"] = {"name": "run", "namespace": NAMESPACE, "finalizers": finalizers or []}
        self.world.api.create(cluster.RUNS, NAMESPACE, document)
        self.client = self.world.client()

    @property
    def run(self) -> Any:
        return views.run_view(self.world.api.get(cluster.RUNS, NAMESPACE, "run"))

    def apply(self, *actions: Action) -> None:
        applier = Applier(api=self.client, run=self.run, now=NOW)
        for action in actions:
            applier.apply(action)

    def create(self) -> CreateJob:
        plan = planned(make_observed(self.run))
        return next(action for action in plan.actions if isinstance(action, CreateJob))

    def job(self, name: str) -> cluster.Body:
        return self.world.api.get(cluster.JOBS, NAMESPACE, name)

    def has(self, plural: str, name: str) -> bool:
        return self.world.store.find(Place(plural=plural, namespace=NAMESPACE, name=name)) is not None


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_job_is_created_once_however_often_it_is_asked_for(scene: Scene) -> None:
    create = scene.create()
    scene.apply(create)
    uid = scene.job(create.name)["metadata"]["uid"]
    scene.apply(create)
    assert scene.job(create.name)["metadata"]["uid"] == uid


def test_a_job_of_that_name_that_is_not_the_runs_own_is_refused_and_left_alone(scene: Scene) -> None:
    create = scene.create()
    body = {**create.body, "metadata": {**create.body["metadata"], "labels": {}}}
    scene.world.api.create(cluster.JOBS, NAMESPACE, body)
    with pytest.raises(JobRefusedError, match="this run did not make; delete it") as caught:
        scene.apply(create)
    assert caught.value.job == create.name
    assert scene.has("jobs", create.name)


@pytest.mark.parametrize("error", [errors.InvalidError, errors.ForbiddenError, errors.QuotaError])
def test_a_job_that_is_not_taken_is_told_apart_from_one_that_nobody_answered_for(
    scene: Scene, error: type[errors.ClusterError]
) -> None:
    def refuse(call: Any) -> None:
        raise error("violates PodSecurity")

    scene.client.before = refuse
    with pytest.raises(JobRefusedError, match="violates PodSecurity"):
        scene.apply(scene.create())


def test_no_answer_is_passed_on_and_the_repetition_finds_what_was_done(scene: Scene) -> None:
    def lose(call: Any) -> None:
        raise errors.UnavailableError("no answer")

    create = scene.create()
    scene.client.after = lose
    with pytest.raises(errors.UnavailableError):
        scene.apply(create)
    scene.client.after = lambda call: None
    scene.apply(create)
    assert scene.has("jobs", create.name)


def test_a_job_is_suspended_and_resumed_with_a_new_deadline(scene: Scene) -> None:
    create = scene.create()
    scene.apply(create)
    uid = scene.job(create.name)["metadata"]["uid"]
    scene.apply(SuspendJob(name=create.name, uid=uid, suspend=True))
    assert scene.job(create.name)["spec"]["suspend"] is True
    assert "activeDeadlineSeconds" not in scene.job(create.name)["spec"]
    for _ in range(2):
        scene.apply(SuspendJob(name=create.name, uid=uid, suspend=False, deadline_seconds=77))
    assert scene.job(create.name)["spec"]["suspend"] is False
    assert scene.job(create.name)["spec"]["activeDeadlineSeconds"] == 77


def test_another_job_of_the_same_name_is_neither_suspended_nor_deleted(scene: Scene) -> None:
    create = scene.create()
    scene.apply(create)
    with pytest.raises(errors.InvalidError):
        scene.apply(SuspendJob(name=create.name, uid="another", suspend=True))
    scene.apply(DeleteJob(name=create.name, uid="another"))
    assert scene.job(create.name)["spec"]["suspend"] is False


def test_deleting_twice_is_deleting_once(scene: Scene) -> None:
    create = scene.create()
    scene.apply(create)
    delete = DeleteJob(name=create.name, uid=scene.job(create.name)["metadata"]["uid"])
    scene.apply(delete, delete)
    assert not scene.has("jobs", create.name)
    scene.apply(SuspendJob(name=create.name, uid=delete.uid, suspend=True))


def running_pod(scene: Scene) -> cluster.Body:
    create = scene.create()
    scene.apply(create)
    scene.world.settle()
    (pod,) = scene.world.kubelet.pods(create.name)
    scene.world.kubelet.run(pod["metadata"]["name"])
    return pod


def disruptions(pod: cluster.Body) -> list[dict[str, str]]:
    return [each for each in pod["status"]["conditions"] if each["type"] == "DisruptionTarget"]


def test_a_pod_on_a_lost_machine_becomes_a_disrupted_one(scene: Scene) -> None:
    metadata = running_pod(scene)["metadata"]
    scene.apply(FailPod(name=metadata["name"], uid=metadata["uid"], message="node-1 is silent"))
    pod = scene.world.kubelet.pod(metadata["name"])
    assert pod["status"]["phase"] == "Failed"
    (condition,) = disruptions(pod)
    assert (condition["status"], condition["message"]) == ("True", "node-1 is silent")


def test_a_pod_that_is_marked_already_is_not_marked_twice(scene: Scene) -> None:
    metadata = running_pod(scene)["metadata"]
    scene.world.kubelet.disrupt(metadata["name"], "DeletionByTaintManager")
    scene.apply(FailPod(name=metadata["name"], uid=metadata["uid"], message="x", is_marked=True))
    pod = scene.world.kubelet.pod(metadata["name"])
    assert pod["status"]["phase"] == "Failed"
    assert [each["reason"] for each in disruptions(pod)] == ["DeletionByTaintManager"]


def test_our_finalizer_comes_and_goes_and_others_stay() -> None:
    scene = Scene(finalizers=["other/hold"])
    scene.apply(SetFinalizer(present=True))
    assert scene.run.finalizers == ("other/hold", names.FINALIZER)
    scene.apply(SetFinalizer(present=True))
    assert scene.run.finalizers == ("other/hold", names.FINALIZER)
    scene.apply(SetFinalizer(present=False))
    assert scene.run.finalizers == ("other/hold",)


def test_a_finalizer_that_somebody_else_added_meanwhile_is_not_lost() -> None:
    scene = Scene(finalizers=["other/hold"])
    before = scene.run
    place = Place(plural=cluster.RUNS.plural, namespace=NAMESPACE, name="run")
    scene.world.store.update(place, lambda body: body["metadata"]["finalizers"].append("third/hold"))
    with pytest.raises(errors.InvalidError):
        Applier(api=scene.client, run=before, now=NOW).apply(SetFinalizer(present=True))
    assert scene.run.finalizers == ("other/hold", "third/hold")


def test_a_deleted_run_goes_with_its_last_finalizer() -> None:
    scene = Scene()
    scene.apply(SetFinalizer(present=True), DeleteRun())
    assert scene.run.deleted is not None
    scene.apply(SetFinalizer(present=False))
    assert not scene.has(cluster.RUNS.plural, "run")


def test_a_run_of_the_same_name_made_anew_is_not_touched(scene: Scene) -> None:
    old = replace(scene.run, uid="an earlier run")
    applier = Applier(api=scene.client, run=old, now=NOW)
    applier.apply(DeleteRun())
    with pytest.raises(errors.InvalidError):
        applier.apply(SetFinalizer(present=True))
    assert scene.run.finalizers == ()
