"""How far a download has come."""

from typing import Any, BinaryIO


class Position:
    """Bytes received of all, and of which version of the object. `total` is None when it is not known."""

    def __init__(self) -> None:
        self.received = 0
        self.total: int | None = None
        self.etag = ""

    def begin(self, response: Any, sink: BinaryIO) -> None:
        """Note the object's size and version; start over when the server sends it from the start."""
        if self.received and response.status != 206:
            sink.seek(0)
            sink.truncate()
            self.received = 0
        if not self.received:
            length = response.headers.get("content-length")
            self.total = int(length) if length is not None else None
            self.etag = response.headers.get("etag", "").strip('"')
