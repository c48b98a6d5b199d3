"""A watch over HTTP: lines of JSON that come as long as the server likes."""

import contextlib
import json
from collections.abc import Iterator

import urllib3

from scalequest_operator import cluster, cluster_errors, errors

_CHUNK_BYTES = 65536


class ClusterWatch:
    """The changes in one answer of the API server."""

    def __init__(self, subject: str, response: urllib3.BaseHTTPResponse) -> None:
        self._subject = subject
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[cluster.WatchEvent]:
        """Yield changes until the stream ends; raise what an ERROR in it, or a broken connection, means."""
        try:
            yield from map(self._event, self._lines())
        finally:
            # Closed, not given back: what is left of the stream must not be read as the next answer.
            self._response.close()

    def close(self) -> None:
        """End the stream, also for a thread that waits in it: it sees the end of the connection."""
        self._closed = True
        # There is nothing to shut down once the answer has been read to its end.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._response.shutdown()

    def _lines(self) -> Iterator[bytes]:
        chunks = self._response.stream(_CHUNK_BYTES)
        rest = b""
        while chunk := self._next(chunks):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from filter(None, lines)

    def _next(self, chunks: Iterator[bytes]) -> bytes:
        try:
            with cluster_errors.mapped(self._subject):
                return next(chunks, b"")
        except errors.UnavailableError:
            if self._closed:
                return b""
            raise

    def _event(self, line: bytes) -> cluster.WatchEvent:
        with cluster_errors.mapped(self._subject):
            event = json.loads(line)
        if event["type"] == "ERROR":
            status = event["object"]
            raise cluster_errors.from_status(self._subject, status.get("code", 500), status)
        return cluster.WatchEvent(type=event["type"], body=event["object"])
