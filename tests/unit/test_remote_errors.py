import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scalequest_jobs import ports
from scalequest_jobs.contract import launch
from scalequest_jobs.remote import errors, kubernetes_api, kubernetes_errors


def status(reason: str, message: str, **details: Any) -> str:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details})


ANSWERS = [
    (401, status("Unauthorized", "Unauthorized"), errors.ForbiddenError, "log in again"),
    (403, status("Forbidden", 'User "eve" cannot list'), errors.ForbiddenError, 'User "eve" cannot list'),
    (404, status("NotFound", '"x" not found'), errors.NotFoundError, '"x" not found'),
    (
        404,
        status("NotFound", "no", kind="namespaces", name="team"),
        errors.NotFoundError,
        "kubectl create namespace team",
    ),
    (404, "404 page not found\n", errors.NotInstalledError, "crds/scalequestrun.yaml"),
    (409, status("AlreadyExists", "exists"), errors.AlreadyExistsError, "exists"),
    (409, status("Conflict", "modified"), errors.ConflictError, "modified"),
    (429, status("TooManyRequests", "later"), errors.UnreachableError, "cannot answer now: 429"),
    (500, "<html>", errors.UnreachableError, "<html>"),
    (503, "", errors.UnreachableError, "503"),
    (422, status("Invalid", "it is wrong"), errors.RefusedError, "refuses it: it is wrong"),
]


@pytest.mark.parametrize(("code", "text", "kind", "words"), ANSWERS)
def test_every_answer_has_a_meaning_and_keeps_the_servers_words(
    code: int, text: str, kind: type[ports.StageError], words: str
) -> None:
    error = kubernetes_errors.from_answer("run x", code, text)
    assert type(error) is kind
    assert str(error).startswith("run x: ")
    assert words in str(error)


def test_a_refusal_lists_each_field_as_run_files_write_it_without_the_value_that_is_too_large_to_read() -> (
    None
):
    text = status(
        "Invalid",
        "all of it in one line",
        causes=[
            {"field": "spec.generators[1].name", "message": 'Invalid value: "object": give another name'},
            {"field": "<nil>", "message": "some validation rules were not checked"},
        ],
    )
    assert str(kubernetes_errors.from_answer("run x", 422, text)).splitlines() == [
        "run x: the API server refuses it",
        "  spec.generators.1.name: give another name",
    ]


def test_whether_to_try_again_is_told_by_the_exit_code() -> None:
    codes = {
        kind: launch.exit_code(kind("words"))
        for kind in (
            errors.ForbiddenError,
            errors.NotFoundError,
            errors.RefusedError,
            errors.UnreachableError,
        )
    }
    assert codes == {
        errors.ForbiddenError: 64,
        errors.NotFoundError: 64,
        errors.RefusedError: 64,
        errors.UnreachableError: 75,
    }


def kubeconfig(folder: Path, server: str, **context: str) -> str:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", **context}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    return str(path)


def test_the_namespace_is_the_contexts(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:9", namespace="synthesis")
    connection = kubernetes_api.connect(kubeconfig=path)
    assert (connection.namespace, connection.cluster) == ("synthesis", "context here")


def test_a_context_that_is_not_there_says_where_to_look(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:9")
    with pytest.raises(errors.SetupError, match="kubectl config get-contexts"):
        kubernetes_api.connect("there", kubeconfig=path)


def test_without_a_kubeconfig_it_is_said_where_one_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(errors.SetupError, match="Set KUBECONFIG to a file"):
        kubernetes_api.connect(kubeconfig=str(tmp_path / "none"))


@pytest.mark.parametrize("text", ["a: [", "[]", "a: 1", "contexts: 3\ncurrent-context: x", "\0"])
def test_a_broken_kubeconfig_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(errors.SetupError) as broken:
        kubernetes_api.connect(kubeconfig=str(tmp_path / "kubeconfig"))
    assert "\n" not in str(broken.value)


def test_an_api_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    connection = kubernetes_api.connect(kubeconfig=kubeconfig(tmp_path, "http://127.0.0.1:9"))
    words = "run x in the namespace default: the API server does not answer"
    with pytest.raises(errors.UnreachableError, match=words):
        connection.api.get("default", "x")


def answer_of(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_without_the_client_library_the_extra_is_named() -> None:
    said = answer_of(
        "import sys; sys.modules['kubernetes'] = None; sys.argv = ['scalequest', 'status'];"
        "import scalequest_jobs.__main__ as command; command.main()"
    )
    assert said.startswith("error: a cluster is reached by the Kubernetes client, which is not installed")
    assert "pip install 'scalequest-operator[client]'" in said


def test_the_command_line_starts_without_what_single_commands_need() -> None:
    said = answer_of(
        "import sys, scalequest_jobs.__main__;"
        "print([m for m in ('kubernetes', 'pyarrow', 'scalequest_jobs.catalog') if m in sys.modules])"
    )
    assert said == "[]\n"


def test_warnings_are_read_from_one_header_or_several() -> None:
    one = {"Warning": '299 - "first, with a comma", 299 - "a \\"quoted\\" one"'}
    assert kubernetes_api._warnings(one) == ("first, with a comma", 'a "quoted" one')
    assert kubernetes_api._warnings({}) == ()
