"""Where an S3 server is, and connections to it with time limits and retries."""

import os
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import certifi
import urllib3

from scalequest_jobs import ports

_RETRIED_STATUSES: Final = frozenset({429, 500, 502, 503, 504})
_LONGEST_WAIT_SECONDS: Final = 60
_TLS_MISMATCH: Final = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""OpenSSL's names of failures that last; a connection that merely broke off names others."""


@dataclass(frozen=True, kw_only=True)
class S3Settings:
    """An S3 bucket and how to reach it. Times in seconds.

    `endpoint` is `https://host:port`, `http://host:port`, or `host:port` with TLS as `secure` says.
    The two key files are read for each request. `ca_file` holds the certificate authorities to trust
    instead of the usual ones. A request is retried `retries` times, first at once, then after
    `backoff_seconds` doubling up to 30, with jitter: at the defaults about 100 s in all. What was taken
    and not answered as it should be is sent again `resends` times.
    """

    endpoint: str
    bucket: str
    access_key_file: Path
    secret_key_file: Path
    prefix: str = ""
    region: str = "us-east-1"
    secure: bool = True
    ca_file: Path | None = None
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0
    retries: int = 8
    resends: int = 3
    backoff_seconds: float = 0.5
    parallel_parts: int = 3


@dataclass(frozen=True, kw_only=True)
class Address:
    """A server: `host` with its port if one was given, and whether to use TLS."""

    host: str
    secure: bool


def address(settings: S3Settings) -> Address:
    """Return the server's address. Raises BadParametersError for anything but scheme, host and port."""
    endpoint = settings.endpoint
    if "://" not in endpoint:
        endpoint = f"{'https' if settings.secure else 'http'}://{endpoint}"
    parts = urllib.parse.urlsplit(endpoint)
    extra = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or extra or "@" in parts.netloc:
        raise ports.BadParametersError(
            "storage.endpoint cannot be used: expected https://host:port or http://host:port, without path or user"
        )
    return Address(host=parts.netloc, secure=parts.scheme == "https")


def pool(settings: S3Settings) -> urllib3.PoolManager:
    """Return connections whose requests are retried on connection errors, 429 and 5xx.

    Every method is retried: all requests of a store may be repeated. Redirects are not followed: a
    signature is valid for one host. Raises BadParametersError for an unusable `ca_file`.
    """
    retries = urllib3.Retry(
        total=settings.retries,
        redirect=0,
        raise_on_redirect=False,
        raise_on_status=False,
        allowed_methods=None,
        status_forcelist=_RETRIED_STATUSES,
        backoff_factor=settings.backoff_seconds,
        backoff_max=30,
        backoff_jitter=settings.backoff_seconds,
        retry_after_max=_LONGEST_WAIT_SECONDS,
    )
    timeout = urllib3.Timeout(connect=settings.connect_timeout_seconds, read=settings.read_timeout_seconds)
    return urllib3.PoolManager(
        num_pools=4,
        maxsize=32,
        timeout=timeout,
        retries=retries,
        ssl_context=_ssl_context(settings) if address(settings).secure else None,
    )


def stage_error(settings: S3Settings, store: str, error: urllib3.exceptions.HTTPError) -> ports.StageError:
    """Return the error of `ports` for a request that got no answer."""
    reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    if isinstance(reason, urllib3.exceptions.SSLError) and any(sign in str(reason) for sign in _TLS_MISMATCH):
        return ports.BadParametersError(
            f"{store}: TLS failed: {reason}; trust the server's certificate authority by the CA file"
            f" (now {settings.ca_file or 'the usual ones'}), or use http:// if it has no TLS"
        )
    return ports.TryAgainError(f"{store} gave no answer after {settings.retries} retries: {reason}")


def _ssl_context(settings: S3Settings) -> ssl.SSLContext:
    trusted = settings.ca_file or os.environ.get("SSL_CERT_FILE") or certifi.where()
    try:
        return ssl.create_default_context(cafile=trusted)
    except OSError as error:  # ssl.SSLError is one
        raise ports.BadParametersError(
            f"S3 CA file {trusted} cannot be used: {error}; expected certificates in PEM form"
        ) from error
