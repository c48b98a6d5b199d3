"""Folders of this machine as volumes for pods, as platform teams give out model caches: Pod Security `restricted` allows claims."""

from pathlib import Path
from typing import Any


def read_only(namespace: str, name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a volume that shows `folder`, and the claim `name` of a namespace to it; mount it with `readOnly: true`."""
    shared = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            **shared,
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": str(folder.resolve()), "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": name},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            **shared,
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": f"{namespace}-{name}",
        },
    }
    return volume, claim
