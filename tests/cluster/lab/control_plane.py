"""etcd, the API server, the controller manager and the scheduler, with RBAC on and the API server's own certificate."""

import json
import secrets
import subprocess
from typing import Final

import urllib3

from . import processes, tools, waiting
from .kubectl import Kubectl
from .layout import ETCD_PORT, Layout

NAMES: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_START_SECONDS: Final = 90


def prepare(layout: Layout) -> None:
    """Make the keys and tokens of a new cluster."""
    key = layout.folder / "service-accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, stderr=subprocess.DEVNULL)
    tokens = {"admin": ("admin", "system:masters")}
    tokens |= {node: (f"system:node:{node}", "system:nodes") for node in layout.nodes}
    lines = [f"{secrets.token_hex(16)},{user},{name},{group}" for name, (user, group) in tokens.items()]
    (layout.folder / "tokens.csv").write_text("\n".join(lines) + "\n")


def start(layout: Layout, name: str) -> None:
    """Start one of NAMES; the controllers need the kubeconfig that `wait_until_ready` writes."""
    program = tools.path("kubernetes", name)
    processes.start(layout.folder, name, [str(program), *_OPTIONS[name](layout)])


def wait_until_ready(layout: Layout) -> None:
    """Wait until the API server answers, and write the administrator's kubeconfig."""
    log = layout.folder / "kube-apiserver.log"
    certificate = layout.folder / "certificates" / "apiserver.crt"
    waiting.until(certificate.exists, "the API server's certificate", seconds=_START_SECONDS, log=log)
    write_kubeconfig(layout, "admin")
    waiting.until(lambda: _is_ready(layout), "the API server to be ready", seconds=_START_SECONDS, log=log)


def wait_until_accounts(kubectl: Kubectl) -> None:
    """Wait for the first service account: no pod is admitted before."""
    waiting.until(lambda: kubectl.exists("serviceaccount", "default"), "the default service account")


def write_kubeconfig(layout: Layout, user: str) -> None:
    """Write the kubeconfig of the administrator, or of a node."""
    path = layout.kubeconfig if user == "admin" else layout.node_folder(user) / "kubeconfig"
    cluster = {
        "server": layout.api_server,
        "certificate-authority": str(layout.folder / "certificates" / "apiserver.crt"),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.name, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": _token(layout, user)}}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": user}}],
        "current-context": layout.name,
    }
    path.write_text(json.dumps(content, indent=1))


def _token(layout: Layout, user: str) -> str:
    rows = [line.split(",") for line in (layout.folder / "tokens.csv").read_text().splitlines()]
    return next(token for token, _, name, _ in rows if name == user)


def _is_ready(layout: Layout) -> bool:
    certificate = str(layout.folder / "certificates" / "apiserver.crt")
    authorization = {"Authorization": f"Bearer {_token(layout, 'admin')}"}
    with urllib3.PoolManager(ca_certs=certificate, retries=False, timeout=5.0) as client:
        try:
            answer = client.request("GET", f"{layout.api_server}/readyz", headers=authorization)
        except urllib3.exceptions.HTTPError:
            return False
    return bool(answer.status == 200)


def _etcd_address(layout: Layout) -> str:
    return f"http://{layout.local_address}:{ETCD_PORT}"


def _etcd(layout: Layout) -> list[str]:
    client = _etcd_address(layout)
    peer = f"http://{layout.local_address}:2380"
    return [
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # nothing here outlives the machine
        "--log-level=error",
    ]


def _api_server(layout: Layout) -> list[str]:
    key = layout.folder / "service-accounts.key"
    return [
        f"--etcd-servers={_etcd_address(layout)}",
        f"--cert-dir={layout.folder / 'certificates'}",
        f"--bind-address={layout.host_address}",
        f"--advertise-address={layout.host_address}",
        f"--service-cluster-ip-range={layout.service_cidr}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={layout.folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _controller_manager(layout: Layout) -> list[str]:
    return [
        *_controller(layout),
        "--secure-port=10257",
        f"--service-account-private-key-file={layout.folder / 'service-accounts.key'}",
        f"--root-ca-file={layout.folder / 'certificates' / 'apiserver.crt'}",
        f"--flex-volume-plugin-dir={layout.folder / 'volume-plugins'}",
        # With the defaults (20 and 30) it makes 3 Jobs a second, and a default service account after 5 s.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--node-monitor-period=1s",
        "--node-monitor-grace-period=20s",
    ]


def _scheduler(layout: Layout) -> list[str]:
    return [*_controller(layout), "--secure-port=10259", "--kube-api-qps=200", "--kube-api-burst=400"]


def _controller(layout: Layout) -> list[str]:
    options = [f"--{use}kubeconfig={layout.kubeconfig}" for use in ("", "authentication-", "authorization-")]
    return [
        *options,
        f"--bind-address={layout.local_address}",
        f"--cert-dir={layout.folder}",
        "--leader-elect=false",
    ]


_OPTIONS: Final = {
    "etcd": _etcd,
    "kube-apiserver": _api_server,
    "kube-controller-manager": _controller_manager,
    "kube-scheduler": _scheduler,
}
