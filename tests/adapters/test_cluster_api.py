"""What the operator relies on of the API server; the fake and a real one must do the same."""

import threading
import time
from typing import Any

import pytest

from adapters import kubernetes_worlds
from adapters.kubernetes_worlds import World, job, lease, run
from cluster.lab import waiting
from scalequest_operator import cluster, errors
from scalequest_operator.cluster import EVENTS, JOBS, LEASES, RUNS
from scalequest_operator.lease import Lease
from scalequest_operator.watch import Informer, Subject

BODIES = {RUNS: run, JOBS: job, LEASES: lease}


def version(body: cluster.Body) -> int:
    return int(body["metadata"]["resourceVersion"])


def names(listing: cluster.Listing) -> list[str]:
    return sorted(body["metadata"]["name"] for body in listing.items)


def events_since(
    world: World, since: cluster.Body | cluster.Listing, resource: cluster.Resource, **options: Any
) -> list[cluster.WatchEvent]:
    """Return what changed after an object or a list, bookmarks left out."""
    at = since.resource_version if isinstance(since, cluster.Listing) else str(version(since))
    stream = world.api.watch(resource, world.namespace, resource_version=at, timeout_seconds=1, **options)
    return [event for event in stream if event.type != "BOOKMARK"]


# --- Create and read ----------------------------------------------------------------------------


@pytest.mark.parametrize("resource", BODIES, ids=lambda resource: str(resource.plural))
def test_what_is_created_has_an_identity_and_is_read_as_it_is(
    world: World, resource: cluster.Resource
) -> None:
    made = world.api.create(resource, world.namespace, BODIES[resource]())
    assert made["metadata"]["namespace"] == world.namespace
    assert made["metadata"]["uid"]
    assert version(made) > 0
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    found = world.api.get(resource, world.namespace, "one")
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert found["spec"] == made["spec"]
    assert (found["apiVersion"], found["kind"]) == (resource.api_version, resource.kind)


@pytest.mark.parametrize("resource", [RUNS, JOBS], ids=lambda resource: str(resource.plural))
def test_a_creator_cannot_set_the_status(world: World, resource: cluster.Resource) -> None:
    status = {"phase": "Completed", "succeeded": 7}
    made = world.api.create(resource, world.namespace, BODIES[resource]() | {"status": status})
    assert "succeeded" not in made.get("status", {})


def test_a_taken_name_is_refused(world: World) -> None:
    world.api.create(LEASES, world.namespace, lease())
    with pytest.raises(errors.AlreadyExistsError):
        world.api.create(LEASES, world.namespace, lease())


def test_generated_names_differ(world: World) -> None:
    body = lease() | {"metadata": {"generateName": "some-"}}
    made = {world.api.create(LEASES, world.namespace, body)["metadata"]["name"] for _ in range(5)}
    assert len(made) == 5
    assert all(name.startswith("some-") and len(name) == 10 for name in made)


def test_what_is_not_there_is_not_found(world: World) -> None:
    for resource in BODIES:
        with pytest.raises(errors.NotFoundError):
            world.api.get(resource, world.namespace, "none")
    with pytest.raises(errors.NotFoundError):
        world.api.create(LEASES, "nowhere", lease())
    with pytest.raises(errors.NotFoundError):
        world.api.patch(LEASES, world.namespace, "none", [])
    with pytest.raises(errors.NotFoundError):
        world.api.replace_status(RUNS, world.namespace, "none", run("none"))


@pytest.mark.parametrize(
    "body",
    [
        lease() | {"kind": "Pod", "apiVersion": "v1"},
        lease() | {"metadata": {"name": "one", "namespace": "elsewhere"}},
        lease() | {"metadata": {}},
    ],
    ids=["another kind", "another namespace", "no name"],
)
def test_a_body_that_is_not_what_it_should_be_is_invalid(world: World, body: cluster.Body) -> None:
    with pytest.raises(errors.InvalidError):
        world.api.create(LEASES, world.namespace, body)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"completionMode": "NonIndexed"}, "spec.backoffLimitPerIndex"),
        ({"completions": None}, "spec.completions"),
        ({"podReplacementPolicy": "TerminatingOrFailed"}, "spec.podReplacementPolicy"),
    ],
)
def test_the_fields_of_an_invalid_job_are_named(world: World, spec: dict[str, Any], field: str) -> None:
    body = job(**spec)
    body["spec"] = {name: value for name, value in body["spec"].items() if value is not None}
    with pytest.raises(errors.InvalidError) as caught:
        world.api.create(JOBS, world.namespace, body)
    assert field in [cause.field for cause in caught.value.causes]


# --- List ---------------------------------------------------------------------------------------


def test_a_list_selects_by_label(world: World) -> None:
    for name, labels in [
        ("a", {"app": "x", "run": "1"}),
        ("b", {"app": "x"}),
        ("c", {"app": "y"}),
        ("d", {}),
    ]:
        world.api.create(LEASES, world.namespace, lease(name, **labels))

    def selected(selector: str) -> list[str]:
        return names(world.api.list(LEASES, world.namespace, label_selector=selector))

    assert selected("") == ["a", "b", "c", "d"]
    assert selected("app=x") == ["a", "b"]
    assert selected("app=x,run=1") == ["a"]
    assert selected("app!=x") == ["c", "d"]
    assert selected("app in (x, y)") == ["a", "b", "c"]
    assert selected("app notin (x),app") == ["c"]
    assert selected("!app") == ["d"]


def test_a_list_selects_events_by_their_object(world: World) -> None:
    for number, name in enumerate(["mine", "mine", "other"]):
        world.api.create(EVENTS, world.namespace, event(world, f"e{number}", name))
    found = world.api.list(EVENTS, world.namespace, field_selector="involvedObject.name=mine")
    assert names(found) == ["e0", "e1"]
    with pytest.raises(errors.InvalidError):
        names(world.api.list(EVENTS, world.namespace, field_selector="message=x"))


def event(world: World, name: str, involved: str) -> cluster.Body:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": {"kind": "Job", "namespace": world.namespace, "name": involved},
        "reason": "Test",
    }


def test_an_event_lives_in_the_namespace_of_its_object(world: World) -> None:
    body = event(world, "one", "mine")
    body["involvedObject"]["namespace"] = "elsewhere"
    with pytest.raises(errors.InvalidError):
        world.api.create(EVENTS, world.namespace, body)


def test_pages_hold_every_object_once_and_say_what_it_is(world: World) -> None:
    for number in range(5):
        world.api.create(LEASES, world.namespace, lease(f"l{number}"))
    listing = world.api.list(LEASES, world.namespace, chunk=2)
    items = list(listing.items)
    assert [body["metadata"]["name"] for body in items] == ["l0", "l1", "l2", "l3", "l4"]
    assert {(body["apiVersion"], body["kind"]) for body in items} == {("coordination.k8s.io/v1", "Lease")}


def test_all_pages_show_one_moment_and_a_watch_from_it_misses_nothing(world: World) -> None:
    for number in range(3):
        world.api.create(LEASES, world.namespace, lease(f"l{number}"))
    listing = world.api.list(LEASES, world.namespace, chunk=2)
    new = world.api.create(LEASES, world.namespace, lease("l9"))
    assert names(listing) == ["l0", "l1", "l2"]
    [seen] = events_since(world, listing, LEASES)
    assert (seen.type, version(seen.body)) == ("ADDED", version(new))


def test_a_list_of_all_namespaces_holds_this_one(world: World) -> None:
    made = world.api.create(LEASES, world.namespace, lease("mine"))
    found = [body["metadata"]["uid"] for body in world.api.list(LEASES, None).items]
    assert made["metadata"]["uid"] in found


# --- Replace and patch --------------------------------------------------------------------------


def test_a_stale_replacement_is_a_conflict_and_changes_nothing(world: World) -> None:
    stale = world.api.create(LEASES, world.namespace, lease())
    world.api.replace(LEASES, world.namespace, "one", with_holder(stale, "b"))
    with pytest.raises(errors.ConflictError):
        world.api.replace(LEASES, world.namespace, "one", with_holder(stale, "c"))
    assert world.api.get(LEASES, world.namespace, "one")["spec"]["holderIdentity"] == "b"


def with_holder(body: cluster.Body, holder: str) -> cluster.Body:
    return body | {"spec": body["spec"] | {"holderIdentity": holder}}


@pytest.mark.parametrize("resource", [RUNS, LEASES], ids=lambda resource: str(resource.plural))
def test_a_replacement_without_a_version_is_refused(world: World, resource: cluster.Resource) -> None:
    world.api.create(resource, world.namespace, BODIES[resource]())
    with pytest.raises(errors.InvalidError):
        world.api.replace(resource, world.namespace, "one", BODIES[resource]())


def test_a_replacement_of_another_uid_is_a_conflict(world: World) -> None:
    made = world.api.create(LEASES, world.namespace, lease())
    body = made | {"metadata": made["metadata"] | {"uid": "0000beef-0000-4000-8000-000000000000"}}
    with pytest.raises(errors.ConflictError):
        world.api.replace(LEASES, world.namespace, "one", body)


def test_a_write_that_changes_nothing_is_no_change(world: World) -> None:
    made = world.api.create(LEASES, world.namespace, lease())
    assert version(world.api.replace(LEASES, world.namespace, "one", made)) == version(made)
    assert events_since(world, made, LEASES) == []


def test_of_many_guarded_writers_none_loses_an_update(world: World) -> None:
    world.api.create(LEASES, world.namespace, lease(holder="0"))

    def count() -> None:
        done = 0
        while done < 5:
            body = world.api.get(LEASES, world.namespace, "one")
            more = str(int(body["spec"]["holderIdentity"]) + 1)
            try:
                world.api.replace(LEASES, world.namespace, "one", with_holder(body, more))
                done += 1
            except errors.ConflictError:
                continue

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.api.get(LEASES, world.namespace, "one")["spec"]["holderIdentity"] == "30"


def test_a_status_is_written_through_its_own_door_only(world: World) -> None:
    made = world.api.create(RUNS, world.namespace, run())
    suspended = made | {"spec": made["spec"] | {"suspend": True}, "status": {"phase": "Running"}}
    after_status = world.api.replace_status(RUNS, world.namespace, "one", suspended)
    assert after_status["status"] == {"phase": "Running"}
    assert after_status["spec"] == made["spec"]
    assert after_status["metadata"]["generation"] == made["metadata"]["generation"] == 1
    changed = after_status | {"spec": suspended["spec"], "status": {"phase": "Failed"}}
    after_spec = world.api.replace(RUNS, world.namespace, "one", changed)
    assert after_spec["status"] == {"phase": "Running"}
    assert after_spec["spec"]["suspend"] is True
    assert after_spec["metadata"]["generation"] == 2


def test_a_stale_status_is_a_conflict(world: World) -> None:
    stale = world.api.create(RUNS, world.namespace, run())
    world.api.replace_status(RUNS, world.namespace, "one", stale | {"status": {"phase": "Running"}})
    with pytest.raises(errors.ConflictError):
        world.api.replace_status(RUNS, world.namespace, "one", stale | {"status": {"phase": "Failed"}})
    assert world.api.get(RUNS, world.namespace, "one")["status"] == {"phase": "Running"}


def test_a_patch_is_applied_whole_or_not_at_all(world: World) -> None:
    made = world.api.create(RUNS, world.namespace, run())
    add = {"op": "add", "path": "/metadata/finalizers", "value": ["scalequest.io/release"]}

    def test(value: str) -> dict[str, str]:
        return {"op": "test", "path": "/metadata/resourceVersion", "value": value}

    with pytest.raises(errors.InvalidError):
        world.api.patch(RUNS, world.namespace, "one", [add, test("1")])
    assert "finalizers" not in world.api.get(RUNS, world.namespace, "one")["metadata"]
    patched = world.api.patch(RUNS, world.namespace, "one", [test(str(version(made))), add])
    assert patched["metadata"]["finalizers"] == ["scalequest.io/release"]
    with pytest.raises(errors.InvalidError):
        world.api.patch(RUNS, world.namespace, "one", [{"op": "remove", "path": "/metadata/none"}])


def test_a_patch_changes_the_part_behind_its_door(world: World) -> None:
    world.api.create(JOBS, world.namespace, job(suspend=True))
    operations = [
        {"op": "replace", "path": "/spec/suspend", "value": False},
        {"op": "add", "path": "/status/succeeded", "value": 7},
    ]
    patched = world.api.patch(JOBS, world.namespace, "one", operations)
    assert patched["spec"]["suspend"] is False
    assert patched["metadata"]["generation"] == 2
    assert "succeeded" not in world.api.get(JOBS, world.namespace, "one")["status"]


# --- Delete -------------------------------------------------------------------------------------


def test_what_is_deleted_is_gone_and_deleting_it_again_succeeds(world: World) -> None:
    uid = world.api.create(LEASES, world.namespace, lease())["metadata"]["uid"]
    world.api.delete(LEASES, world.namespace, "one", uid=uid)
    with pytest.raises(errors.NotFoundError):
        world.api.get(LEASES, world.namespace, "one")
    world.api.delete(LEASES, world.namespace, "one", uid=uid)


def test_the_object_of_another_uid_is_not_deleted(world: World) -> None:
    made = world.api.create(LEASES, world.namespace, lease())
    with pytest.raises(errors.ConflictError):
        world.api.delete(LEASES, world.namespace, "one", uid="0000beef-0000-4000-8000-000000000000")
    assert version(world.api.get(LEASES, world.namespace, "one")) == version(made)


def test_a_finalizer_holds_a_deleted_object_until_it_goes(world: World) -> None:
    body = run()
    body["metadata"]["finalizers"] = ["scalequest.io/release"]
    made = world.api.create(RUNS, world.namespace, body)
    world.api.delete(RUNS, world.namespace, "one", uid=made["metadata"]["uid"])
    held = world.api.get(RUNS, world.namespace, "one")
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == 2
    world.api.delete(RUNS, world.namespace, "one", uid=made["metadata"]["uid"])
    assert version(world.api.get(RUNS, world.namespace, "one")) == version(held)
    world.api.replace_status(RUNS, world.namespace, "one", held | {"status": {"phase": "Failed"}})
    world.api.patch(RUNS, world.namespace, "one", [{"op": "remove", "path": "/metadata/finalizers"}])
    with pytest.raises(errors.NotFoundError):
        world.api.get(RUNS, world.namespace, "one")


def owned(owner: cluster.Body, name: str) -> cluster.Body:
    """Return a Job that belongs to a run."""
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
    reference |= {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    body = job(name, suspend=True)
    body["metadata"]["ownerReferences"] = [reference]
    return body


def test_what_a_deleted_run_owns_goes_with_it_even_if_its_name_is_taken_again(world: World) -> None:
    old = world.api.create(RUNS, world.namespace, run())
    world.api.create(JOBS, world.namespace, owned(old, "of-the-old"))
    world.api.create(JOBS, world.namespace, job("free", suspend=True))
    world.api.delete(RUNS, world.namespace, "one", uid=old["metadata"]["uid"])
    new = world.api.create(RUNS, world.namespace, run())
    world.api.create(JOBS, world.namespace, owned(new, "of-the-new"))
    # The real collector looks for new kinds of owners every half minute.
    world.until(
        lambda: names(world.api.list(JOBS, world.namespace)) == ["free", "of-the-new"],
        "the Job to go",
        seconds=120,
    )


# --- Watch --------------------------------------------------------------------------------------


def test_a_watch_tells_every_change_in_order_with_rising_versions(world: World) -> None:
    start = world.api.list(LEASES, world.namespace)
    made = world.api.create(LEASES, world.namespace, lease())
    changed = world.api.replace(LEASES, world.namespace, "one", with_holder(made, "b"))
    world.api.delete(LEASES, world.namespace, "one", uid=made["metadata"]["uid"])
    seen = events_since(world, start, LEASES)
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert [version(event.body) for event in seen][:2] == [version(made), version(changed)]
    assert version(seen[2].body) > version(changed)
    assert seen[2].body["spec"]["holderIdentity"] == "b"
    assert events_since(world, seen[2].body, LEASES) == []
    assert [event.type for event in events_since(world, made, LEASES)] == ["MODIFIED", "DELETED"]


def test_a_watch_by_label_sees_objects_come_and_go_as_their_labels_change(world: World) -> None:
    start = world.api.list(LEASES, world.namespace)
    world.api.create(LEASES, world.namespace, lease("other", app="y"))
    world.api.create(LEASES, world.namespace, lease(app="y"))
    for app in ("x", "x", "y"):
        label = {"op": "replace", "path": "/metadata/labels/app", "value": app}
        holder = {"op": "replace", "path": "/spec/holderIdentity", "value": str(time.monotonic_ns())}
        world.api.patch(LEASES, world.namespace, "one", [label, holder])
    seen = events_since(world, start, LEASES, label_selector="app=x")
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_watch_of_a_namespace_sees_no_other(world: World) -> None:
    start = world.api.list(LEASES, world.namespace)
    other = "other" if world.namespace == "default" else "default"
    made = world.api.create(LEASES, other, lease(f"other-{time.monotonic_ns()}"))
    assert events_since(world, start, LEASES) == []
    world.api.delete(LEASES, other, made["metadata"]["name"], uid=made["metadata"]["uid"])


def test_a_watch_of_a_resource_sees_no_other(world: World) -> None:
    start = world.api.list(LEASES, world.namespace)
    world.api.create(JOBS, world.namespace, job(suspend=True))
    assert events_since(world, start, LEASES) == []


def test_a_watch_ends_by_itself_in_its_time(world: World) -> None:
    start, begun = world.api.list(LEASES, world.namespace), time.monotonic()
    assert events_since(world, start, LEASES) == []
    assert 0.9 < time.monotonic() - begun < 3


def test_a_watch_shows_a_change_at_once_and_ends_when_closed_by_another_thread(world: World) -> None:
    start = world.api.list(LEASES, world.namespace).resource_version
    stream = world.api.watch(LEASES, world.namespace, resource_version=start, timeout_seconds=60)
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.extend(event.type for event in stream))
    thread.start()
    world.api.create(LEASES, world.namespace, lease())
    waiting.until(lambda: "ADDED" in seen, "the change", seconds=5)
    stream.close()
    thread.join(5)
    assert not thread.is_alive()


# --- What is built on it ------------------------------------------------------------------------


def test_an_informer_follows(world: World) -> None:
    world.api.create(LEASES, world.namespace, lease(app="x"))
    changes: list[tuple[str | None, str | None]] = []
    subject = Subject(
        resource=LEASES,
        namespaces=[world.namespace],
        label_selector="app=x",
        digest=lambda body: str(body["spec"]["holderIdentity"]),
        owner=lambda body: str(body["metadata"]["labels"]["app"]),
        on_change=lambda old, new: changes.append((old, new)),
    )
    informer = Informer(world.api, subject)
    informer.start()
    try:
        waiting.until(lambda: informer.synced, "the first list", seconds=10)
        made = world.api.get(LEASES, world.namespace, "one")
        world.api.replace(LEASES, world.namespace, "one", with_holder(made, "b"))
        waiting.until(lambda: informer.views("x") == ("b",), "the change", seconds=10)
        world.api.delete(LEASES, world.namespace, "one", uid=made["metadata"]["uid"])
        waiting.until(lambda: len(informer) == 0, "the end", seconds=10)
    finally:
        begun = time.monotonic()
        informer.stop()
    assert time.monotonic() - begun < 2, "stop does not wait for the stream's own end"
    assert changes == [(None, "a"), ("a", "b"), ("b", None)]


def test_one_candidate_holds_the_lease_and_another_takes_it_over(world: World) -> None:
    first, second = (
        Lease(world.api, namespace=world.namespace, name="leader", identity=identity, on_lost=pytest.fail)
        for identity in ("first", "second")
    )
    assert first.attempt()
    assert not second.attempt()
    assert first.attempt()
    first.release()
    assert second.attempt()
    assert not first.attempt()


# --- Permissions --------------------------------------------------------------------------------


def call(api: cluster.KubeApi, namespace: str, rule: cluster.Rule, verb: str) -> None:
    """Make the call that a verb stands for; what it does is of no matter."""
    resource = rule.resource
    body = BODIES.get(resource, lease)("none")
    match verb:
        case "get":
            api.get(resource, namespace, "none")
        case "list":
            names(api.list(resource, namespace))
        case "watch":
            api.watch(resource, namespace, resource_version="0", timeout_seconds=1).close()
        case "create":
            api.create(resource, namespace, body)
        case "update" if rule.subresource:
            api.replace_status(resource, namespace, "none", body)
        case "update":
            api.replace(resource, namespace, "none", body)
        case "patch":
            api.patch(resource, namespace, "none", [], subresource=rule.subresource)
        case "delete":
            api.delete(resource, namespace, "none", uid="0000beef-0000-4000-8000-000000000000")
        case _:
            pytest.fail(f"no call is known for {verb}")


def is_allowed(api: cluster.KubeApi, namespace: str, rule: cluster.Rule, verb: str) -> bool:
    try:
        call(api, namespace, rule, verb)
    except errors.ForbiddenError:
        return False
    except (errors.NotFoundError, errors.InvalidError, errors.ConflictError, errors.AlreadyExistsError):
        return True
    return True


EVERY_RULE = [(rule, verb) for rule in (*cluster.RULES, *cluster.LEASE_RULES) for verb in rule.verbs]


@pytest.mark.cluster
def test_the_rules_are_what_the_calls_need_no_more_and_no_less(plane: kubernetes_worlds.Plane) -> None:
    world = kubernetes_worlds.RealWorld(plane)
    with plane.account(world.namespace, (*cluster.RULES, *cluster.LEASE_RULES)) as api:
        for rule, verb in EVERY_RULE:
            wait_until_allowed(api, world.namespace, rule, verb)
    for rule, verb in EVERY_RULE:
        others = tuple(less(each, rule, verb) for each in (*cluster.RULES, *cluster.LEASE_RULES))
        with plane.account(world.namespace, others) as api:
            other = next(pair for pair in EVERY_RULE if pair != (rule, verb))
            wait_until_allowed(api, world.namespace, *other)
            assert not is_allowed(api, world.namespace, rule, verb), (rule, verb)


def wait_until_allowed(api: cluster.KubeApi, namespace: str, rule: cluster.Rule, verb: str) -> None:
    """A new role takes a moment to be known."""
    waiting.until(lambda: is_allowed(api, namespace, rule, verb), f"{verb} {rule}", seconds=10)


def less(rule: cluster.Rule, without: cluster.Rule, verb: str) -> cluster.Rule:
    """Return a rule without one verb, if it is that rule."""
    if rule != without:
        return rule
    verbs = tuple(each for each in rule.verbs if each != verb)
    return cluster.Rule(resource=rule.resource, subresource=rule.subresource, verbs=verbs)


def test_the_fake_holds_an_operator_to_the_rules() -> None:
    fake = kubernetes_worlds.FakeWorld()
    for rule, verb in EVERY_RULE:
        assert is_allowed(fake.client(), fake.namespace, rule, verb)
        others = [less(each, rule, verb) for each in (*cluster.RULES, *cluster.LEASE_RULES)]
        assert not is_allowed(fake.client(others), fake.namespace, rule, verb)


def test_the_fake_tells_an_object_from_its_status() -> None:
    fake = kubernetes_worlds.FakeWorld()
    made = fake.api.create(RUNS, fake.namespace, run())
    with pytest.raises(errors.ForbiddenError):
        fake.client().replace(RUNS, fake.namespace, "one", made)
    with pytest.raises(errors.ForbiddenError):
        fake.client().patch(JOBS, fake.namespace, "one", [], subresource="status")
