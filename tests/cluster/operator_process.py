"""The operator as a process of this machine under its own service account, so that a test may kill, pause and restart it."""

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cluster.installation import SYSTEM_NAMESPACE, Installation
from cluster.lab import waiting

ACCOUNT: Final = "scalequest"


@dataclass(kw_only=True)
class OperatorProcess:
    """One operator. `folder` keeps its configuration, kubeconfig and log; `server` replaces the API server's address."""

    installation: Installation
    folder: Path
    identity: str = "operator-a"
    server: str = ""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _born: int = field(default=0, init=False)
    """Where in the log the present life begins."""

    @property
    def log(self) -> Path:
        return self.folder / f"{self.identity}.log"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the operator was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it; `wait_until_leading` says when it works."""
        command = [
            sys.executable, "-m", "scalequest_operator", "run", f"--config={self.folder / 'configuration.yaml'}",
            f"--lease-namespace={SYSTEM_NAMESPACE}", f"--identity={self.identity}", "--probe-port=0",
            "--log-format=text",
        ]  # fmt: skip
        environment = {
            "KUBECONFIG": str(self._kubeconfig()),
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
        }
        self._born = len(self.log.read_text()) if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_leading(self, seconds: float = 60) -> None:
        """Wait until this process, in its present life, holds the lease and works."""
        waiting.until(
            lambda: f"leading as {self.identity}" in self.log.read_text()[self._born :],
            f"{self.identity} leads",
            seconds=seconds,
            log=self.log,
        )

    def restart_if_ended(self) -> None:
        """Start it again if it ended by itself, as a kubelet does: one that lost its lease ends."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.start()

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        return self._process.wait(timeout=60)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _kubeconfig(self) -> Path:
        """Write a kubeconfig of the operator's own service account: it may do what its role says and nothing else."""
        path = self.folder / f"{self.identity}.kubeconfig"
        if path.exists():
            return path
        cluster = self.installation.cluster
        token = cluster.kubectl(
            "create", "token", ACCOUNT, f"--namespace={SYSTEM_NAMESPACE}", "--duration=8h"
        ).strip()
        admin: dict[str, Any] = yaml.safe_load(cluster.layout.kubeconfig.read_text())
        admin["users"] = [{"name": user["name"], "user": {"token": token}} for user in admin["users"]]
        if self.server:
            # The API server's certificate is for its own address, not for that of a proxy before it.
            admin["clusters"][0]["cluster"] = {"server": self.server, "insecure-skip-tls-verify": True}
        path.write_text(yaml.safe_dump(admin))
        path.chmod(0o600)
        return path


def write_configuration(installation: Installation, folder: Path, profiles: dict[str, Any]) -> None:
    """Write the configuration file that operators in `folder` read."""
    configuration = installation.configuration(str(installation.cluster.s3.access_key_file.parent))
    configuration["profiles"] |= profiles
    (folder / "configuration.yaml").write_text(yaml.safe_dump(configuration))
