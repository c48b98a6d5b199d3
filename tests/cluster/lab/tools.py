"""The programs of the cluster, built from Go modules whose versions and checksums are committed."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from . import layout, locking

MODULES: Final = layout.ROOT / "tests" / "cluster" / "tools"
_STAMP: Final = "k8s.io/component-base/version"
# `go install` names the program after the last part of its import path without the major version.
_RENAMED: Final = {"server": "etcd"}


def path(module: str, program: str) -> Path:
    """Return a program of tests/cluster/tools/`module`, built first when its go.mod, go.sum or source is new."""
    source = MODULES / module
    built = layout.cache_folder() / "bin" / f"{module}-{_identity(source)}"
    if not built.exists():
        with locking.exclusive(layout.cache_folder() / f"build-{module}.lock"):
            if not built.exists():
                _build(source, built)
    return built / program


def _identity(source: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(source.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _build(source: Path, built: Path) -> None:
    if shutil.which("go") is None:
        raise FileNotFoundError(
            "the Go compiler `go` is not on PATH; install Go 1.26 or newer to build the cluster"
        )
    print(f"building {source.name} (minutes the first time) into {built}", flush=True)  # noqa: T201 - a person waits
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent, prefix=f"{source.name}-") as folder:
        programs = Path(folder) / "bin"
        subprocess.run(
            [
                "go",
                "install",
                "-trimpath",
                "-mod=readonly",
                "-buildvcs=false",
                "-ldflags",
                _linker_flags(source),
                "tool",
            ],
            cwd=source,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOBIN": str(programs)},
            check=True,
        )
        for program, name in _RENAMED.items():
            if (programs / program).exists():
                (programs / program).rename(programs / name)
        programs.rename(built)


def _linker_flags(source: Path) -> str:
    """Tell Kubernetes its version: without it, kubelet and API server call themselves v0.0.0."""
    version = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.\d+", (source / "go.mod").read_text())
    if version is None:
        return "-s -w"
    full = version.group().rpartition(" ")[2]
    stamps = {"gitVersion": full, "gitMajor": version[1], "gitMinor": version[2], "gitTreeState": "clean"}
    return " ".join(["-s -w", *(f"-X {_STAMP}.{key}={value}" for key, value in stamps.items())])
