"""Container images in an OCI image layout: read, put one layer on top, and hand over what a reader lacks.

Format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_NAME: Final = "org.opencontainers.image.ref.name"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of one layout folder, by name. Blobs are written before the index that names them."""

    folder: Path

    def names(self) -> set[str]:
        """Return the names of all images."""
        return set(self._entries())

    def digest(self, name: str) -> str:
        """Return what identifies the content of an image."""
        return str(self._entries()[name]["digest"])

    def put_on_top(self, name: str, base: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Make image `name`: `base` with one more layer, which holds `files` by their absolute paths."""
        entries = self._entries()
        manifest = json.loads(self._blob(entries[base]["digest"]).read_bytes())
        config = json.loads(self._blob(manifest["config"]["digest"]).read_bytes())
        layer = self._write(_layer(files), _LAYER)
        config["rootfs"]["diff_ids"].append(layer["digest"])
        config.pop("history", None)
        manifest["layers"].append(layer)
        manifest["config"] = self._write(json.dumps(config).encode(), manifest["config"]["mediaType"])
        entry = self._write(json.dumps(manifest).encode(), _MANIFEST)
        entries[name] = entry | {"annotations": {_NAME: name}}
        self._index().write_text(_index(list(entries.values())))

    def write_archive(self, name: str, target: IO[bytes], *, without: Collection[str]) -> None:
        """Write an image as an archive that leaves out the layers in `without`, because its reader has them."""
        entry = self._entries()[name]
        manifest = json.loads(self._blob(entry["digest"]).read_bytes())
        layers = [layer["digest"] for layer in manifest["layers"] if layer["digest"] not in without]
        with tarfile.open(fileobj=target, mode="w") as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            _add(
                archive,
                "index.json",
                _index([entry | {"annotations": {"io.containerd.image.name": name}}]).encode(),
            )
            for digest in dict.fromkeys([entry["digest"], manifest["config"]["digest"], *layers]):
                archive.add(self._blob(digest), f"blobs/{digest.replace(':', '/')}")

    def _index(self) -> Path:
        return self.folder / "index.json"

    def _entries(self) -> dict[str, dict[str, Any]]:
        if not self._index().exists():
            return {}
        found = json.loads(self._index().read_text())["manifests"]
        # One whose name was given to a newer image stays in the index without a name.
        return {
            entry["annotations"][_NAME]: entry for entry in found if _NAME in entry.get("annotations", {})
        }

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def _write(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._blob(digest).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _index(entries: list[dict[str, Any]]) -> str:
    return json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries})


def _layer(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a layer whose bytes depend on names and contents only."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for path, content in sorted(files):
            _add(archive, path.lstrip("/"), content)
    return layer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
