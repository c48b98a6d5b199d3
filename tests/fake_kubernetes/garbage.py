"""The garbage collectors of the controller manager: of objects without an owner, and of pods that no node will end."""

from fake_kubernetes.store import Place, Store
from scalequest_operator import cluster

_OWNERS = {"Job": "jobs", "ScaleQuestRun": "scalequestruns"}


def collect(store: Store) -> bool:
    """Delete what has lost all of its owners, and end deleted pods that never had a node; tell whether any was.

    The real one does the first within a second, the second within twenty.
    """
    before = store.version
    for plural in ("jobs", "pods"):
        for body in store.all(plural, where=lambda body: _is_orphan(store, body)):
            store.delete(_place(plural, body), uid=body["metadata"]["uid"])
    for pod in store.all("pods", where=_is_going_nowhere):
        store.update(_place("pods", pod), lambda body: body["status"].update(phase="Failed"))
    return store.version != before


def _is_orphan(store: Store, body: cluster.Body) -> bool:
    owners = body["metadata"].get("ownerReferences", [])
    return bool(owners) and not any(_exists(store, body["metadata"]["namespace"], owner) for owner in owners)


def _is_going_nowhere(pod: cluster.Body) -> bool:
    return "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")


def _exists(store: Store, namespace: str, owner: dict[str, str]) -> bool:
    place = Place(plural=_OWNERS[owner["kind"]], namespace=namespace, name=owner["name"])
    return store.uid(place) == owner["uid"]


def _place(plural: str, body: cluster.Body) -> Place:
    return Place(plural=plural, namespace=body["metadata"]["namespace"], name=body["metadata"]["name"])
