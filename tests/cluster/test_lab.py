"""The cluster is a real one, its faults are real ones, and nothing of it stays."""

import itertools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cluster.lab import images, layout, node, processes, volumes, waiting
from cluster.lab.cluster import Cluster

pytestmark = pytest.mark.cluster

POD_SECURITY = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"lab-{uuid.uuid4().hex[:8]}"
    cluster.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": POD_SECURITY}}
    )
    waiting.until(
        lambda: cluster.kubectl.exists("serviceaccount", "default", "--namespace", name), "its account"
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def container(script: str, *, image: str = images.BASE, gpus: int = 0, **more: Any) -> dict[str, Any]:
    """Return a container that Pod Security `restricted` admits."""
    return {
        "name": "main",
        "image": image,
        "command": ["python3", "-c", script],
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **({"resources": {"limits": {"nvidia.com/gpu": gpus}}} if gpus else {}),
        **more,
    }


def pod(namespace: str, name: str, main: dict[str, Any], **more: Any) -> dict[str, Any]:
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [main],
            "securityContext": security,
            **more,
        },
    }


def phase(cluster: Cluster, namespace: str, name: str) -> str:
    return str(cluster.kubectl.get("pod", name, "--namespace", namespace)["status"]["phase"])


def output(cluster: Cluster, namespace: str, name: str) -> str:
    """Return what a pod printed, after its end."""
    waiting.until(lambda: phase(cluster, namespace, name) in {"Succeeded", "Failed"}, f"the end of {name}")
    return cluster.kubectl("logs", name, "--namespace", namespace)


def phases(cluster: Cluster, namespace: str) -> list[str]:
    return sorted(
        found["status"]["phase"] for found in cluster.kubectl.get("pods", "--namespace", namespace)["items"]
    )


def asked(address: str, *, timeout_seconds: float) -> int:
    """Return the status with which a server answers."""
    with urllib3.PoolManager(retries=False, timeout=timeout_seconds) as client:
        return client.request("GET", address).status


def conditions(cluster: Cluster, node: str) -> dict[str, str]:
    found = cluster.kubectl.get("node", node)["status"]["conditions"]
    return {condition["type"]: condition["status"] for condition in found}


def test_a_pod_runs_under_restricted_pod_security_on_every_node(cluster: Cluster, namespace: str) -> None:
    for name in cluster.layout.nodes:
        cluster.kubectl.apply(pod(namespace, name, container("print('hello')"), nodeName=name))
    assert [output(cluster, namespace, name) for name in cluster.layout.nodes] == ["hello\n", "hello\n"]


def test_gpus_are_given_out_until_none_is_left(cluster: Cluster, namespace: str) -> None:
    pods = [pod(namespace, f"p{number}", container("input()", gpus=4, stdin=True)) for number in range(5)]
    cluster.kubectl.apply(*pods)
    expected = ["Pending", "Running", "Running", "Running", "Running"]
    waiting.until(lambda: phases(cluster, namespace) == expected, "four of five pods running")
    waiting_pod = next(
        found
        for found in cluster.kubectl.get("pods", "--namespace", namespace)["items"]
        if found["status"]["phase"] == "Pending"
    )
    assert "Insufficient nvidia.com/gpu" in waiting_pod["status"]["conditions"][0]["message"]
    labels = cluster.kubectl.get("node", "node1")["metadata"]["labels"]
    assert labels["nvidia.com/gpu.product"] == cluster.gpu_product


def test_a_pod_reaches_the_s3_server_and_the_api_server(cluster: Cluster, namespace: str) -> None:
    script = f"""
import json, os, ssl, urllib.request, urllib.error
account = '/var/run/secrets/kubernetes.io/serviceaccount'
try:
    urllib.request.urlopen('{cluster.s3.endpoint}/{cluster.s3.bucket}')
except urllib.error.HTTPError as error:
    print('s3', error.code)
trust = ssl.create_default_context(cafile=account + '/ca.crt')
address = 'https://' + os.environ['KUBERNETES_SERVICE_HOST'] + '/api'
token = open(account + '/token').read()
request = urllib.request.Request(address, headers={{'Authorization': 'Bearer ' + token}})
print('api', json.load(urllib.request.urlopen(request, context=trust))['versions'])
"""
    cluster.kubectl.apply(pod(namespace, "client", container(script)))
    assert output(cluster, namespace, "client") == "s3 403\napi ['v1']\n"


def test_a_stopped_s3_server_comes_back_with_its_objects(cluster: Cluster) -> None:
    import io

    import minio

    key, secret = cluster.s3.access_key_file.read_text(), cluster.s3.secret_key_file.read_text()
    address = cluster.s3.endpoint.removeprefix("http://")
    client = minio.Minio(address, access_key=key, secret_key=secret, secure=False, region=cluster.s3.region)
    client.put_object(cluster.s3.bucket, "kept", io.BytesIO(b"yes"), 3)
    cluster.stop("s3")
    with pytest.raises(urllib3.exceptions.NewConnectionError, match="refused"):
        asked(cluster.s3.endpoint, timeout_seconds=5)
    cluster.start("s3")
    with client.get_object(cluster.s3.bucket, "kept") as response:
        assert response.read() == b"yes"


def test_a_paused_server_hangs_until_it_is_resumed(cluster: Cluster) -> None:
    cluster.pause("s3")
    try:
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            asked(cluster.s3.endpoint, timeout_seconds=0.5)
    finally:
        cluster.resume("s3")
    assert asked(cluster.s3.endpoint, timeout_seconds=20) == 403


def test_the_api_server_comes_back_with_its_objects(cluster: Cluster, namespace: str) -> None:
    cluster.stop("kube-apiserver")
    with pytest.raises(Exception, match="refused"):
        cluster.kubectl("get", "namespace", namespace)
    cluster.start("kube-apiserver")
    assert cluster.kubectl.exists("namespace", namespace)


def test_a_volume_shows_a_folder_of_this_machine_read_only(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "name").write_text("from the host")
    tmp_path.chmod(0o755)  # a pod is no root
    cluster.kubectl.apply(*volumes.read_only(namespace, "shared", tmp_path))
    script = """
print(open('/shared/name').read())
try: open('/shared/new', 'w')
except OSError as error: print(error.strerror)
"""
    main = container(script, volumeMounts=[{"name": "shared", "mountPath": "/shared", "readOnly": True}])
    claim = {"name": "shared", "persistentVolumeClaim": {"claimName": "shared", "readOnly": True}}
    cluster.kubectl.apply(pod(namespace, "reader", main, volumes=[claim]))
    assert output(cluster, namespace, "reader") == "from the host\nRead-only file system\n"


def test_the_images_run_this_checkout(cluster_with_images: Cluster, namespace: str) -> None:
    """The stages' own image is light; an engine comes from the environment that a volume shows."""
    running = cluster_with_images
    running.kubectl.apply(*volumes.read_only(namespace, "environment", layout.site_packages()))
    script = "import scalequest_jobs, torch; print(scalequest_jobs.__file__, torch.__file__)"
    mount = {"name": "environment", "mountPath": "/environment", "readOnly": True}
    claim = {"name": "environment", "persistentVolumeClaim": {"claimName": "environment", "readOnly": True}}
    jobs = container(script, image=images.JOBS, volumeMounts=[mount])
    running.kubectl.apply(pod(namespace, "jobs", jobs, volumes=[claim]))
    operator = container(
        "import kopf, scalequest_operator; print(scalequest_operator.__file__)", image=images.OPERATOR
    )
    running.kubectl.apply(pod(namespace, "operator", operator))
    source = "/opt/scalequest/source"
    expected = f"{source}/scalequest_jobs/__init__.py /environment/torch/__init__.py\n"
    assert output(running, namespace, "jobs") == expected
    assert output(running, namespace, "operator") == f"{source}/scalequest_operator/__init__.py\n"


def test_a_killed_node_is_missed_and_comes_back_with_its_gpus(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl.apply(pod(namespace, "lost", container("input()", stdin=True), nodeName="node2"))
    waiting.until(lambda: phase(cluster, namespace, "lost") == "Running", "the pod on node2")
    cluster.kill_node("node2")
    waiting.until(
        lambda: conditions(cluster, "node2")["Ready"] == "Unknown", "node2 to be missed", seconds=90
    )
    assert phase(cluster, namespace, "lost") == "Running"
    cluster.start_node("node2")
    assert cluster.kubectl.get("node", "node2")["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    waiting.until(lambda: phase(cluster, namespace, "lost") == "Failed", "the lost pod to be reported")
    cluster.kubectl.apply(pod(namespace, "next", container("print('again')", gpus=1), nodeName="node2"))
    assert output(cluster, namespace, "next") == "again\n"


def test_a_kubelet_that_ended_is_started_again(cluster: Cluster) -> None:
    def kubelets() -> list[int]:
        return processes.find(cluster.layout.folder, "node2/kubelet")

    processes.stop(cluster.layout.folder, "node2/kubelet")
    assert not kubelets()
    node.wait_until_ready(cluster.layout, "node2", cluster.kubectl)
    assert kubelets()


def test_pods_of_a_disconnected_node_go_on_unseen(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    script = "import time\nwhile True: print(time.time(), flush=True); time.sleep(0.1)"
    cluster.kubectl.apply(pod(namespace, "zombie", container(script), nodeName="node2"))
    waiting.until(lambda: phase(cluster, namespace, "zombie") == "Running", "the pod on node2")
    cluster.disconnect_node("node2")
    try:
        waiting.until(
            lambda: conditions(cluster, "node2")["Ready"] == "Unknown", "node2 to be missed", seconds=90
        )
        missed_at = time.time()
    finally:
        cluster.reconnect_node("node2")
    waiting.until(lambda: conditions(cluster, "node2")["Ready"] == "True", "node2 to return", seconds=90)
    written = cluster.kubectl("logs", "zombie", "--namespace", namespace).split()
    assert float(written[-1]) > missed_at
    gaps = [float(later) - float(earlier) for earlier, later in itertools.pairwise(written)]
    assert max(gaps) < 10


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_of_a_cluster_whose_owner_was_ended(end: signal.Signals, tmp_path: Path) -> None:
    """After Ctrl-C at once; after a kill when the name is used again."""
    code = """
from cluster.lab.cluster import Cluster, temporary
with temporary("ended", Cluster(name="", num_nodes=1)) as running:
    print(running.name, flush=True)
    input()
"""
    environment = {**os.environ, "PYTHONPATH": str(layout.ROOT / "tests")}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
        # A runner in the background ignores Ctrl-C, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread runs
    ) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        claimed = layout.read(name)
        assert processes.find(claimed.folder)
        owner.send_signal(end)
        owner.wait(timeout=60)
    if end == signal.SIGKILL:
        assert processes.find(claimed.folder)
        Cluster(name=name).down()
    assert left_of(claimed) == []


def left_of(claimed: layout.Layout) -> list[str]:
    """Return what a cluster left on this machine."""
    mounts = [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(claimed.folder) in line
    ]
    interfaces = [path.name for path in Path("/sys/class/net").glob(f"{claimed.bridge}*")]
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob(claimed.bridge)]
    folders = [str(path) for path in (claimed.folder, claimed.folder / "object-store") if path.exists()]
    return [*map(str, processes.find(claimed.folder)), *mounts, *interfaces, *groups, *folders]


def test_two_clusters_run_side_by_side(cluster: Cluster) -> None:
    with Cluster(name=f"beside-{uuid.uuid4().hex[:6]}", num_nodes=0, has_object_store=False) as other:
        other.kubectl("create", "namespace", "only-here")
        assert not cluster.kubectl.exists("namespace", "only-here")
        assert other.layout.api_server != cluster.layout.api_server


def test_up_is_idempotent(cluster: Cluster) -> None:
    before = processes.find(cluster.layout.folder, "kube-apiserver")
    cluster.up()
    assert processes.find(cluster.layout.folder, "kube-apiserver") == before
