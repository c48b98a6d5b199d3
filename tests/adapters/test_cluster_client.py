"""The client between us and any API server: what each failure means, and what is sent."""

import datetime as dt
import json
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.client.exceptions
import kubernetes.config.incluster_config as pod_account
import pytest
import urllib3.exceptions

from cluster.lab import waiting
from scalequest_operator import cluster, cluster_client, cluster_errors, errors
from scalequest_operator.rate import TokenBucket
from servers import kubernetes as api_server
from servers.kubernetes import Answer, ScriptedApiServer

PASSING = {401, 408, 425, 429, *range(500, 600)}
"""Statuses after which the same request may succeed (RFC 9110, RFC 6585), and 401: tokens rotate."""


@pytest.fixture
def server() -> Iterator[ScriptedApiServer]:
    with api_server.running() as running:
        yield running


def client(address: str, **options: Any) -> cluster_client.ClusterClient:
    return cluster_client.ClusterClient(kubernetes.client.Configuration(host=address), **options)


def status(reason: str, message: str = "", **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "reason": reason, "message": message, "details": details}


# --- What a failure means -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "body", "expected"),
    [
        (400, status("BadRequest"), errors.InvalidError),
        (401, status("Unauthorized"), errors.UnauthorizedError),
        (403, status("Forbidden", "pods is forbidden: User cannot list"), errors.ForbiddenError),
        (403, status("Forbidden", "exceeded quota: q, requested: pods=1"), errors.QuotaError),
        (404, status("NotFound"), errors.NotFoundError),
        (404, None, errors.UnavailableError),
        (405, status("MethodNotAllowed"), errors.InvalidError),
        (409, status("AlreadyExists"), errors.AlreadyExistsError),
        (409, status("Conflict"), errors.ConflictError),
        (410, status("Expired"), errors.GoneError),
        (413, status("RequestEntityTooLarge"), errors.InvalidError),
        (422, status("Invalid"), errors.InvalidError),
        (429, status("TooManyRequests"), errors.UnavailableError),
        (500, status("InternalError"), errors.UnavailableError),
        (500, status("InternalError", "etcdserver: request is too large"), errors.InvalidError),
        (503, status("ServiceUnavailable"), errors.UnavailableError),
        (504, status("Timeout"), errors.UnavailableError),
        (301, None, errors.InvalidError),
    ],
)
def test_an_answer_means(
    server: ScriptedApiServer, code: int, body: Any, expected: type[errors.ClusterError]
) -> None:
    raw = b"404 page not found\n" if body is None else None
    server.answers.append(Answer(status=code, body=body, raw=raw))
    with pytest.raises(errors.ClusterError) as caught:
        client(server.address).get(cluster.JOBS, "default", "one")
    assert type(caught.value) is expected
    assert str(caught.value).startswith(f"GET /apis/batch/v1/namespaces/default/jobs/one: {code} ")
    assert len(server.requests) == 1, "the caller decides about another attempt"


def test_deleting_what_is_gone_succeeds_and_a_missing_kind_does_not(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(status=404, body=status("NotFound")))
    client(server.address).delete(cluster.JOBS, "default", "one", uid="u")
    server.answers.append(Answer(status=404, raw=b"404 page not found\n"))
    with pytest.raises(errors.UnavailableError):
        client(server.address).delete(cluster.JOBS, "default", "one", uid="u")


@pytest.mark.parametrize("code", range(300, 600))
def test_every_status_has_a_meaning_and_it_says_whether_to_try_again(code: int) -> None:
    error = cluster_errors.from_answer("GET /", code, b'{"reason": "NotFound"}', {})
    assert isinstance(error, errors.ClusterError)
    assert type(error) is not errors.ClusterError
    assert error.retriable == (code in PASSING or code in {409, 410})


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("soon", None), (" 3 ", 3.0)])
def test_a_busy_server_says_when_to_come_back(
    server: ScriptedApiServer, header: str | None, seconds: float | None
) -> None:
    headers = {} if header is None else {"Retry-After": header}
    server.answers.append(Answer(status=429, body=status("TooManyRequests"), headers=headers))
    with pytest.raises(errors.UnavailableError) as caught:
        client(server.address).get(cluster.JOBS, "default", "one")
    assert caught.value.retry_after_seconds == seconds


def test_the_causes_of_a_refusal_are_kept(server: ScriptedApiServer) -> None:
    causes = [{"reason": "FieldValueInvalid", "message": "too long", "field": "spec.name"}, {}]
    server.answers.append(Answer(status=422, body=status("Invalid", causes=causes)))
    with pytest.raises(errors.InvalidError) as caught:
        client(server.address).create(cluster.JOBS, "default", {})
    assert caught.value.causes == (
        errors.Cause(field="spec.name", reason="FieldValueInvalid", message="too long"),
        errors.Cause(field="", reason="", message=""),
    )


@pytest.mark.parametrize(
    "answer",
    [
        Answer(kind="reset", body={"a": "b" * 1000}),
        Answer(kind="cut", body={"a": "b" * 1000}),
        Answer(kind="cut", status=500, body={"a": "b" * 1000}),
        Answer(kind="silent"),
        Answer(raw=b"<html>a proxy's own page</html>"),
        Answer(raw=b"\xff\xfe"),
    ],
    ids=["reset", "cut", "cut error", "silent", "html", "not UTF-8"],
)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get", ("default", "one")),
        ("create", ("default", {"a": 1})),
        ("replace_status", ("default", "one", {"a": 1})),
    ],
)
def test_half_an_answer_is_no_answer_and_nothing_is_sent_twice(
    server: ScriptedApiServer, answer: Answer, name: str, arguments: tuple[Any, ...]
) -> None:
    server.answers.append(answer)
    call = getattr(client(server.address, read_seconds=0.2), name)
    with pytest.raises(errors.UnavailableError, match="no whole answer"):
        call(cluster.JOBS, *arguments)
    assert len(server.requests) == 1


def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(errors.UnavailableError, match="Connection refused"):
        client("http://127.0.0.1:9").get(cluster.JOBS, "default", "one")


def test_a_server_without_tls_is_no_answer(server: ScriptedApiServer) -> None:
    with pytest.raises(errors.UnavailableError, match="SSL"):
        client(server.address.replace("http:", "https:")).get(cluster.JOBS, "default", "one")


def descendants(root: type[Exception]) -> set[type[Exception]]:
    return {root}.union(*(descendants(child) for child in root.__subclasses__()))


@pytest.mark.parametrize(
    "kind",
    sorted(
        descendants(urllib3.exceptions.HTTPError)
        | descendants(kubernetes.client.exceptions.OpenApiException)
        | {OSError, TimeoutError, ConnectionResetError, json.JSONDecodeError, UnicodeDecodeError},
        key=lambda kind: kind.__name__,
    ),
    ids=lambda kind: kind.__name__,
)
def test_every_error_of_the_libraries_below_is_mapped(kind: type[Exception]) -> None:
    # Each has arguments of its own; what counts is what it is.
    error = type(kind.__name__, (kind,), {"__init__": lambda self: None, "__str__": lambda self: "why"})()
    with pytest.raises(errors.UnavailableError) as caught, cluster_errors.mapped("GET /"):
        raise error
    assert caught.value.__cause__ is error


def test_our_own_mistakes_are_not_hidden() -> None:
    with pytest.raises(KeyError), cluster_errors.mapped("GET /"):
        raise KeyError("a bug")


# --- What is sent -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call, and the request that it is. X stands for the resource."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    method: str
    path: str
    content: Any = None


ONE = "/namespaces/default/X/one"

CALLS = [
    Call(name="get", arguments=("default", "one"), method="GET", path=ONE),
    Call(
        name="list",
        arguments=("default",),
        options={"label_selector": "a=b"},
        method="GET",
        path="/namespaces/default/X?labelSelector=a%3Db&limit=500",
    ),
    Call(
        name="list",
        arguments=(None,),
        options={"field_selector": "c=d", "chunk": 7},
        method="GET",
        path="/X?fieldSelector=c%3Dd&limit=7",
    ),
    Call(
        name="create",
        arguments=("default", {"a": 1}),
        method="POST",
        path="/namespaces/default/X",
        content={"a": 1},
    ),
    Call(name="replace", arguments=("default", "one", {"a": 1}), method="PUT", path=ONE, content={"a": 1}),
    Call(
        name="replace_status",
        arguments=("default", "one", {"a": 1}),
        method="PUT",
        path=f"{ONE}/status",
        content={"a": 1},
    ),
    Call(
        name="patch",
        arguments=("default", "one", [{"op": "x"}]),
        method="PATCH",
        path=ONE,
        content=[{"op": "x"}],
    ),
    Call(
        name="patch",
        arguments=("default", "one", [{"op": "x"}]),
        options={"subresource": "status"},
        method="PATCH",
        path=f"{ONE}/status",
        content=[{"op": "x"}],
    ),
    Call(
        name="delete",
        arguments=("default", "one"),
        options={"uid": "u"},
        method="DELETE",
        path=ONE,
        content={
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": "u"},
            "propagationPolicy": "Background",
        },
    ),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.name} {call.path}")
@pytest.mark.parametrize(("resource", "root"), [(cluster.JOBS, "/apis/batch/v1"), (cluster.PODS, "/api/v1")])
def test_a_call_is_this_request(
    server: ScriptedApiServer, resource: cluster.Resource, root: str, call: Call
) -> None:
    server.answers.append(Answer(body={"metadata": {"resourceVersion": "1"}}))
    getattr(client(server.address), call.name)(resource, *call.arguments, **call.options)
    [request] = server.requests
    assert (request.method, request.path) == (call.method, root + call.path.replace("X", resource.plural))
    assert request.headers["User-Agent"] == cluster_client.USER_AGENT
    assert json.loads(request.body or b"null") == call.content
    kind = {"GET": None, "PATCH": "application/json-patch+json"}.get(call.method, "application/json")
    assert request.headers.get("Content-Type") == kind


def test_a_name_cannot_leave_its_place(server: ScriptedApiServer) -> None:
    client(server.address).get(cluster.JOBS, "default", "../../secrets/x?y")
    assert server.requests[0].path.endswith("/jobs/..%2F..%2Fsecrets%2Fx%3Fy")


def test_pages_follow_the_token_and_say_what_they_hold(server: ScriptedApiServer) -> None:
    first = {"metadata": {"resourceVersion": "5", "continue": "t+1="}, "items": [{"metadata": {"name": "a"}}]}
    last = {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "b"}}]}
    server.answers.extend([Answer(body=first), Answer(body=last)])
    listing = client(server.address).list(cluster.JOBS, None)
    assert listing.resource_version == "5"
    assert len(server.requests) == 1, "a page is asked for when it is needed"
    assert list(listing.items) == [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}} for name in ("a", "b")
    ]
    assert server.requests[1].path == "/apis/batch/v1/jobs?limit=500&continue=t%2B1%3D"


def test_an_empty_list_without_items_is_empty(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(body={"metadata": {"resourceVersion": "5"}, "items": None}))
    assert list(client(server.address).list(cluster.JOBS, None).items) == []


class RefusalError(Exception):
    """Raised by a limit that is asked."""


class Refusing(TokenBucket):
    def __init__(self) -> None:
        pass

    def take(self) -> None:
        raise RefusalError


def test_every_call_but_a_lease_waits_for_the_limit(server: ScriptedApiServer) -> None:
    api = client(server.address, limit=Refusing())
    api.get(cluster.LEASES, "default", "one")
    for resource in (cluster.RUNS, cluster.JOBS, cluster.PODS, cluster.EVENTS):
        with pytest.raises(RefusalError):
            api.get(resource, "default", "one")
        with pytest.raises(RefusalError):
            api.watch(resource, "default", resource_version="1")


def test_a_lease_is_waited_for_no_longer_than_its_renewal_allows(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(kind="silent"))
    with pytest.raises(errors.UnavailableError, match=r"read timeout=2\.0"):
        client(server.address).get(cluster.LEASES, "default", "one")


def test_twenty_threads_share_a_client(server: ScriptedApiServer) -> None:
    api, failed = client(server.address), []

    def work(number: int) -> None:
        for _ in range(5):
            try:
                api.get(cluster.JOBS, "default", str(number))
            except errors.ClusterError as error:
                failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(request.path.rpartition("/")[2] for request in server.requests) == sorted(
        [str(number) for number in range(20)] * 5
    )


# --- Watches ------------------------------------------------------------------------------------

ADDED = b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"7"}}}\n'
BOOKMARK = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}\n'
EXPIRED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'
BROKEN = b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcdserver: leader changed"}}\n'


def test_a_watch_is_this_request(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(kind="stream"))
    api = client(server.address)
    assert (
        list(api.watch(cluster.JOBS, None, resource_version="5", label_selector="a", timeout_seconds=3.2))
        == []
    )
    assert server.requests[0].path == (
        "/apis/batch/v1/jobs?watch=true&allowWatchBookmarks=true&resourceVersion=5&labelSelector=a&timeoutSeconds=4"
    )


@pytest.mark.parametrize(
    "lines",
    [
        (ADDED, BOOKMARK),
        (ADDED + BOOKMARK,),
        (ADDED[:10], ADDED[10:] + BOOKMARK[:5], BOOKMARK[5:]),
        (b"\n", ADDED, b"\n" + BOOKMARK),
    ],
    ids=["lines", "together", "in pieces", "with empty lines"],
)
def test_changes_come_whole_however_they_are_cut(server: ScriptedApiServer, lines: tuple[bytes, ...]) -> None:
    server.answers.append(Answer(kind="stream", lines=lines))
    events = list(client(server.address).watch(cluster.JOBS, None, resource_version="5"))
    assert [(event.type, event.body["metadata"]["resourceVersion"]) for event in events] == [
        ("ADDED", "7"),
        ("BOOKMARK", "9"),
    ]


@pytest.mark.parametrize(
    ("line", "expected"), [(EXPIRED, errors.GoneError), (BROKEN, errors.UnavailableError)]
)
def test_an_error_in_the_stream_is_raised_after_what_came_before(
    server: ScriptedApiServer, line: bytes, expected: type[errors.ClusterError]
) -> None:
    server.answers.append(Answer(kind="stream", lines=(ADDED, line)))
    events = iter(client(server.address).watch(cluster.JOBS, None, resource_version="5"))
    assert next(events).type == "ADDED"
    with pytest.raises(expected):
        next(events)


def test_a_watch_that_is_refused_is_refused_like_any_call(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(status=410, body=status("Expired")))
    with pytest.raises(errors.GoneError):
        client(server.address).watch(cluster.JOBS, None, resource_version="5")


def test_a_silent_stream_is_noticed(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(kind="stream", lines=(ADDED,), open=True))
    api = client(server.address, watch_grace_seconds=-0.8)
    events = iter(api.watch(cluster.JOBS, None, resource_version="5", timeout_seconds=1))
    assert next(events).type == "ADDED"
    with pytest.raises(errors.UnavailableError, match="timed out"):
        next(events)


def test_garbage_in_the_stream_is_no_answer(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(kind="stream", lines=(b"not json\n",)))
    with pytest.raises(errors.UnavailableError):
        list(client(server.address).watch(cluster.JOBS, None, resource_version="5"))


def test_closing_ends_a_stream_for_the_thread_that_waits_in_it(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(kind="stream", lines=(ADDED,), open=True))
    watch = client(server.address).watch(cluster.JOBS, None, resource_version="5")
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.extend(event.type for event in watch))
    thread.start()
    waiting.until(lambda: bool(seen), "the first event", seconds=5)
    watch.close()
    thread.join(5)
    assert not thread.is_alive()
    assert seen == ["ADDED"]
    watch.close()


def test_a_stream_that_was_closed_before_it_was_read_is_empty(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(kind="stream", open=True))
    watch = client(server.address).watch(cluster.JOBS, None, resource_version="5")
    watch.close()
    assert list(watch) == []


def test_the_connection_of_a_closed_stream_is_not_used_for_another_answer(server: ScriptedApiServer) -> None:
    server.answers.append(Answer(kind="stream", lines=(ADDED,), open=True))
    api = client(server.address, read_seconds=2)
    for _ in api.watch(cluster.JOBS, None, resource_version="5"):
        break
    server.answers.append(Answer(body={"metadata": {"name": "whole"}}))
    assert api.get(cluster.JOBS, "default", "one") == {"metadata": {"name": "whole"}}


# --- The way in ---------------------------------------------------------------------------------


def test_without_a_pod_and_a_kubeconfig_the_operator_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(pod_account.SERVICE_HOST_ENV_NAME, raising=False)
    with pytest.raises(errors.ConfigurationError, match="set KUBECONFIG to a file"):
        cluster_client.connect(kubeconfig=str(tmp_path / "none"))


def test_a_kubeconfig_names_server_and_token(server: ScriptedApiServer, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig(server.address)))
    cluster_client.connect(kubeconfig=str(path)).get(cluster.JOBS, "default", "one")
    assert server.requests[0].headers["authorization"] == "Bearer t0ken"


def kubeconfig(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend to be in a pod; returns the file of its token."""
    token = tmp_path / "token"
    token.write_text("first")
    (tmp_path / "ca.crt").write_text("no certificate is needed here")
    monkeypatch.setenv(pod_account.SERVICE_HOST_ENV_NAME, "127.0.0.1")
    monkeypatch.setenv(pod_account.SERVICE_PORT_ENV_NAME, "1")
    monkeypatch.setattr(pod_account, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(pod_account, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    return token


def tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.now(tz) + dt.timedelta(days=1)

    later = types.SimpleNamespace(datetime=Tomorrow, timedelta=dt.timedelta)
    monkeypatch.setattr(pod_account, "datetime", later)


def in_plain_text(api: cluster_client.ClusterClient, server: ScriptedApiServer) -> None:
    """Send what is meant for the pod's API server to a test server without TLS."""
    rest, request = api._client.rest_client, api._client.rest_client.request

    def redirect(method: str, url: str, **options: Any) -> Any:
        return request(method, url.replace("https://127.0.0.1:1", server.address), **options)

    rest.request = redirect  # type: ignore[method-assign]


def test_a_rotated_service_account_token_is_used(
    server: ScriptedApiServer, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = cluster_client.connect()
    in_plain_text(api, server)
    api.get(cluster.JOBS, "default", "one")
    account.write_text("second")
    tomorrow(monkeypatch)
    api.get(cluster.JOBS, "default", "one")
    assert [request.headers["authorization"] for request in server.requests] == [
        "bearer first",
        "bearer second",
    ]


def test_a_token_that_cannot_be_read_now_may_be_read_later(
    account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = cluster_client.connect()
    account.write_text("")
    tomorrow(monkeypatch)
    with pytest.raises(errors.UnauthorizedError, match="no credentials") as caught:
        api.get(cluster.JOBS, "default", "one")
    assert caught.value.retriable
