"""A whole cluster: up, down, and what tests do to its parts."""

import concurrent.futures
import contextlib
import dataclasses
import shutil
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from servers import s3

from . import (
    cgroups,
    control_plane,
    images,
    layout,
    locking,
    network,
    node,
    object_store,
    preflight,
    processes,
)
from .kubectl import Kubectl

_READY: Final = "ready"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster by its name; `with` brings it up and down. Nothing happens before `up`."""

    name: str
    num_nodes: int = 2
    gpus_per_node: int = 8
    gpu_product: str = "NVIDIA-A100-SXM4-40GB"
    has_object_store: bool = True
    object_store_data: Path | None = None
    """Where objects outlive the cluster; within it, and gone with it, when absent."""

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def layout(self) -> layout.Layout:
        """Return the addresses and folders of the cluster, which is up."""
        return layout.read(self.name)

    @property
    def kubectl(self) -> Kubectl:
        """Run kubectl as the administrator."""
        return Kubectl(kubeconfig=self.layout.kubeconfig)

    @property
    def s3(self) -> s3.S3Server:
        """Return the S3 server, whose endpoint holds for pods and for this process."""
        return object_store.server(self.layout)

    def is_up(self) -> bool:
        """Tell whether `up` was finished and every part still runs."""
        if not (layout.folder(self.name) / _READY).exists():
            return False
        parts = [
            *control_plane.NAMES,
            *self.layout.nodes,
            *([object_store.NAME] if self.has_object_store else []),
        ]
        return all(processes.find(self.layout.folder, part) for part in parts)

    def up(self) -> None:
        """Bring the cluster up, unless it is; what a killed owner left of it is removed first."""
        if self.is_up():
            return
        preflight.check(self.num_nodes)
        self.down()
        claimed = layout.claim(
            self.name,
            num_nodes=self.num_nodes,
            gpus_per_node=self.gpus_per_node,
            gpu_product=self.gpu_product,
        )
        if self.num_nodes:
            images.build_own()
            network.create(claimed)
        control_plane.prepare(claimed)
        for name in ("etcd", "kube-apiserver"):
            control_plane.start(claimed, name)
        if self.has_object_store:
            object_store.prepare(claimed, self.object_store_data)
            object_store.start(claimed)
        _start_rest(claimed)
        if self.has_object_store:
            object_store.wait_until_ready(claimed)
        (claimed.folder / _READY).touch()

    def down(self) -> None:
        """Remove the cluster, however it ended; only the nodes' images are kept."""
        if not layout.folder(self.name).exists():
            return
        processes.stop(layout.folder(self.name))
        with contextlib.suppress(FileNotFoundError):
            old = self.layout
            cgroups.remove(old)
            network.remove(old)
            object_store.remove(old)
        shutil.rmtree(layout.folder(self.name))

    def load(self, *names: str) -> None:
        """Give every node the newest build of images."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda target: _load(self.layout, target, names), self.layout.nodes))

    def kill_node(self, name: str) -> None:
        """End a node at once, as when its power fails; its Node object stays."""
        node.kill(self.layout, name)

    def start_node(self, name: str) -> None:
        """Boot a killed node, and wait until it takes pods."""
        node.start(self.layout, name, is_new=False)
        node.start_kubelet(self.layout, name)
        node.wait_until_ready(self.layout, name, self.kubectl)

    def disconnect_node(self, name: str) -> None:
        """Cut a node off from the API server and the S3 server while its pods go on."""
        network.disconnect(self.layout, name)

    def reconnect_node(self, name: str) -> None:
        """Undo `disconnect_node`."""
        network.reconnect(self.layout, name)

    def stop(self, name: str) -> None:
        """Kill a process of the control plane, or the S3 server ("s3"); its data stay."""
        processes.stop(self.layout.folder, name)

    def start(self, name: str) -> None:
        """Start a stopped process again, and wait until it serves."""
        if name == object_store.NAME:
            object_store.start(self.layout)
            object_store.wait_until_ready(self.layout)
        else:
            control_plane.start(self.layout, name)
            control_plane.wait_until_ready(self.layout)

    def pause(self, name: str) -> None:
        """Stop a process from answering: connections stay open and hang."""
        processes.send(self.layout.folder, name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Undo `pause`."""
        processes.send(self.layout.folder, name, signal.SIGCONT)


@contextlib.contextmanager
def temporary(prefix: str, template: Cluster) -> Iterator[Cluster]:
    """Run a cluster like `template` until the block ends, under the first name `prefix`-N that no live process holds.

    The name of an owner that was killed is free again, and what it left is removed.
    """
    for number in range(layout.NUM_SLOTS):
        name = f"{prefix}-{number}"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locking.exclusive(layout.state_folder() / f"{name}.lock", wait=False))
            except locking.HeldError:
                continue
            cluster = dataclasses.replace(template, name=name)
            cluster.down()
            yield stack.enter_context(cluster)
            return
    raise locking.HeldError(
        f"every name {prefix}-0 to {prefix}-{layout.NUM_SLOTS - 1} is held by a live process"
    )


def _start_rest(claimed: layout.Layout) -> None:
    """Start nodes and controllers side by side: the API server and each containerd take a second or more."""
    kubectl = Kubectl(kubeconfig=claimed.kubeconfig)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        nodes = [pool.submit(_start_node, claimed, name) for name in claimed.nodes]
        control_plane.wait_until_ready(claimed)
        for name in ("kube-controller-manager", "kube-scheduler"):
            control_plane.start(claimed, name)
        for started in nodes:
            started.result()
        for name in claimed.nodes:
            node.start_kubelet(claimed, name)
        for name in claimed.nodes:
            node.wait_until_ready(claimed, name, kubectl)
    control_plane.wait_until_accounts(kubectl)


def _start_node(claimed: layout.Layout, name: str) -> None:
    node.start(claimed, name)
    _load(claimed, name, (images.PAUSE, images.BASE))


def _load(claimed: layout.Layout, name: str, names: Iterable[str]) -> None:
    for image in names:
        node.load(claimed, name, image)
