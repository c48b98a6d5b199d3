"""kubectl against one cluster."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import tools


class KubectlError(Exception):
    """kubectl refused; the message is its own."""


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    """Runs kubectl with one kubeconfig."""

    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run a command and return its output; raise KubectlError when it fails."""
        program = tools.path("kubernetes", "kubectl")
        command = [str(program), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, input=stdin)
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `kubectl get` finds."""
        found: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return found

    def apply(self, *bodies: dict[str, Any]) -> None:
        """Apply Kubernetes objects."""
        self("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}))

    def exists(self, *arguments: str) -> bool:
        """Tell whether `kubectl get` finds something; a server that is away raises."""
        return self("get", *arguments, "--ignore-not-found", "--output=name") != ""

    def is_ready(self, node: str) -> bool:
        """Tell whether a node is there and Ready."""
        nodes = self.get("nodes", f"--field-selector=metadata.name={node}")["items"]
        return any("Ready" in _true_conditions(body) for body in nodes)


def _true_conditions(body: dict[str, Any]) -> set[str]:
    conditions = body.get("status", {}).get("conditions") or []
    return {condition["type"] for condition in conditions if condition["status"] == "True"}
