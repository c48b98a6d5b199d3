"""A model hub on the loopback interface, and the other host that it redirects large files to."""

import contextlib
import hashlib
import json
import re
import urllib.parse
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from servers import loopback

REPOSITORY = "owner/model-1"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request.

    status: answered with it and `headers`. cut, reset: the body breaks off after `after` bytes. wrong:
    another body of the same length. whole: a range is not heeded. shifted: another range is sent.
    """

    kind: Literal["status", "cut", "reset", "wrong", "whole", "shifted"]
    status: int = 503
    after: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Hub(loopback.LoopbackServer):
    """Serves the `files` of one commit. Files whose name is in `large` are redirected to `cdn`.

    `declared` replaces parts of the listing's entries, `faults` spoil requests for a file (or "listing"),
    and with `token` set nothing is served without it. `requests` holds path and headers of each request.
    """

    def __init__(self, cdn: str = "") -> None:
        super().__init__(_Handler)
        self.cdn = cdn
        self.files: dict[str, bytes] = {}
        self.large: set[str] = set()
        self.declared: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, deque[Fault]] = {}
        self.listed_commit = COMMIT
        self.token = ""
        self.requests: list[tuple[str, dict[str, str]]] = []

    def listing(self) -> dict[str, Any]:
        """Return the listing, sizes and digests included."""
        return {
            "id": REPOSITORY,
            "sha": self.listed_commit,
            "siblings": [self._sibling(name) for name in self.files],
        }

    def next_fault(self, name: str) -> Fault | None:
        """Return what goes wrong with this request, if anything."""
        faults = self.faults.get(name)
        return faults.popleft() if faults else None

    def _sibling(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
        if name in self.large:
            sha256 = hashlib.sha256(data).hexdigest()
            # As on the real hub: the blob is a pointer file.
            entry |= {"blobId": "f" * 40, "lfs": {"sha256": sha256, "size": len(data), "pointerSize": 135}}
        return entry | self.declared.get(name, {})


@dataclass(frozen=True, kw_only=True)
class Hubs:
    """A hub, and the host that it redirects to; both serve the same files."""

    hub: Hub
    cdn: Hub


@contextlib.contextmanager
def running_hub() -> Iterator[Hubs]:
    """Run both servers until the block ends."""
    with loopback.serving(Hub()) as cdn, loopback.serving(Hub(cdn.address)) as hub:
        cdn.files = hub.files
        yield Hubs(hub=hub, cdn=cdn)


class _Handler(loopback.Handler):
    server: Hub

    def do_GET(self) -> None:  # noqa: N802 - the base class calls it so
        self.server.requests.append((self.path, dict(self.headers.items())))
        parts = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(parts.path)
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._refuse(401 if "Authorization" not in self.headers else 403)
        elif path == f"/api/models/{REPOSITORY}/revision/{COMMIT}" and parts.query == "blobs=true":
            self._send("listing", json.dumps(self.server.listing()).encode())
        elif (name := path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")) in self.server.files:
            self._resolve(name)
        else:
            self._refuse(404)

    def _refuse(self, status: int) -> None:
        self.answer(status, json.dumps({"error": f"refused with {status}"}).encode())

    def _resolve(self, name: str) -> None:
        if self.server.cdn and name in self.server.large:
            self.answer(302, headers={"Location": self.server.cdn + self.path})
        else:
            self._send(name, self.server.files[name])

    def _send(self, name: str, data: bytes) -> None:
        fault = self.server.next_fault(name)
        if fault and fault.kind == "status":
            self.answer(fault.status, b'{"error": "by the script"}', fault.headers)
            return
        if fault and fault.kind == "wrong":
            data = bytes(len(data))
        first = self._first(fault, len(data))
        status = 206 if first else 200
        headers = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"} if first else {}
        body = data[first:]
        self.start(status, len(body), headers)
        if fault and fault.kind in {"cut", "reset"}:
            self.wfile.write(body[: fault.after])
            self.reset() if fault.kind == "reset" else self.cut()
        else:
            self.wfile.write(body)

    def _first(self, fault: Fault | None, size: int) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not found or (fault and fault.kind == "whole"):
            return 0
        first = int(found[1])
        return min(size, first + 1) if fault and fault.kind == "shifted" else first
