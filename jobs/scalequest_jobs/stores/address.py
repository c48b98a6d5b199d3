"""Stores by address: `file:///folder`, a plain folder, or `s3+https://host:port/bucket/prefix`."""

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scalequest_jobs import ports
from scalequest_jobs.stores.folder import FolderStore

_IMPATIENT: Final[Mapping[str, Any]] = {
    "connect_timeout_seconds": 3.0,
    "read_timeout_seconds": 15.0,
    "retries": 1,
    "resends": 1,
}


def open_store(
    address: str,
    *,
    credentials: Path | None = None,
    region: str = "us-east-1",
    ca_file: Path | None = None,
    patient: bool = True,
) -> ports.ArtifactStore:
    """Return the store at an address.

    Args:
        address: a folder, `file:///folder`, `s3+https://host:port/bucket[/prefix]` or `s3+http://...`.
        credentials: for S3, a folder with the files `access-key` and `secret-key` (a mounted Secret).
        region: for S3, the region that requests are signed for.
        ca_file: for S3, a certificate authority to trust.
        patient: for S3, whether to wait out an outage of a minute or two; otherwise it is known within seconds.

    Raises:
        BadParametersError: the address has another form, or S3 has no credentials.
    """
    parts = urllib.parse.urlsplit(address)
    if parts.scheme in ("", "file"):
        return FolderStore(Path(parts.path))
    bucket, _, prefix = parts.path.strip("/").partition("/")
    if parts.scheme not in ("s3+http", "s3+https") or not parts.netloc or not bucket:
        raise ports.BadParametersError(
            f"store {address!r} is no address: expected a folder or s3+https://host:port/bucket/prefix"
        )
    if credentials is None:
        raise ports.BadParametersError(
            f"store {address} needs a folder with the files access-key and secret-key"
        )
    from scalequest_jobs.stores.minio import MinioStore, S3Settings

    return MinioStore(
        S3Settings(
            endpoint=f"{parts.scheme.removeprefix('s3+')}://{parts.netloc}",
            bucket=bucket,
            prefix=prefix,
            region=region,
            access_key_file=credentials / "access-key",
            secret_key_file=credentials / "secret-key",
            ca_file=ca_file,
            **({} if patient else _IMPATIENT),
        )
    )
