"""What a launcher and a worker agree on: environment names, exit codes, the termination message."""

import json
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final

import pydantic

from scalequest_jobs import ports


class ExitCode(IntEnum):
    """Exit codes of a worker, from `sysexits.h`; a Job's podFailurePolicy acts on them."""

    OK = 0
    BAD_PARAMETERS = 64
    BAD_INPUT = 65
    TRY_AGAIN = 75


class Env(StrEnum):
    """Environment variables that tell a worker its task."""

    ORDER_KEY = "SCALEQUEST_ORDER_KEY"
    ORDER_SHA256 = "SCALEQUEST_ORDER_SHA256"
    SHARD = "JOB_COMPLETION_INDEX"
    POD_UID = "SCALEQUEST_POD_UID"
    STORE = "SCALEQUEST_STORE"
    S3_REGION = "SCALEQUEST_S3_REGION"
    S3_CREDENTIALS = "SCALEQUEST_S3_CREDENTIALS"
    S3_CA_FILE = "SCALEQUEST_S3_CA_FILE"
    API_KEY_FILE = "SCALEQUEST_API_KEY_FILE"
    HUB_ENDPOINT = "SCALEQUEST_HUB_ENDPOINT"
    HUB_TOKEN_FILE = "SCALEQUEST_HUB_TOKEN_FILE"  # noqa: S105 - the name of a file, no token
    CACHE = "SCALEQUEST_CACHE"
    VOLUMES = "SCALEQUEST_VOLUMES"
    TERMINATION_LOG = "SCALEQUEST_TERMINATION_LOG"


DEFAULT_TERMINATION_LOG: Final = Path("/dev/termination-log")
MAX_TERMINATION_BYTES: Final = 4096
"""The kubelet keeps no more of the file (Kubernetes docs, "Determine the Reason for Pod Failure")."""


class Termination(pydantic.BaseModel):
    """What a worker leaves as its last words: its manifest, or why there is none."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    manifest: str = ""
    sha256: str = ""
    error: str = ""
    message: str = ""

    def encode(self) -> str:
        """Return JSON of at most MAX_TERMINATION_BYTES; a long message is cut, printable ASCII only."""
        plain = self.message.encode("ascii", "backslashreplace").decode()[:MAX_TERMINATION_BYTES]
        fields = self.model_dump(exclude_defaults=True)
        while len(text := json.dumps(fields | ({"message": plain} if plain else {}))) > MAX_TERMINATION_BYTES:
            # JSON writes quotes, backslashes and control characters longer, so only the whole can be measured.
            plain = plain[: len(plain) * 7 // 8]
        return text


def exit_code(error: ports.StageError) -> ExitCode:
    """Return the exit code that tells a launcher whether to try again."""
    match error:
        case ports.BadParametersError():
            return ExitCode.BAD_PARAMETERS
        case ports.TryAgainError() | ports.SpendLimitError():
            return ExitCode.TRY_AGAIN
        case _:
            return ExitCode.BAD_INPUT
