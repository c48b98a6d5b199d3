"""A node: kubelet, containerd and runc in namespaces of their own, ended all at once by the end of its first process."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any, Final

from . import cgroups, control_plane, images, network, processes, tools, waiting
from .kubectl import Kubectl
from .layout import Layout

_NAMESPACES: Final = ("--mount", "--net", "--pid", "--uts", "--ipc")
_START_SECONDS: Final = 60
# Kubernetes, containerd and the network plugins have these folders built in; each node gets its own.
PRIVATE_FOLDERS: Final = ("/run", "/var/lib", "/var/log")
# The kubelet sets these for the whole machine; a node shows it the values that it wants instead.
_KERNEL_SETTINGS: Final = {"vm/overcommit_memory": 1, "kernel/panic": 10, "kernel/panic_on_oops": 1}


def start(layout: Layout, node: str, *, is_new: bool = True) -> None:
    """Start a node up to its containerd; one that is not new keeps its containers, as after a reboot."""
    folder = layout.node_folder(node)
    folder.mkdir(exist_ok=True)
    cgroups.create(layout, node)
    first_process = _start_namespaces(layout, node)
    network.join(layout, node, pid=first_process)
    inside(layout, node, "sh", "-ec", _setup_script(layout, node))
    _write_configuration(layout, node)
    _start_containerd(layout, node)
    stale = containerd(layout, node, "containers", "list", "--quiet").split() if is_new else []
    if stale:
        containerd(layout, node, "containers", "delete", *stale)
        processes.stop(layout.folder, f"{node}/containerd")
        _start_containerd(layout, node)


def start_kubelet(layout: Layout, node: str) -> None:
    """Start a node's kubelet; the API server must have its certificate."""
    folder = layout.node_folder(node)
    control_plane.write_kubeconfig(layout, node)
    program = str(tools.path("kubernetes", "kubelet"))
    options = {
        "config": folder / "kubelet.json",
        "kubeconfig": folder / "kubeconfig",
        "root-dir": folder / "kubelet",
        "cert-dir": folder / "certificates",
        "hostname-override": node,
        "node-ip": layout.node_address(node),
        "node-labels": f"nvidia.com/gpu.product={layout.gpu_product}" if layout.gpus_per_node else "",
    }
    _start_inside(layout, node, "kubelet", program, *(f"--{name}={value}" for name, value in options.items()))


def wait_until_ready(layout: Layout, node: str, kubectl: Kubectl) -> None:
    """Wait until a node takes pods, and give it its GPUs: a kubelet that starts takes unknown resources away.

    A kubelet ends if containerd serves it too late; elsewhere systemd starts it again.
    """

    def is_ready() -> bool:
        if not processes.find(layout.folder, f"{node}/kubelet"):
            start_kubelet(layout, node)
        return kubectl.is_ready(node)

    log = layout.node_folder(node) / "kubelet.log"
    waiting.until(is_ready, f"{node} to be Ready", seconds=_START_SECONDS, log=log)
    if layout.gpus_per_node:
        amount = {"nvidia.com/gpu": str(layout.gpus_per_node)}
        patch = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
        kubectl("patch", "node", node, "--subresource=status", "--patch", patch)


def kill(layout: Layout, node: str) -> None:
    """End a node at once, as when its power fails."""
    processes.stop(layout.folder, node)


def inside(layout: Layout, node: str, *command: str) -> str:
    """Run a command in a node's namespaces and return its output."""
    done = subprocess.run([*_enter(layout, node), *command], check=True, capture_output=True, text=True)
    return done.stdout


def load(layout: Layout, node: str, image: str) -> None:
    """Give a node the newest build of an image; only layers that it lacks are copied."""
    present = containerd(layout, node, "content", "list", "--quiet").split()
    with tempfile.TemporaryFile(dir=layout.folder) as archive:
        images.store().write_archive(image, archive, without=set(present))
        archive.seek(0)
        containerd(layout, node, "images", "import", "-", stdin=archive)


def containerd(layout: Layout, node: str, *arguments: str, stdin: IO[bytes] | None = None) -> str:
    """Run containerd's client on a node, in the namespace that the kubelet uses, and return its output."""
    command = ["ctr", "--address", str(layout.containerd_socket(node)), "--namespace", "k8s.io", *arguments]
    done = subprocess.run(command, check=False, stdin=stdin or subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def _start_namespaces(layout: Layout, node: str) -> int:
    """Return the id, on the host, of the process that is the node's first."""
    pause = str(tools.path("pause", "pause"))
    command = [
        "unshare",
        *_NAMESPACES,
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation=slave",
        pause,
    ]
    processes.start(layout.folder, f"{node}/namespaces", command)
    waiting.until(lambda: _first_process(layout, node) is not None, f"{node}'s namespaces", seconds=10)
    return _first_process_of(layout, node)


def _first_process_of(layout: Layout, node: str) -> int:
    pid = _first_process(layout, node)
    if pid is None:
        raise ProcessLookupError(f"{node} of {layout.name} does not run; start it first")
    return pid


def _first_process(layout: Layout, node: str) -> int | None:
    """Find the process that runs our program as number 1 of its namespace."""
    for pid in processes.find(layout.folder, f"{node}/namespaces"):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        ids = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if len(ids) > 1 and ids[-1] == "1" and "Name:\tpause" in status:
            return pid
    return None


def _enter(layout: Layout, node: str) -> list[str]:
    return ["nsenter", "--target", str(_first_process_of(layout, node)), *_NAMESPACES, "--"]


def _start_inside(layout: Layout, node: str, name: str, *command: str) -> None:
    processes.start(layout.folder, f"{node}/{name}", [*_enter(layout, node), *command])


def _start_containerd(layout: Layout, node: str) -> None:
    folder = layout.node_folder(node)
    layout.image_store(node).mkdir(parents=True, exist_ok=True)
    layout.containerd_socket(node).unlink(missing_ok=True)
    _start_inside(layout, node, "containerd", "containerd", "--config", str(folder / "containerd.toml"))
    waiting.until(
        lambda: _answers(layout, node),
        f"{node}'s containerd",
        seconds=_START_SECONDS,
        log=folder / "containerd.log",
    )


def _answers(layout: Layout, node: str) -> bool:
    command = ["ctr", "--address", str(layout.containerd_socket(node)), "--connect-timeout=1s", "version"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _setup_script(layout: Layout, node: str) -> str:
    folder = layout.node_folder(node)
    others = [other for other in layout.nodes if other != node]
    api = f"-d {layout.api_service_address} -p tcp --dport 443 -j DNAT --to-destination {layout.host_address}:6443"
    return "\n".join(
        [
            "mount --make-rshared /",
            *(f"mount -t tmpfs tmpfs {private}" for private in PRIVATE_FOLDERS),
            *(
                f"echo {value} > {folder}/{Path(name).name}; mount --bind {folder}/{Path(name).name} /proc/sys/{name}"
                for name, value in _KERNEL_SETTINGS.items()
            ),
            f"hostname {node}",
            "ip link set lo up",
            f"ip address add {layout.node_address(node)}/24 dev eth0",
            "ip link set eth0 up",
            f"ip route add default via {layout.host_address}",
            *(f"ip route add {layout.pod_cidr(other)} via {layout.node_address(other)}" for other in others),
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            # The Service `kubernetes`; the cluster has no kube-proxy.
            *(f"iptables --table nat --append {chain} {api}" for chain in ("PREROUTING", "OUTPUT")),
        ]
    )


def _write_configuration(layout: Layout, node: str) -> None:
    folder = layout.node_folder(node)
    plugins = folder / "network-plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "10-bridge.conflist").write_text(json.dumps(_pod_network(layout, node)))
    (folder / "containerd.toml").write_text(_containerd_configuration(layout, node))
    (folder / "kubelet.json").write_text(json.dumps(_kubelet_configuration(layout, node)))


def _pod_network(layout: Layout, node: str) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.pod_cidr(node)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _containerd_configuration(layout: Layout, node: str) -> str:
    folder = layout.node_folder(node)
    return f"""\
version = 2
root = "{layout.image_store(node)}"
state = "/run/containerd"
[grpc]
  address = "{layout.containerd_socket(node)}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    options = {{ SystemdCgroup = false }}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/network-plugins"
"""


def _kubelet_configuration(layout: Layout, node: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.name(layout, node),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket(node)}",
        # Only the cluster's own bridge leads here.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
    }
