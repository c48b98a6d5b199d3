"""The real `cluster.KubeApi`: the official client for log-in, TLS and transport; raw JSON for everything else."""

import contextlib
import json
import math
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import kubernetes.client
import kubernetes.config
import kubernetes.config.incluster_config as pod_account
import urllib3

from scalequest_jobs import __version__
from scalequest_operator import cluster, cluster_errors, errors, rate
from scalequest_operator.cluster_stream import ClusterWatch

USER_AGENT: Final = f"scalequest-operator/{__version__}"

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0

LEASE_SECONDS: Final = 4.0
"""A renewal that hangs must leave time for another before the lease is lost (`lease.Terms`)."""

WATCH_GRACE_SECONDS: Final = 10.0
"""A stream that says nothing for longer than its own time and this is dead."""

POOL_SIZE: Final = 32
"""Connections kept open: workers, informers, the lease."""


def connect(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    limit: rate.TokenBucket | None = None,
) -> "ClusterClient":
    """Return a client with the pod's service account, or by a kubeconfig outside of a pod or where one is named.

    Raises ConfigurationError when there is neither.
    """
    configuration = kubernetes.client.Configuration()
    try:
        if kubeconfig is None and pod_account.SERVICE_HOST_ENV_NAME in os.environ:
            kubernetes.config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
                kubeconfig, context, configuration, persist_config=False
            )
    except (kubernetes.config.ConfigException, OSError, ValueError) as error:
        raise errors.ConfigurationError(
            f"no way to an API server: {error} Run in a pod with a service account, or set KUBECONFIG to a file."
        ) from error
    return ClusterClient(configuration, limit=limit)


class ClusterClient:
    """One connection pool to one API server; every method sends one request, a list one for each page.

    Tokens of service accounts rotate: the library reads the file anew once a minute. Leases pass the limit, since a
    busy operator must not lose its own.
    """

    def __init__(
        self,
        configuration: kubernetes.client.Configuration,
        *,
        limit: rate.TokenBucket | None = None,
        read_seconds: float = READ_SECONDS,
        watch_grace_seconds: float = WATCH_GRACE_SECONDS,
    ) -> None:
        # A request that the transport repeats on its own would hide a write that was applied.
        configuration.retries = urllib3.Retry(total=False)
        configuration.connection_pool_maxsize = POOL_SIZE
        self._client = kubernetes.client.ApiClient(configuration)
        self._client.user_agent = USER_AGENT
        self._limit = limit or rate.TokenBucket(per_second=50, burst=100)
        self._read_seconds = read_seconds
        self._watch_grace_seconds = watch_grace_seconds

    def close(self) -> None:
        """Close every idle connection."""
        self._client.rest_client.close()

    def get(self, resource: cluster.Resource, namespace: str, name: str) -> cluster.Body:
        """Return an object."""
        return self._call("GET", resource, _path(resource, namespace, name))

    def list(
        self,
        resource: cluster.Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        chunk: int = 500,
    ) -> cluster.Listing:
        """Return the objects of a namespace, or of all, in pages of `chunk`."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(chunk)}
        path = _path(resource, namespace)
        first = self._call("GET", resource, path, query)
        items = self._items(resource, path, query, first)
        return cluster.Listing(items=items, resource_version=first["metadata"]["resourceVersion"])

    def watch(
        self,
        resource: cluster.Resource,
        namespace: str | None,
        *,
        resource_version: str,
        label_selector: str = "",
        timeout_seconds: float = 60,
    ) -> ClusterWatch:
        """Return the changes after `resource_version`, bookmarks included."""
        seconds = max(1, math.ceil(timeout_seconds))
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "timeoutSeconds": str(seconds),
        }
        path = _path(resource, namespace)
        response = self._send("GET", resource, path, query, read_seconds=seconds + self._watch_grace_seconds)
        return ClusterWatch(f"WATCH {path}", response)

    def create(self, resource: cluster.Resource, namespace: str, body: cluster.Body) -> cluster.Body:
        """Create an object and return it as stored."""
        return self._call("POST", resource, _path(resource, namespace), body=body)

    def replace(
        self, resource: cluster.Resource, namespace: str, name: str, body: cluster.Body
    ) -> cluster.Body:
        """Replace an object, its status excepted."""
        return self._call("PUT", resource, _path(resource, namespace, name), body=body)

    def replace_status(
        self, resource: cluster.Resource, namespace: str, name: str, body: cluster.Body
    ) -> cluster.Body:
        """Replace an object's status and nothing else."""
        return self._call("PUT", resource, _path(resource, namespace, name, "status"), body=body)

    def patch(
        self,
        resource: cluster.Resource,
        namespace: str,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
    ) -> cluster.Body:
        """Apply a JSON patch."""
        path = _path(resource, namespace, name, subresource)
        return self._call("PATCH", resource, path, body=[*operations])

    def delete(self, resource: cluster.Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object of this uid, and then what it owns."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        with contextlib.suppress(errors.NotFoundError):
            self._call("DELETE", resource, _path(resource, namespace, name), body=body)

    def _items(
        self, resource: cluster.Resource, path: str, query: Mapping[str, str], page: cluster.Body
    ) -> Iterator[cluster.Body]:
        # What is listed does not say what it is.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        while True:
            for item in page.get("items") or []:
                yield kind | item
            if not (token := page["metadata"].get("continue")):
                return
            page = self._call("GET", resource, path, {**query, "continue": token})

    def _call(
        self,
        method: str,
        resource: cluster.Resource,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Any = None,
    ) -> cluster.Body:
        response = self._send(method, resource, path, query or {}, body=body)
        with cluster_errors.mapped(f"{method} {path}"):
            answer: cluster.Body = json.loads(response.data)
        return answer

    def _send(
        self,
        method: str,
        resource: cluster.Resource,
        path: str,
        query: Mapping[str, str],
        *,
        body: Any = None,
        read_seconds: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Return an answer of status 2xx whose body is still to be read; raise what any other means."""
        timeouts = (CONNECT_SECONDS, read_seconds or self._read_seconds)
        if resource is cluster.LEASES:
            timeouts = (LEASE_SECONDS / 2, LEASE_SECONDS / 2)
        else:
            self._limit.take()
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = _content_type(method)
        subject = f"{method} {path}"
        with cluster_errors.mapped(subject):
            request = self._client.param_serialize(
                method,
                path,
                query_params=[(name, value) for name, value in query.items() if value],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = self._client.call_api(*request, _request_timeout=timeouts)
            response: urllib3.BaseHTTPResponse = answer.response
            if not 200 <= response.status < 300:
                raise cluster_errors.from_answer(subject, response.status, response.data, response.headers)
        return response


def _content_type(method: str) -> str:
    return "application/json-patch+json" if method == "PATCH" else "application/json"


def _path(resource: cluster.Resource, namespace: str | None, *parts: str) -> str:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    place = ["namespaces", namespace] if namespace is not None else []
    tail = [urllib.parse.quote(part, safe="") for part in (*place, resource.plural, *parts) if part]
    return "/".join([root, resource.version, *tail])
