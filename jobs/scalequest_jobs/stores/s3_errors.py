"""What an S3 server's error codes mean to a stage.

Codes: Amazon S3 API Reference, "Error responses"; those of other servers stand beside them.
"""

from dataclasses import dataclass
from typing import Final

from scalequest_jobs import ports, retry

MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion"})
REFUSED_KEYS: Final = frozenset(
    {"SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
_DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden"})
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "InvalidBucketName", "InvalidBucketState"})
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_REGION: Final = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed", "InvalidRegion"}
)
# 400s and 409s that a fresh, freshly signed request may well pass; 429 and 5xx are transient by status.
_SEND_AGAIN: Final = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InvalidPart",
        "NoSuchUpload",
        "OperationAborted",
        "PreconditionFailed",
        "RequestTimeout",
        "SlowDown",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An answer that is no success. `store` and `host` say whose it is; `detail` is the server's message."""

    code: str
    status: int
    detail: str
    key: str
    store: str
    bucket: str
    access_key_file: str

    @property
    def seen(self) -> str:
        """What was seen, for messages."""
        subject = f"key {self.key!r} of " if self.key else ""
        return f"{subject}{self.store} answered {self.code} (HTTP {self.status}): {self.detail[:200]}"

    @property
    def is_transient(self) -> bool:
        """Whether a fresh request may pass."""
        return self.code in _SEND_AGAIN or self.status in retry.TRANSIENT_STATUSES - {409}


def stage_error(failure: Failure) -> ports.StageError:
    """Return the error of `ports` for an answer that another attempt of the request will not mend."""
    if failure.code in MISSING:
        return ports.ObjectMissingError(f"no object {failure.key!r} in {failure.store}")
    if failure.is_transient:
        return ports.TryAgainError(failure.seen)
    return ports.BadParametersError(f"{failure.seen}; {_advice(failure)}")


def _advice(failure: Failure) -> str:
    if failure.code in REFUSED_KEYS:
        return f"check the access key in {failure.access_key_file} and the secret key beside it"
    if failure.code in _DENIED:
        return (
            f"allow this access key to read, write and list in bucket {failure.bucket!r}, and check that it exists"
            " (without the right to list, a missing key is answered the same way)"
        )
    if failure.code in _NO_BUCKET:
        return f"create bucket {failure.bucket!r} or correct storage.bucket"
    if failure.code in _SKEWED:
        return "set the clock of the worker's node: it differs too much from the server's"
    if failure.code in _REGION:
        return "set storage.region and storage.endpoint to the bucket's"
    return f"check that the address is an S3 server's and that bucket {failure.bucket!r} is set up for use"
