"""Folders of this machine as volumes for pods, as platform teams give out model caches: Pod Security `restricted` allows claims."""

from pathlib import Path
from typing import Any

Manifests = tuple[dict[str, Any], dict[str, Any]]
"""A volume, and the claim of a namespace to it."""


def read_only(namespace: str, name: str, folder: Path) -> Manifests:
    """Show `folder` to the pods of a namespace as the claim `name`; mount it with `readOnly: true`."""
    return _manifests(namespace, name, folder, access="ReadOnlyMany")


def writable(namespace: str, name: str, folder: Path) -> Manifests:
    """Give `folder`, which is made when missing, to pods of any user as the claim `name`, to read and write."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return _manifests(namespace, name, folder, access="ReadWriteMany")


def _manifests(namespace: str, name: str, folder: Path, *, access: str) -> Manifests:
    shared = {"accessModes": [access], "storageClassName": ""}
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
