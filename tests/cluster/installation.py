"""A namespace of a cluster made ready for runs, as a platform team would: credentials, volumes, a profile, the operator.

Stage pods get the large environment (torch, vLLM, TRL) from a volume instead of an image, as model caches are often
shared, so that nothing of several gigabytes is built.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import minio

from cluster.lab import helm, images, layout, volumes
from cluster.lab.cluster import Cluster
from scalequest_jobs.contract import fingerprint
from servers import s3

NAMESPACE: Final = "synthesis"
SYSTEM_NAMESPACE: Final = "scalequest-system"
BUCKET: Final = "scalequest"
SECRET: Final = "s3-credentials"
STORE_FOLDER: Final = "/etc/scalequest/stores/main"
TEACHER_PORT: Final = 18321
"""Where examples/tiny-math.yaml expects its rewriter."""

_TESTS = layout.ROOT / "tests"
_EXAMPLES = layout.ROOT / "examples"
_MOUNTS: Final = {"environment": "/environment", "examples": "/volumes", "tests": "/tests"}
_CACHE: Final = "engine-cache"
_CACHE_FOLDER: Final = "/engine-cache"
_PYTHONPATH: Final = "/opt/scalequest/source:/environment:/tests:/volumes"
_RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

# How often the Job saw this shard fail, for workers that are to fail so many times.
_FAILURES: Final = {
    "name": "JOB_INDEX_FAILURES",
    "valueFrom": {
        "fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"}
    },
}


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The operator and one namespace for runs in a cluster. `scripted` plays the tiny world without any model."""

    cluster: Cluster
    scripted: bool = False
    namespace: str = NAMESPACE

    def prepare(self) -> None:
        """Build and load the images; make the bucket, the namespaces, the credentials and the volumes."""
        images.build_operator()
        images.build_jobs()
        self.cluster.load(images.OPERATOR, images.JOBS)
        self.prepare_namespaces()

    def prepare_namespaces(self) -> None:
        """Make the bucket, the namespaces, the credentials and the volumes: all that Jobs need which no pod carries out."""
        self._make_bucket()
        self.cluster.kubectl.apply(
            *(_namespace(name) for name in (self.namespace, SYSTEM_NAMESPACE)),
            *(self._credentials(name) for name in (self.namespace, SYSTEM_NAMESPACE)),
        )
        for name, folder in self._folders().items():
            self.cluster.kubectl.apply(*volumes.read_only(self.namespace, name, folder))
        self.cluster.kubectl.apply(*volumes.writable(self.namespace, _CACHE, layout.cache_folder() / _CACHE))

    def install(self, **values: Any) -> None:
        """Install the operator by its chart, or bring it up to date, and wait until it is ready."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self.values() | values, file)
            file.flush()
            helm.run(
                "upgrade", "--install", "scalequest", str(helm.CHART), f"--namespace={SYSTEM_NAMESPACE}",
                f"--values={file.name}", "--wait", "--timeout=120s",
                kubeconfig=self.cluster.layout.kubeconfig,
            )  # fmt: skip

    def values(self) -> dict[str, Any]:
        """Return the chart's values."""
        repository, _, tag = images.OPERATOR.rpartition(":")
        return {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
            "configuration": self.configuration(STORE_FOLDER),
            "storeCredentials": [{"secret": SECRET, "folder": STORE_FOLDER}],
        }

    def configuration(self, credentials_folder: str) -> dict[str, Any]:
        """Return the operator's configuration: one store, one profile."""
        store = {"endpoint": self.cluster.s3.endpoint, "credentialsFolder": credentials_folder}
        return {"stores": [store], "profiles": {"default": self.profile()}}

    def profile(self, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the profile of stage pods: real engines on the CPU, or scripted ones."""
        light: dict[str, Any] = {"image": images.JOBS, "resources": {"cpu": "250m", "memory": "512Mi"}}
        if self.scripted:
            light["pod"] = {"containers": [{"name": "worker", "env": [_FAILURES]}]}
        heavy = {**light, "resources": {"cpu": "500m", "memory": "4Gi", "nvidia.com/gpu": "1"}}
        module = "scripted_pod" if self.scripted else "scalequest_jobs"
        return {
            "roles": {"cpu": light, "train": heavy, "generate": heavy, "score": heavy},
            "stages": {}
            if self.scripted
            else {"rewrite-questions": {"pod": {"initContainers": [_teacher()]}}},
            "command": ["python3", "-m", module],
            "volumes": [
                {"name": name, "claim": name, "mountPath": _MOUNTS[name], "version": _version(folder)}
                for name, folder in self._folders().items()
            ]
            + [{"name": _CACHE, "claim": _CACHE, "mountPath": _CACHE_FOLDER, "readOnly": False}],
            "environment": {
                "PYTHONPATH": _PYTHONPATH,
                "VLLM_CACHE_ROOT": f"{_CACHE_FOLDER}/vllm",
                "OMP_NUM_THREADS": "1",
                "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                **(environment or {}),
            },
            "graceSeconds": 10,
            "unreachableSeconds": 5,
        }

    def _folders(self) -> dict[str, Path]:
        return {"environment": layout.site_packages(), "examples": _EXAMPLES, "tests": _TESTS}

    def _make_bucket(self) -> None:
        server = self.cluster.s3
        client = minio.Minio(
            server.endpoint.removeprefix("http://"),
            access_key=f"{s3.ACCESS_KEY}ROOT",
            secret_key=s3.SECRET_KEY,
            secure=False,
            region=server.region,
        )
        if not client.bucket_exists(BUCKET):
            client.make_bucket(BUCKET)

    def _credentials(self, namespace: str) -> dict[str, Any]:
        server = self.cluster.s3
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": namespace},
            "stringData": {
                "access-key": server.access_key_file.read_text().strip(),
                "secret-key": server.secret_key_file.read_text().strip(),
            },
        }


def _namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _teacher() -> dict[str, Any]:
    """Return the rule-based rewriter of the tiny world as a sidecar: the run's file names it at 127.0.0.1."""
    return {
        "name": "teacher",
        "image": images.JOBS,
        "restartPolicy": "Always",
        # Every seventh request is refused once, so that the client's retries are part of it.
        "command": ["python3", "-m", "tiny_world.teacher", f"--port={TEACHER_PORT}", "--fail-every=7"],
        "env": [{"name": "PYTHONPATH", "value": "/volumes"}],
        "securityContext": _RESTRICTED,
        "volumeMounts": [{"name": "volume-examples", "mountPath": "/volumes", "readOnly": True}],
    }


def _version(folder: Path) -> str:
    """Return the identity of what the examples' folder holds; of other folders nothing is read by a run."""
    if folder != _EXAMPLES:
        return ""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return fingerprint.digest(
        [[str(path.relative_to(folder)), fingerprint.sha256(path.read_bytes())] for path in files]
    )
