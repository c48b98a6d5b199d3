"""The API server as the command line sees it: the runs of a namespace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Body: TypeAlias = dict[str, Any]
"""A run as the API server has it: raw JSON."""

Operation: TypeAlias = Mapping[str, Any]
"""One operation of a JSON patch (RFC 6902)."""


@dataclass(frozen=True, kw_only=True)
class Created:
    """A run as stored, or as it would be, and what the API server warns of."""

    body: Body
    warnings: tuple[str, ...] = ()


class RunApi(Protocol):
    """Every call that the command line makes. Raises the errors of `remote.errors`, nothing else."""

    def get(self, namespace: str, name: str) -> Body:
        """Return a run."""

    def list(self, namespace: str) -> list[Body]:
        """Return the runs of a namespace; none for a namespace that does not exist."""

    def create(self, namespace: str, body: Body, *, dry_run: bool = False) -> Created:
        """Create a run; unknown fields are refused. `dry_run` asks for everything but the storing."""

    def patch(self, namespace: str, name: str, operations: Sequence[Operation]) -> Body:
        """Apply a JSON patch and return the run; a `test` that fails is a RefusedError and changes nothing."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A way to a cluster: the calls, the namespace that is meant when none is named, and words for people."""

    api: RunApi
    namespace: str
    cluster: str
    """Which cluster it is: `context kind-dev`."""
