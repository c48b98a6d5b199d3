"""Two Kubernetes for one suite: the fake, and a real control plane whose nodes are played by hand."""

import contextlib
import copy
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import kubernetes.client
import urllib3
import yaml

from cluster.lab import cluster as lab
from cluster.lab import waiting
from fake_kubernetes import kubelet, world
from fake_kubernetes.store import timestamp
from scalequest_operator import cluster, cluster_client
from scalequest_operator.rate import TokenBucket

ROOT = Path(__file__).parents[2]
HEARTBEAT_SECONDS = 10


class World(Protocol):
    """A cluster with an administrator's client and a kubelet, in a namespace of the test's own."""

    api: cluster.KubeApi
    kubelet: kubelet.Kubelet
    namespace: str

    def until(self, condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
        """Let the controllers work and time pass until a condition holds."""


class FakeWorld(world.World):
    namespace = world.NAMESPACE


class RealWorld:
    """A namespace of a real control plane."""

    def __init__(self, plane: "Plane") -> None:
        self.api = plane.api
        self.plane = plane
        self.namespace = f"test-{uuid.uuid4().hex[:8]}"
        plane.core.create_namespace({"metadata": {"name": self.namespace}})
        self.kubelet = kubelet.Kubelet(
            self.api, RealDoors(plane.core), wall=time.time, namespace=self.namespace
        )
        self.until(self._has_account, "the service account")

    def until(self, condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
        waiting.until(condition, what, seconds=seconds)

    def _has_account(self) -> bool:
        return bool(self.plane.core.list_namespaced_service_account(self.namespace).items)


class Plane:
    """A control plane without nodes, this project's CRD, and one node that is only an object."""

    def __init__(self, found: lab.Cluster) -> None:
        self.cluster = found
        limit = TokenBucket(per_second=1000, burst=1000)
        self.api = cluster_client.connect(kubeconfig=str(found.layout.kubeconfig), limit=limit)
        self.core = kubernetes.client.CoreV1Api(self.api._client)
        self.core.create_node({"metadata": {"name": kubelet.NODE}})
        found.kubectl("apply", "--filename", str(ROOT / "crds" / "scalequestrun.yaml"))
        found.kubectl(
            "wait", "--for=condition=Established", f"crd/{cluster.RUNS.plural}.{cluster.RUNS.group}"
        )

    def beat(self, stop: threading.Event) -> None:
        """Keep the node ready: of one that is not, Kubernetes marks any pod that comes to it as not ready."""
        while True:
            ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": timestamp(time.time())}
            with contextlib.suppress(kubernetes.client.ApiException, urllib3.exceptions.HTTPError):
                self.core.patch_node_status(kubelet.NODE, {"status": {"conditions": [ready]}})
            if stop.wait(HEARTBEAT_SECONDS):
                return

    @contextlib.contextmanager
    def account(
        self, namespace: str, rules: Sequence[cluster.Rule]
    ) -> Iterator[cluster_client.ClusterClient]:
        """Lend a client of a new service account that has only these rules, in one namespace."""
        name = f"account-{uuid.uuid4().hex[:8]}"
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding"}
        place = {"name": name, "namespace": namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount"} | place
        self.cluster.kubectl.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place},
            role | {"metadata": place, "rules": [_policy_rule(rule) for rule in rules if rule.verbs]},
            binding | {"metadata": place, "roleRef": reference, "subjects": [subject]},
        )
        configuration = copy.deepcopy(self.api._client.configuration)
        token = self.cluster.kubectl("create", "token", name, "--namespace", namespace).strip()
        configuration.api_key = {"BearerToken": f"Bearer {token}"}
        configuration.refresh_api_key_hook = None
        client = cluster_client.ClusterClient(configuration)
        yield client
        client.close()


def _policy_rule(rule: cluster.Rule) -> dict[str, list[str]]:
    name = "/".join(filter(None, [rule.resource.plural, rule.subresource]))
    return {"apiGroups": [rule.resource.group], "resources": [name], "verbs": [*rule.verbs]}


@contextlib.contextmanager
def running_plane() -> Iterator[Plane]:
    """Run a control plane until the block ends."""
    with lab.temporary("api", lab.Cluster(name="", num_nodes=0, has_object_store=False)) as found:
        plane, stop = Plane(found), threading.Event()
        beating = threading.Thread(target=plane.beat, args=(stop,), name="heartbeat")
        beating.start()
        try:
            yield plane
        finally:
            stop.set()
            beating.join()


class RealDoors:
    """What a scheduler and a kubelet ask of the API server."""

    def __init__(self, core: kubernetes.client.CoreV1Api) -> None:
        self._core = core

    def bind(self, pod: cluster.Body, node: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"metadata": {"name": pod["metadata"]["name"]}, "target": target}
        # The answer is a Status, which the library takes for a Binding.
        self._core.create_namespaced_binding(pod["metadata"]["namespace"], body, _preload_content=False)

    def remove(self, pod: cluster.Body) -> None:
        self._delete(pod, gracePeriodSeconds=0)

    def delete(self, pod: cluster.Body) -> None:
        self._delete(pod)

    def _delete(self, pod: cluster.Body, **options: int) -> None:
        metadata = pod["metadata"]
        body = {"preconditions": {"uid": metadata["uid"]}, **options}
        try:
            self._core.delete_namespaced_pod(metadata["name"], metadata["namespace"], body=body)
        except kubernetes.client.ApiException as error:
            if error.status != 404:
                raise


def lease(name: str = "one", holder: str = "a", **labels: str) -> cluster.Body:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "labels": labels},
        "spec": {"holderIdentity": holder},
    }


def run(name: str = "one") -> cluster.Body:
    """Return a valid run: the paper's."""
    body: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "scalequest-math.yaml").read_text())
    body["metadata"] = {"name": name}
    return body


POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [64, 65]}},
    ]
}


def job(name: str = "one", *, finalizers: tuple[str, ...] = (), **spec: Any) -> cluster.Body:
    """Return an Indexed Job of two pods as a stage has it, with one more try for each index."""
    pod = {
        "restartPolicy": "Never",
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "worker", "image": "none"}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": 2,
            "parallelism": 2,
            "backoffLimitPerIndex": 1,
            "podFailurePolicy": POLICY,
            "template": {"metadata": {"labels": {"app": "x"}, "finalizers": [*finalizers]}, "spec": pod},
            **spec,
        },
    }
