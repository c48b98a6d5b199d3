"""One model repository on a hub, over HTTP.

Source: Hugging Face hub API: `/REPO/resolve/COMMIT/FILE` answers with the content, or redirects to
it with a signed address of a few minutes' life on another host.
"""

import hashlib
import json
import secrets
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx

from scalequest_jobs import http_exchange, hub_listing, ports, retry, secret_files
from scalequest_jobs.stores import atomic, files

_MIB: Final = 1024**2
_MAX_LISTING_BYTES: Final = 32 * _MIB
_MAX_ERROR_BYTES: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file that was fetched: its path below the target folder, size in bytes and SHA-256."""

    path: str
    size: int
    sha256: str


class _RangeRefusedError(retry.TransientError):
    """The server has no such range of the file."""


class Connection:
    """Requests to one commit of one repository, each retried by `retrier`."""

    def __init__(
        self,
        client: httpx.Client,
        *,
        endpoint: str,
        repository: str,
        revision: str,
        token_file: Path | None,
        retrier: retry.Retrier,
        clock: retry.Clock,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._repository = repository
        self._revision = revision
        self._token_file = token_file
        self._retrier = retrier
        self._clock = clock

    def listing(self) -> Any:
        """Return the commit's listing, parsed from JSON."""
        url = f"{self._endpoint}/api/models/{self._repository}/revision/{self._revision}?blobs=true"
        return self._retried(lambda: self._listing(url))

    def download(
        self, entry: hub_listing.Entry, target: Path, *, most_bytes: int, on_size: Callable[[int], None]
    ) -> HubFile:
        """Write a file, complete and checked, to `target`. `on_size` hears its size so far."""
        with files.writing_to(target), _part(target) as file:
            part = _Part(file, entry, most_bytes)
            self._retried(lambda: self._go_on(entry, part, on_size))
        return HubFile(path=entry.path, size=part.size, sha256=part.sha256)

    def _retried(self, attempt: Callable[[], Any]) -> Any:
        try:
            return self._retrier.call(attempt)
        except retry.GaveUpError as error:
            raise ports.TryAgainError(str(error)) from error

    def _listing(self, url: str) -> Any:
        with self._opened(url, {}, subject=self._repository) as response:
            body = bytearray()
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _MAX_LISTING_BYTES:
                    raise ports.BadInputError(
                        f"{self._repository}: the hub's listing passes {_MAX_LISTING_BYTES} bytes"
                    )
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise retry.TransientError(
                f"{self._repository}: the hub's listing is not JSON: {error}"
            ) from error

    def _go_on(self, entry: hub_listing.Entry, part: "_Part", on_size: Callable[[int], None]) -> None:
        """Read a file from where an earlier attempt broke off, then check it."""
        if not part.has_declared_size:
            self._read_on(entry, part, on_size)
        part.check()

    def _read_on(self, entry: hub_listing.Entry, part: "_Part", on_size: Callable[[int], None]) -> None:
        before = part.size
        path = urllib.parse.quote(entry.path)
        url = f"{self._endpoint}/{self._repository}/resolve/{self._revision}/{path}"
        # Ranges count stored bytes, so nothing may be compressed on the way.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={before}-"} if before else {})
        try:
            with self._opened(url, headers, subject=f"{self._repository}: {entry.path}") as response:
                part.begin(response)
                for piece in response.iter_raw(_MIB):
                    part.write(piece)
                    on_size(part.size)
        except _RangeRefusedError:
            part.start_over()
            raise
        except retry.TransientError as error:
            error.progressed = part.size - before >= _MIB
            raise

    @contextmanager
    def _opened(self, url: str, headers: dict[str, str], *, subject: str) -> Iterator[httpx.Response]:
        """Open an answer with status 2xx; anything else, and a broken body, is mapped."""
        token = secret_files.read(self._token_file, purpose="hub token") if self._token_file else ""
        if token:
            # httpx drops this header when it follows a redirect to another origin.
            headers = headers | {"Authorization": f"Bearer {token}"}
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                if not response.is_success:
                    raise self._refusal(response, subject, token)
                yield response
        except httpx.TooManyRedirects as error:
            raise ports.BadInputError(f"{subject}: the hub redirects without end") from error
        except httpx.RequestError as error:
            raise http_exchange.transient(error, subject=subject) from error

    def _refusal(self, response: httpx.Response, subject: str, token: str) -> Exception:
        detail = http_exchange.excerpt(_start_of(response), secret=token)
        status = response.status_code
        if status in retry.TRANSIENT_STATUSES:
            return http_exchange.busy_or_failed(
                response, subject=subject, detail=detail, now=self._clock.wall()
            )
        seen = f"{subject} at {self._endpoint}: HTTP {status}: {detail}"
        if status == 416:
            return _RangeRefusedError(seen)
        if response.history and status in {401, 403, 404, 410}:
            # A redirect's signed address lives for minutes; the next attempt gets a fresh one.
            return retry.TransientError(seen)
        if status in {401, 403}:
            return ports.BadParametersError(
                f"{seen}; the repository is gated, private or missing: accept its terms on the hub, and give a token"
                f" that may read it (token file: {self._token_file or 'none'})"
            )
        if status == 404:
            return ports.BadParametersError(
                f"{seen}; check the repository's name and commit {self._revision}"
            )
        return ports.BadParametersError(f"{seen}; check that the endpoint is a model hub's")


class _Part:
    """An unfinished file, its digests, and what the hub declared of it."""

    def __init__(self, file: BinaryIO, entry: hub_listing.Entry, most_bytes: int) -> None:
        self._file = file
        self._entry = entry
        self._most_bytes = most_bytes
        self._mismatches = 0
        self.start_over()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was received."""
        return self._sha256.hexdigest()

    @property
    def has_declared_size(self) -> bool:
        """Whether there is nothing left to ask for."""
        return bool(self.size) and self.size == self._entry.size

    def begin(self, response: httpx.Response) -> None:
        """Take an answer's head: start over unless it goes on exactly where the file ends."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise ports.BadInputError(f"{self._entry.path}: the hub compresses it, though asked not to")
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {self.size}-")
        if response.status_code != 206 or not goes_on:
            self.start_over()
        if response.status_code == 206 and not goes_on:
            raise retry.TransientError(f"{self._entry.path}: the hub sent another range than was asked for")

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        self.size += len(piece)
        if self.size > self._most_bytes:
            raise ports.BadInputError(
                f"{self._entry.path} is longer than the {self._most_bytes} bytes allowed"
            )
        self._file.write(piece)
        self._sha256.update(piece)
        self._git_blob.update(piece)

    def check(self) -> None:
        """Hold the whole file against what was declared; a first mismatch is worth a second download."""
        if not (wrong := self._mismatch()):
            return
        self._mismatches += 1
        self.start_over()
        if self._mismatches > 1:
            raise ports.BadInputError(
                f"{self._entry.path}: {wrong}, twice; the hub or a cache before it is damaged"
            )
        raise retry.TransientError(f"{self._entry.path}: {wrong}")

    def _mismatch(self) -> str:
        declared = self._entry
        if declared.size is not None and self.size != declared.size:
            return f"{self.size} bytes were received, the hub declares {declared.size}"
        if declared.sha256 and self.sha256 != declared.sha256:
            return f"its SHA-256 is {self.sha256}, the hub declares {declared.sha256}"
        if declared.git_blob and self._git_blob.hexdigest() != declared.git_blob:
            return f"its git blob id is {self._git_blob.hexdigest()}, the hub declares {declared.git_blob}"
        return ""

    def start_over(self) -> None:
        """Forget what was received."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        self._sha256 = hashlib.sha256()
        # git names a blob by the SHA-1 of "blob SIZE\0" and the content.
        self._git_blob = hashlib.sha1(f"blob {self._entry.size}\0".encode(), usedforsecurity=False)


@contextmanager
def _part(target: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `target` that takes its name when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{atomic.TEMPORARY_MARK}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _start_of(response: httpx.Response) -> bytes:
    """Return the start of an error body; an error that cannot be read is still an error."""
    body = bytearray()
    try:
        for piece in response.iter_bytes():
            body += piece
            if len(body) > _MAX_ERROR_BYTES:
                break
    except httpx.RequestError:
        body += b" (broken off)"
    return bytes(body)
