"""The container images of the cluster, built without a registry.

buildah carries out images/*/Containerfile up to the stage `environment`, once per set of requirements. The last stage only copies
this checkout's source; buildah needs half a minute to do and export that, so its COPY lines are carried out here, in half a second.
"""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from . import layout, locking, oci, tools

PAUSE: Final = "localhost/scalequest-pause:1"
BASE: Final = "localhost/scalequest-base:2"
OPERATOR: Final = "localhost/scalequest-operator:test"
JOBS: Final = "localhost/scalequest-jobs:test"
_OWN: Final = layout.ROOT / "tests" / "cluster" / "images"
# Both images get the operator's packages, which include those of the jobs, and so share their largest layer.
_REQUIREMENTS: Final = "operator"
# Debian's release for each version of Python, so that compiled packages of this Python load in the image's.
_SUITES: Final = {(3, 11): "bookworm", (3, 13): "trixie"}
_TRUST: Final = "/etc/ssl/certs/ca-certificates.crt"
_UNUSED: Final = (
    "./dev/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
)
# A .pyc that is used without looking at its source.
_UNCHECKED_HASH: Final = (0b01).to_bytes(4, "little")


def store() -> oci.Images:
    """Return all images that were built."""
    return oci.Images(folder=_folder() / "layout")


def build_own() -> None:
    """Build the images that the cluster itself and the other images need, unless they are there."""
    with _building():
        if PAUSE not in store().names():
            _build(PAUSE, _OWN / "pause" / "Containerfile", tools.path("pause", "pause").parent)
        if BASE not in store().names():
            with tempfile.TemporaryDirectory(dir=_folder()) as folder:
                _make_base(Path(folder))
                _build(BASE, _OWN / "base" / "Containerfile", Path(folder))


def build_operator() -> None:
    """Build the operator's image from this checkout."""
    _build_from_checkout(OPERATOR, layout.ROOT / "images" / "operator" / "Containerfile")


def build_jobs() -> None:
    """Build the image of the stages from this checkout, without engines: pods mount these."""
    _build_from_checkout(JOBS, layout.ROOT / "images" / "jobs" / "Containerfile")


def _folder() -> Path:
    return layout.cache_folder() / "images"


def _building() -> AbstractContextManager[None]:
    return locking.exclusive(_folder() / "lock")


def _build_from_checkout(name: str, containerfile: Path) -> None:
    build_own()
    with _building():
        environment = f"{name}-environment-{_identity(containerfile)}"
        if environment not in store().names():
            arguments = [f"--build-arg=BASE={BASE}", f"--build-arg=REQUIREMENTS={_REQUIREMENTS}"]
            _build(environment, containerfile, layout.ROOT, "--target=environment", *arguments)
        store().put_on_top(name, environment, _copied(containerfile))


def _identity(containerfile: Path) -> str:
    """Name everything that the stage `environment` depends on."""
    requirements = layout.ROOT / "requirements" / f"{_REQUIREMENTS}.txt"
    parts = [containerfile.read_bytes(), requirements.read_bytes(), store().digest(BASE).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _copied(containerfile: Path) -> Iterator[tuple[str, bytes]]:
    """Carry out the COPY lines of the last stage; each module comes with its bytecode, which a pod cannot write."""
    last_stage = containerfile.read_text().rpartition("\nFROM environment\n")[2]
    lines = last_stage.strip().splitlines()
    for line in lines:
        copy = re.fullmatch(r"COPY (\S+) (/\S+)", line)
        if copy is None:
            raise ValueError(
                f"{containerfile}: the last stage has {line!r}, expected only COPY FOLDER /FOLDER"
            )
        folder = layout.ROOT / copy[1]
        for file in folder.rglob("*"):
            target = f"{copy[2]}/{file.relative_to(folder)}"
            if file.is_file() and "__pycache__" not in file.parts:
                yield target, file.read_bytes()
            if file.suffix == ".py":
                yield importlib.util.cache_from_source(target), _bytecode(file, target)


def _bytecode(file: Path, target: str) -> bytes:
    import marshal

    code = compile(file.read_bytes(), target, "exec", dont_inherit=True)
    source_hash = importlib.util.source_hash(file.read_bytes())
    return importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + source_hash + marshal.dumps(code)


def _build(name: str, containerfile: Path, context: Path, *options: str) -> None:
    _buildah("build", "--quiet", "--layers", "--isolation=chroot", "--network=host", "--format=oci", "--timestamp=0",
        # The package index may be reached through an authority that only this machine knows.
        f"--volume={_TRUST}:{_TRUST}:ro", *options, f"--tag={name}", f"--file={containerfile}", str(context))  # fmt: skip
    _buildah("push", "--quiet", "--disable-compression", name, f"oci:{store().folder}:{name}")


def _buildah(command: str, *arguments: str) -> None:
    storage = [
        f"--root={_folder() / 'buildah'}",
        f"--runroot={_folder() / 'buildah-run'}",
        "--storage-driver=overlay",
    ]
    done = subprocess.run(
        ["buildah", *storage, command, *arguments], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"buildah {command} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def _make_base(folder: Path) -> None:
    """Make the root file system of BASE in `folder`/rootfs.tar."""
    suite = _SUITES.get(sys.version_info[:2])
    if suite is None:
        raise RuntimeError(
            f"no Debian release has Python {sys.version_info.major}.{sys.version_info.minor}, which runs this; "
            f"make the environment with one of {', '.join(f'{major}.{minor}' for major, minor in _SUITES)}"
        )
    # libnuma: vLLM on a CPU loads it.
    packages = "--include=python3,python3-venv,ca-certificates,libnuma1"
    root = folder / "root"
    with (folder / "debootstrap.log").open("wb") as log:
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, suite, str(root), _mirror()],
            check=True,
            stdout=log,
        )
    unused = [f"--exclude={pattern}" for pattern in _UNUSED]
    subprocess.run(
        ["tar", "--create", f"--directory={root}", *unused, f"--file={folder}/rootfs.tar", "."], check=True
    )
    shutil.rmtree(root)


def _mirror() -> str:
    """Return the Debian mirror that this machine uses."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    sites = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return next(site for site in sites if site.rstrip("/").endswith("debian"))
