"""Objects on an S3 server, through the `minio` client. Law: the only module that imports `minio`.

Facts of minio 7.2 it lives with: without a region every call asks for the bucket's location first;
headers given as metadata can silently become user metadata; a multipart upload holds
`part_size * (parallel + 1)` bytes and is not aborted when the process is killed (give the bucket a
lifecycle rule for incomplete uploads). Digests: over HTTP the payload's SHA-256 is part of the
signature, over HTTPS Content-MD5 is sent; both are the client's own doing.
"""

import contextlib
import hashlib
import io
import random
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import minio
import minio.credentials
import minio.error
import urllib3

from scalequest_jobs import ports, retry, secret_files
from scalequest_jobs.stores import atomic, files, keys, s3_connection, s3_errors, s3_position

Result = TypeVar("Result")

S3Settings = s3_connection.S3Settings

_MIB: Final = 1024 * 1024
PART_BYTES: Final = 16 * _MIB
_MAX_PARTS: Final = 10_000
_NEVER_MD5: Final = frozenset({"aws:kms", "aws:kms:dsse"})


class MinioStore:
    """Keeps objects under `prefix` in a bucket. Thread-safe; not to be shared with a forked process.

    Every call may be repeated: a write under a key replaces the object as a whole. Requests are
    retried by `s3_connection.pool`; what only a freshly signed request can mend (a digest damaged
    on the way, a body that broke off) is retried here, a broken download from where it broke off.
    """

    def __init__(
        self,
        settings: S3Settings,
        *,
        clock: retry.Clock = retry.SYSTEM_CLOCK,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        prefix = settings.prefix.strip("/")
        self._root = f"{keys.checked(prefix)}/" if prefix else ""
        self._address = s3_connection.address(settings)
        self._credentials = _FileCredentials(settings)
        self._pool = s3_connection.pool(settings)
        self._client = self._connect()
        backoff = retry.Backoff(retries=settings.resends, first_seconds=settings.backoff_seconds)
        self._retrier = retry.Retrier(backoff, clock=clock, draw=draw)

    def put(self, key: str, data: bytes) -> None:
        """Write an object; the server checks its digest."""
        name = self._name(key)
        self._call(key, lambda: self._send(name, io.BytesIO(data), len(data)))
        if len(data) > PART_BYTES:
            self._check_size(key, len(data))

    def get(self, key: str) -> bytes:
        """Return an object's content."""
        content = io.BytesIO()
        self._fetch(key, content)
        return content.getvalue()

    def size(self, key: str) -> int:
        """Return an object's length in bytes."""
        name = self._name(key)
        return self._call(key, lambda: self._stat(name))

    def upload(self, key: str, path: Path) -> None:
        """Write an object from a file; holds a few parts of 16 MiB at a time."""
        name = self._name(key)
        with files.reading_from(path):
            size = path.stat().st_size
            self._call(key, lambda: self._send_file(name, path, size))
        if size > PART_BYTES:
            self._check_size(key, size)

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a file; the file appears only when it is complete."""
        with files.writing_to(path), atomic.writing(path) as target:
            self._fetch(key, target)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that start with `prefix`, sorted."""
        start = self._root + keys.checked_prefix(prefix)
        names = self._call("", lambda: self._list(start))
        return sorted(name.removeprefix(self._root) for name in names if not name.endswith("/"))

    def describe(self) -> str:
        """Return bucket, prefix and server."""
        path = f"{self._settings.bucket}/{self._root}".rstrip("/")
        return f"s3://{path} at {self._address.host}"

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def __repr__(self) -> str:
        return f"MinioStore({self.describe()})"

    def _connect(self) -> Any:
        try:
            return minio.Minio(
                self._address.host,
                secure=self._address.secure,
                region=self._settings.region,
                http_client=self._pool,
                credentials=self._credentials,
            )
        except ValueError as error:
            raise ports.BadParametersError(
                f"storage.endpoint {self._settings.endpoint!r} cannot be used: {error}; expected https://host:port"
            ) from error

    def _name(self, key: str) -> str:
        """Return the object's name in the bucket."""
        return keys.checked(self._root + keys.checked(key))

    # --- one request, or one series of parts -------------------------------------------------------

    def _send_file(self, name: str, path: Path, size: int) -> None:
        with path.open("rb") as file:
            self._send(name, file, size)

    def _send(self, name: str, source: BinaryIO, size: int) -> None:
        if size <= PART_BYTES:
            self._send_whole(name, source.read())
            return
        smallest = -(-size // _MAX_PARTS)
        self._client.put_object(
            self._settings.bucket,
            name,
            source,
            size,
            part_size=max(PART_BYTES, -(-smallest // _MIB) * _MIB),
            num_parallel_uploads=self._settings.parallel_parts,
        )

    def _send_whole(self, name: str, data: bytes) -> None:
        source = io.BytesIO(data)
        written = self._client.put_object(
            self._settings.bucket, name, source, len(data), part_size=PART_BYTES, num_parallel_uploads=1
        )
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        encryption = written.http_headers.get("x-amz-server-side-encryption", "")
        if written.etag == digest or encryption in _NEVER_MD5:
            return
        # Not every server's ETag is the MD5: only the content itself proves that it was damaged.
        stored = io.BytesIO()
        self._read_on(name, stored, s3_position.Position())
        if stored.getvalue() != data:
            raise retry.TransientError(f"{name!r} reads back otherwise than it was written")

    def _stat(self, name: str) -> int:
        try:
            return int(self._client.stat_object(self._settings.bucket, name).size)
        except minio.error.S3Error:
            # HEAD has no body, so its error code is a guess from the status; GET names the true cause.
            with self._opened(name, offset=0, length=1):
                raise

    def _list(self, start: str) -> list[str]:
        listed = self._client.list_objects(self._settings.bucket, prefix=start, recursive=True)
        return [entry.object_name for entry in listed]

    def _check_size(self, key: str, expected: int) -> None:
        if (stored := self.size(key)) != expected:
            raise ports.TryAgainError(
                f"key {key!r} of {self.describe()} has {stored} bytes after {expected} were written"
            )

    # --- reading -----------------------------------------------------------------------------------

    def _fetch(self, key: str, sink: BinaryIO) -> None:
        name, position = self._name(key), s3_position.Position()
        self._call(key, lambda: self._read_on(name, sink, position))

    def _read_on(self, name: str, sink: BinaryIO, position: s3_position.Position) -> None:
        """Read from where an earlier attempt broke off, of the same version of the object."""
        before = position.received
        try:
            with self._opened(name, offset=before, etag=position.etag) as response:
                position.begin(response, sink)
                for piece in response.stream(_MIB, decode_content=False):
                    sink.write(piece)
                    position.received += len(piece)
        except urllib3.exceptions.HTTPError as error:
            if isinstance(error, urllib3.exceptions.MaxRetryError):
                raise
            raise retry.TransientError(
                f"{name!r} broke off after {position.received} bytes: {error}",
                progressed=position.received - before >= _MIB,
            ) from error
        if position.total is not None and position.received != position.total:
            raise retry.TransientError(
                f"{name!r} has {position.total} bytes, {position.received} were received"
            )

    @contextlib.contextmanager
    def _opened(self, name: str, *, offset: int, length: int = 0, etag: str = "") -> Iterator[Any]:
        headers = {"If-Match": f'"{etag}"'} if offset and etag else None
        response = self._client.get_object(
            self._settings.bucket, name, offset=offset, length=length, request_headers=headers
        )
        try:
            yield response
        finally:
            response.close()
            response.release_conn()

    # --- errors ------------------------------------------------------------------------------------

    def _call(self, key: str, request: Callable[[], Result]) -> Result:
        try:
            return self._retrier.call(lambda: self._mapped(key, request))
        except retry.GaveUpError as error:
            raise ports.TryAgainError(f"{self.describe()}: {error}") from error

    def _mapped(self, key: str, request: Callable[[], Result]) -> Result:
        """Run a request; raise an error of `ports`, or TransientError if a fresh request may pass."""
        try:
            return request()
        except minio.error.S3Error as error:
            raise self._meaning(key, error.code or "", error.response.status, error.message or "") from error
        except minio.error.ServerError as error:
            raise self._meaning(key, "no code", error.status_code, str(error)) from error
        except minio.error.InvalidResponseError as error:
            raise self._meaning(key, "no S3 answer", error._code, str(error)) from error  # noqa: SLF001 - no accessor
        except ET.ParseError as error:
            raise retry.TransientError(f"{self.describe()} answered broken XML: {error}") from error
        except urllib3.exceptions.HTTPError as error:
            raise s3_connection.stage_error(self._settings, self.describe(), error) from error

    def _meaning(self, key: str, code: str, status: int, detail: str) -> Exception:
        failure = s3_errors.Failure(
            code=code,
            status=status,
            detail=detail,
            key=key,
            store=self.describe(),
            bucket=self._settings.bucket,
            access_key_file=str(self._settings.access_key_file),
        )
        if code in s3_errors.REFUSED_KEYS and self._credentials.have_changed():
            return retry.TransientError(f"{failure.seen}; the credentials have changed meanwhile")
        if failure.is_transient:
            return retry.TransientError(failure.seen, kind="busy" if status in {429, 503} else "failed")
        return s3_errors.stage_error(failure)


class _FileCredentials:
    """Credentials from mounted files, read for each request: a rotated secret is used at once."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._last = self._read()

    def retrieve(self) -> Any:
        """Return the credentials as the files hold them now."""
        self._last = self._read()
        return minio.credentials.Credentials(*self._last)

    def have_changed(self) -> bool:
        """Say whether the files hold something else than the last request used."""
        return self._read() != self._last

    def _read(self) -> tuple[str, str]:
        return (
            secret_files.read(self._settings.access_key_file, purpose="S3 access key"),
            secret_files.read(self._settings.secret_key_file, purpose="S3 secret key"),
        )
