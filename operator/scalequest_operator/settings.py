"""How the operator's process is set up: the command line or the environment, made one frozen value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

PREFIX: Final = "SCALEQUEST_OPERATOR_"
"""Start of every environment variable of the operator."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One operator process.

    namespaces: those that are watched; empty for all.
    lease_namespace, identity: where leaders are elected, and this process's name there; no election without a namespace.
    workers: runs that are worked on at the same time.
    calls_per_second: limit of calls to the API server; bursts of twice as many are allowed.
    resync_seconds: every run that has not ended is looked at this often even if nothing happens.
    probe_port: port of /healthz and /readyz; 0 for none.
    """

    configuration: Path
    namespaces: tuple[str, ...] = ()
    lease_namespace: str = ""
    identity: str = "scalequest-operator"
    workers: int = 8
    calls_per_second: float = 100.0
    resync_seconds: float = 300.0
    probe_port: int = 8081
    log_format: Literal["json", "text"] = "json"
    log_level: str = "INFO"
