"""The API server as the operator sees it: resources, calls, and the permissions that the calls need.

`cluster_client.ClusterClient` is the real one. Whatever implements `KubeApi` raises only `errors.ClusterError`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from scalequest_jobs.contract import crd, names, run

Body: TypeAlias = dict[str, Any]
"""A Kubernetes object as it is sent: raw JSON."""

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind of namespaced object. `group` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return what stands in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version


RUNS: Final = Resource(group=names.GROUP, version=crd.VERSION, plural=crd.PLURAL, kind=run.KIND)
JOBS: Final = Resource(group="batch", version="v1", plural="jobs", kind="Job")
PODS: Final = Resource(group="", version="v1", plural="pods", kind="Pod")
EVENTS: Final = Resource(group="", version="v1", plural="events", kind="Event")
LEASES: Final = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a list answers; `items` is read once and asks for further pages as it goes.

    All pages show the moment `resource_version`: a watch from there misses nothing.
    """

    items: Iterator[Body]
    resource_version: str


@dataclass(frozen=True, kw_only=True)
class WatchEvent:
    """One change. The body of a BOOKMARK holds nothing but a newer resourceVersion."""

    type: EventType
    body: Body


class Watch(Protocol):
    """A stream of changes. It ends when the server ends it, or when `close` is called from any thread."""

    def __iter__(self) -> Iterator[WatchEvent]:
        """Yield changes as they come; raise GoneError or UnavailableError when the stream breaks."""

    def close(self) -> None:
        """End the stream at once, also for a thread that waits in it."""


class KubeApi(Protocol):
    """Every call that the operator makes. Thread-safe. Raises `errors.ClusterError`, nothing else.

    No call is repeated by itself; an UnavailableError leaves open whether a write was applied.
    """

    def get(self, resource: Resource, namespace: str, name: str) -> Body:
        """Return an object."""

    def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        chunk: int = 500,
    ) -> Listing:
        """Return the objects of a namespace, or of all, in pages of `chunk`."""

    def watch(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        resource_version: str,
        label_selector: str = "",
        timeout_seconds: float = 60,
    ) -> Watch:
        """Return the changes after `resource_version`, bookmarks included.

        The server ends the stream after `timeout_seconds` (whole seconds); a stream that is silent for longer
        breaks with UnavailableError.
        """

    def create(self, resource: Resource, namespace: str, body: Body) -> Body:
        """Create an object and return it as stored."""

    def replace(self, resource: Resource, namespace: str, name: str, body: Body) -> Body:
        """Replace an object, its status excepted. `metadata.resourceVersion` guards it: ConflictError."""

    def replace_status(self, resource: Resource, namespace: str, name: str, body: Body) -> Body:
        """Replace an object's status and nothing else. `metadata.resourceVersion` guards it: ConflictError."""

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
    ) -> Body:
        """Apply a JSON patch (RFC 6902); a `test` that fails is an InvalidError and changes nothing."""

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of this uid, and then (in the background) what it owns.

        One that is gone already is a success; another uid is a ConflictError.
        """


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What the operator's account may do with one resource. `subresource` is empty for the object itself."""

    resource: Resource
    verbs: tuple[str, ...]
    subresource: str = ""


RULES: Final = (
    Rule(resource=RUNS, verbs=("get", "list", "watch", "patch", "delete")),  # patch: finalizers; delete: TTL
    Rule(resource=RUNS, subresource="status", verbs=("update",)),
    Rule(resource=JOBS, verbs=("get", "list", "watch", "create", "patch", "delete")),
    Rule(resource=PODS, verbs=("list", "watch")),
    Rule(resource=PODS, subresource="status", verbs=("patch",)),  # a pod on a lost node is marked failed
    Rule(
        resource=EVENTS, verbs=("create", "list")
    ),  # list: what the Job controller could not create, and why
)
"""In every namespace that the operator watches."""

LEASE_RULES: Final = (Rule(resource=LEASES, verbs=("get", "create", "update")),)
"""In the operator's own namespace."""
