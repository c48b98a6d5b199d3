"""Container images without a registry: built by buildah, kept as one OCI layout, and handed to nodes as archives."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, Final

from . import layout, locking, tools

PAUSE: Final = "localhost/scalequest-pause:1"
BASE: Final = "localhost/scalequest-base:1"
OPERATOR: Final = "localhost/scalequest-operator:test"
JOBS: Final = "localhost/scalequest-jobs:test"
_OWN: Final = layout.ROOT / "tests" / "cluster" / "images"
# Debian's release for each version of Python, so that compiled packages of this Python load in the image's.
_SUITES: Final = {(3, 11): "bookworm", (3, 13): "trixie"}
_TRUST: Final = "/etc/ssl/certs/ca-certificates.crt"
_UNUSED: Final = ("./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/locale/*")


def build_own() -> None:
    """Build the images that the cluster itself and the other images need, unless they are there."""
    with _building():
        if not has(PAUSE):
            _build(PAUSE, _OWN / "pause" / "Containerfile", tools.path("pause", "pause").parent)
        if not has(BASE):
            with tempfile.TemporaryDirectory(dir=_folder()) as folder:
                _make_base(Path(folder))
                _build(BASE, _OWN / "base" / "Containerfile", Path(folder))


def build_operator() -> None:
    """Build the operator's image from this checkout; only layers whose content changed are made anew."""
    build(OPERATOR, layout.ROOT / "images" / "operator" / "Containerfile", layout.ROOT)


def build_jobs() -> None:
    """Build the image of the stages from this checkout, without an engine: pods mount that."""
    build(JOBS, layout.ROOT / "images" / "jobs" / "Containerfile", layout.ROOT)


def build(name: str, containerfile: Path, context: Path) -> None:
    """Build an image that stands on BASE."""
    with _building():
        _build(name, containerfile, context, "--build-arg", f"BASE={BASE}")


def has(name: str) -> bool:
    """Tell whether an image was built."""
    return name in _manifests()


def write_archive(name: str, target: IO[bytes], *, without: Collection[str]) -> None:
    """Write an image as an OCI archive that leaves out the layers in `without`, because its reader has them."""
    manifest = _manifests()[name]
    body = json.loads(_blob(manifest["digest"]).read_bytes())
    digests = [layer["digest"] for layer in body["layers"] if layer["digest"] not in without]
    entry = manifest | {"annotations": {"io.containerd.image.name": name}}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    with tarfile.open(fileobj=target, mode="w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(archive, "index.json", json.dumps(index).encode())
        for digest in dict.fromkeys([manifest["digest"], body["config"]["digest"], *digests]):
            archive.add(_blob(digest), f"blobs/{digest.replace(':', '/')}")


def _folder() -> Path:
    return layout.cache_folder() / "images"


def _building() -> Any:
    return locking.exclusive(_folder() / "lock")


def _build(name: str, containerfile: Path, context: Path, *options: str) -> None:
    _buildah("build", "--quiet", "--layers", "--isolation=chroot", "--network=host", "--format=oci", "--timestamp=0",
        # The package index may be reached through an authority that only this machine knows.
        f"--volume={_TRUST}:{_TRUST}:ro", *options, f"--tag={name}", f"--file={containerfile}", str(context))  # fmt: skip
    _buildah("push", "--quiet", "--disable-compression", name, f"oci:{_folder() / 'layout'}:{name}")


def _buildah(command: str, *arguments: str) -> None:
    store = [f"--root={_folder() / 'buildah'}", f"--runroot={_folder() / 'buildah-run'}", "--storage-driver=overlay"]
    done = subprocess.run(["buildah", *store, command, *arguments], check=False, capture_output=True, text=True)
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
    packages = "--include=python3,python3-venv,ca-certificates"
    root = folder / "root"
    with (folder / "debootstrap.log").open("wb") as log:
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, suite, str(root), _mirror()], check=True, stdout=log
        )
    unused = [f"--exclude={pattern}" for pattern in _UNUSED]
    subprocess.run(["tar", "--create", f"--directory={root}", *unused, f"--file={folder}/rootfs.tar", "."], check=True)
    shutil.rmtree(root)


def _mirror() -> str:
    """Return the Debian mirror that this machine uses."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    sites = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return next(site for site in sites if site.rstrip("/").endswith("debian"))


def _manifests() -> dict[str, dict[str, Any]]:
    index = _folder() / "layout" / "index.json"
    if not index.exists():
        return {}
    found = json.loads(index.read_text())["manifests"]
    return {entry["annotations"]["org.opencontainers.image.ref.name"]: entry for entry in found}


def _blob(digest: str) -> Path:
    return _folder() / "layout" / "blobs" / digest.replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
