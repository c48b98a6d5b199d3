"""The real `api.RunApi`: the official client, by the kubeconfig that kubectl uses or a pod's own account."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import kubernetes.client
import kubernetes.config
import urllib3
import yaml

from scalequest_jobs import __version__
from scalequest_jobs.contract import crd
from scalequest_jobs.remote import api, errors, kubernetes_errors

TIMEOUTS_SECONDS: Final = (5.0, 30.0)
"""To connect, and to wait for an answer."""

_MANAGER: Final = "scalequest"
"""Who is said to have written the fields of a run."""

PAGE: Final = 250
"""Runs in one answer of a list."""

_UNREACHABLE: Final = "the API server does not answer (is the cluster up, is this its address?)"

_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connect(context: str | None = None, *, kubeconfig: str | None = None) -> api.Connection:
    """Return the way to the cluster of a context, the current one for None.

    `kubeconfig` is a file in place of those that KUBECONFIG names.

    Raises:
        SetupError: there is no kubeconfig, it is broken, or it has no such context.
    """
    configuration = kubernetes.client.Configuration()
    try:
        connection = _by_kubeconfig(configuration, context, kubeconfig)
    except kubernetes.config.ConfigException as error:
        if context is not None or not (_ACCOUNT / "token").exists():
            raise errors.SetupError(
                f"no way to a cluster: {str(error).rstrip('.')}. Set KUBECONFIG to a file that `kubectl get sqr` works with"
                + (", or choose one of its contexts (`kubectl config get-contexts`)" if context else "")
            ) from error
        connection = _by_account(configuration)
    except (OSError, yaml.YAMLError, ValueError, TypeError) as error:
        raise errors.SetupError(f"the kubeconfig cannot be used: {' '.join(str(error).split())}") from error
    return connection


def _by_kubeconfig(
    configuration: kubernetes.client.Configuration, context: str | None, kubeconfig: str | None
) -> api.Connection:
    kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
        kubeconfig, context, client_configuration=configuration, persist_config=False
    )
    contexts, current = kubernetes.config.list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
    chosen = next(one for one in contexts if one["name"] == context) if context else current
    return api.Connection(
        api=KubernetesApi(configuration),
        namespace=chosen["context"].get("namespace") or "default",
        cluster=f"context {chosen['name']}",
    )


def _by_account(configuration: kubernetes.client.Configuration) -> api.Connection:
    kubernetes.config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    return api.Connection(
        api=KubernetesApi(configuration),
        namespace=(_ACCOUNT / "namespace").read_text(encoding="utf-8"),
        cluster="this pod's cluster",
    )


class KubernetesApi:
    """One API server. Every method sends one request, `list` one for each page."""

    def __init__(self, configuration: kubernetes.client.Configuration) -> None:
        # The transport would try again in silence, with a warning in the middle of a live table.
        configuration.retries = urllib3.Retry(total=False)
        self._client = kubernetes.client.ApiClient(configuration)
        self._client.user_agent = f"scalequest/{__version__}"
        self._runs = kubernetes.client.CustomObjectsApi(self._client)

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.close()

    def get(self, namespace: str, name: str) -> api.Body:
        """Return a run."""
        with _mapped(f"run {name} in the namespace {namespace}"):
            return _body(
                self._runs.get_namespaced_custom_object(
                    crd.GROUP, crd.VERSION, namespace, crd.PLURAL, name, _request_timeout=TIMEOUTS_SECONDS
                )
            )

    def list(self, namespace: str) -> list[api.Body]:
        """Return the runs of a namespace, in pages."""
        with _mapped(f"runs of the namespace {namespace}"):
            return list(_pages(lambda token: self._page(namespace, token)))

    def _page(self, namespace: str, token: str | None) -> api.Body:
        return _body(
            self._runs.list_namespaced_custom_object(
                crd.GROUP,
                crd.VERSION,
                namespace,
                crd.PLURAL,
                limit=PAGE,
                _continue=token,
                _request_timeout=TIMEOUTS_SECONDS,
            )
        )

    def create(self, namespace: str, body: api.Body, *, dry_run: bool = False) -> api.Created:
        """Create a run."""
        with _mapped(f"run {body['metadata']['name']} in the namespace {namespace}"):
            answer, _, headers = self._runs.create_namespaced_custom_object_with_http_info(
                crd.GROUP,
                crd.VERSION,
                namespace,
                crd.PLURAL,
                body,
                dry_run="All" if dry_run else None,
                field_manager=_MANAGER,
                field_validation="Strict",
                _request_timeout=TIMEOUTS_SECONDS,
            )
            return api.Created(body=_body(answer), warnings=_warnings(headers))

    def patch(self, namespace: str, name: str, operations: Sequence[api.Operation]) -> api.Body:
        """Apply a JSON patch."""
        with _mapped(f"run {name} in the namespace {namespace}"):
            return _body(
                self._runs.patch_namespaced_custom_object(
                    crd.GROUP,
                    crd.VERSION,
                    namespace,
                    crd.PLURAL,
                    name,
                    [dict(operation) for operation in operations],
                    field_manager=_MANAGER,
                    _content_type="application/json-patch+json",
                    _request_timeout=TIMEOUTS_SECONDS,
                )
            )


def _body(answer: object) -> api.Body:
    if not isinstance(answer, dict):
        raise errors.UnreachableError(
            f"the API server's answer is no object: {str(answer)[:200]!r}; is a proxy in between?"
        )
    return answer


def _pages(page: Callable[[str | None], api.Body]) -> Iterator[api.Body]:
    token: str | None = None
    while True:
        answer = page(token)
        yield from answer.get("items") or []
        token = (answer.get("metadata") or {}).get("continue")
        if not token:
            return


def _warnings(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the texts of `Warning: 299 - "text"` (RFC 7234), one header or several joined by commas."""
    found = urllib3.HTTPHeaderDict(headers).get("Warning", "")
    return tuple(part.replace('\\"', '"') for part in _QUOTED.findall(found))


@contextmanager
def _mapped(subject: str) -> Iterator[None]:
    """Turn what the client and its transport raise into our errors."""
    try:
        yield
    except kubernetes.client.ApiException as error:
        # A status of None or 0: the transport failed before there was an answer.
        if not error.status:
            raise errors.UnreachableError(f"{subject}: {_UNREACHABLE}: {error.reason}") from error
        raise kubernetes_errors.from_answer(subject, error.status, _text(error)) from error
    except kubernetes.config.ConfigException as error:
        raise errors.ForbiddenError(f"{subject}: no credentials: {error}; log in again") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise errors.UnreachableError(f"{subject}: {_UNREACHABLE}: {error}") from error


def _text(error: kubernetes.client.ApiException) -> str:
    body = error.body
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
