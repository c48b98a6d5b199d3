"""What HTTP answers and failures mean, for every client that speaks it through httpx."""

import json
import ssl
import urllib.parse
from typing import Any, Final

import httpx

from scalequest_jobs import ports, retry

CONNECT_SECONDS: Final = 10.0
_EXCERPT: Final = 300


def checked_url(url: str, *, field: str) -> str:
    """Return a base address without a trailing slash.

    Raises BadParametersError, naming `field`, for anything but http or https with a host, and for an
    address that holds a user, a query or a fragment: such places leak keys into logs.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ports.BadParametersError(f"{field} {url!r} is not an address; expected https://host/path")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ports.BadParametersError(
            f"{field} must not hold a user, a query or a fragment; give keys by file"
        )
    return url.rstrip("/")


def transient(error: httpx.RequestError, *, subject: str) -> retry.TransientError:
    """Return the transient error for a request that was not answered.

    Raises BadParametersError when the server's certificate is not trusted: that does not pass.
    """
    if _is_certificate_failure(error):
        raise ports.BadParametersError(
            f"{subject}: TLS failed: {error}; set SSL_CERT_FILE to a file with the server's certificate authority"
        ) from error
    never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    reason = f"{subject}: {type(error).__name__}: {error or 'no answer in time'}"
    return retry.TransientError(reason, kind="unreachable" if never_sent else "failed")


def busy_or_failed(
    response: httpx.Response, *, subject: str, detail: str, now: float
) -> retry.TransientError:
    """Return the transient error for an answer whose status is in `retry.TRANSIENT_STATUSES`."""
    asked = retry.retry_after_seconds(response.headers.get("Retry-After"), now=now)
    kind: retry.Kind = "busy" if response.status_code == 429 or asked is not None else "failed"
    reason = f"{subject} answered HTTP {response.status_code}: {detail}"
    if asked:
        reason += f" (asks to wait {asked:.0f} s)"
    return retry.TransientError(reason, kind=kind, retry_after=asked)


def excerpt(body: bytes, *, secret: str = "") -> str:
    """Return what an error body says, short, on one line, in ASCII, and without `secret`."""
    text = body[:65_536].decode("utf-8", "replace")
    found = _message(text) or text
    if secret:
        found = found.replace(secret, "***")
    line = " ".join(found.split())[:_EXCERPT]
    return line.encode("ascii", "backslashreplace").decode() or "no message"


def _message(text: str) -> str:
    try:
        body: Any = json.loads(text)
    except ValueError:
        return ""
    error = body.get("error", body) if isinstance(body, dict) else None
    found = error.get("message", "") if isinstance(error, dict) else error
    return found if isinstance(found, str) else ""


def _is_certificate_failure(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
