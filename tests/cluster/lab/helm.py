"""Helm: the chart of this checkout, rendered without a cluster or installed in one."""

import os
import subprocess
from pathlib import Path
from typing import Final

from . import layout, tools

CHART: Final = layout.ROOT / "charts" / "scalequest-operator"


class HelmError(Exception):
    """Helm refused; the message is its own."""


def run(*arguments: str, kubeconfig: Path = Path(os.devnull)) -> str:
    """Run a Helm command and return its output; raise HelmError when it fails."""
    command = [str(tools.path("helm", "helm")), *arguments]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise HelmError(f"helm {' '.join(arguments)}: {done.stdout.strip()} {done.stderr.strip()}")
    return done.stdout
