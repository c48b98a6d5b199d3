import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import yaml
from click.testing import Result
from typer.testing import CliRunner

import builders
import fake_run_api
import run_statuses
from scalequest_jobs.contract.status import RunStatus
from scalequest_jobs.remote import api, command_line, errors


@pytest.fixture
def calls() -> fake_run_api.FakeRunApi:
    return fake_run_api.FakeRunApi("team")


Scalequest = Callable[..., Result]


@pytest.fixture
def scalequest(calls: fake_run_api.FakeRunApi) -> Scalequest:
    app = typer.Typer()
    connection = api.Connection(api=calls, namespace="team", cluster="context here")
    command_line.add_to(app, lambda context: connection)

    def run(*arguments: str | Path, stdin: str | None = None) -> Result:
        return CliRunner().invoke(
            app, [str(argument) for argument in arguments], input=stdin, env={"COLUMNS": "200"}
        )

    return run


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(builders.run_document()))
    return path


def submitted(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi, status: RunStatus | None
) -> None:
    assert scalequest("submit", run_file).exit_code == 0
    if status is not None:
        calls.set_status("test-run", status.body())


# ---- submit


def test_a_run_is_asked_about_and_then_created_with_what_its_file_says(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    verbs: list[str] = []
    calls.before = verbs.append
    done = scalequest("submit", run_file)
    assert done.exit_code == 0
    assert "created test-run in the namespace team (context here)" in done.stdout
    assert "scalequest status test-run --watch" in done.stderr
    assert verbs == ["dry run", "create"]
    assert calls.runs["test-run"]["spec"] == builders.run_document()["spec"]


def test_a_run_that_breaks_a_rule_never_reaches_the_api_server(
    scalequest: Scalequest, tmp_path: Path, calls: fake_run_api.FakeRunApi
) -> None:
    document = builders.run_document(generators=[{"name": "a", "model": "nobody", "questions": 10}])
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(document))
    calls.before = pytest.fail
    done = scalequest("submit", tmp_path / "bad.yaml")
    assert done.exit_code == 64
    assert "spec.generators: name an entry of spec.models" in done.stderr


def test_what_the_api_server_refuses_is_not_created(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    def refuse(verb: str) -> None:
        cause = errors.Cause(field="spec.seed", message="no luck")
        raise errors.RefusedError("the API server refuses it", causes=(cause,))

    calls.before = refuse
    done = scalequest("submit", run_file)
    assert done.exit_code == 64
    assert done.stderr.endswith("refuses it\n  spec.seed: no luck\n")
    assert calls.runs == {}


def test_another_name_makes_another_run(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    scalequest("submit", run_file)
    taken = scalequest("submit", run_file)
    assert taken.exit_code == 64
    assert "give --name NEW" in taken.stderr
    assert scalequest("submit", run_file, "--name", "again").exit_code == 0
    assert set(calls.runs) == {"test-run", "again"}
    assert scalequest("submit", run_file, "--name", "Not_A_Name").exit_code == 64


def test_the_files_namespace_counts_and_an_option_may_not_contradict_it(
    scalequest: Scalequest, tmp_path: Path, calls: fake_run_api.FakeRunApi
) -> None:
    document = builders.run_document() | {"metadata": {"name": "test-run", "namespace": "other"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document))
    assert "'other' not found" in scalequest("submit", tmp_path / "run.yaml").stderr
    done = scalequest("submit", tmp_path / "run.yaml", "--namespace", "team")
    assert done.exit_code == 64
    assert "--namespace is team, but the file says metadata.namespace: other" in done.stderr
    calls.namespace = "other"
    assert "in the namespace other" in scalequest("submit", tmp_path / "run.yaml", "-n", "other").stdout


def test_warnings_of_the_api_server_are_passed_on(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    calls.warnings = ("v1alpha1 is deprecated",)
    assert "warning: v1alpha1 is deprecated" in scalequest("submit", run_file).stderr


def watched(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi, status: RunStatus
) -> Result:
    calls.before = lambda verb: calls.set_status("test-run", status.body()) if verb == "get" else None
    return scalequest("submit", run_file, "--watch")


def test_watching_a_run_that_is_published_ends_with_0(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    done = watched(scalequest, run_file, calls, run_statuses.published())
    assert done.exit_code == 0
    assert "test-run published the dataset tiny with 31 rows: runs/uid/publish-dataset" in done.stdout


def test_watching_a_run_that_fails_ends_with_1_and_the_reason(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    done = watched(scalequest, run_file, calls, run_statuses.failed())
    assert done.exit_code == 1
    assert "error: test-run failed: StageFailed: generate-questions@a: pod x exited 65" in done.stderr


def test_ctrl_c_stops_watching_and_nothing_else(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    reads: list[str] = []

    def interrupt(verb: str) -> None:
        reads.append(verb)
        if reads.count("get") == 2:
            raise KeyboardInterrupt

    calls.before = interrupt
    done = scalequest("submit", run_file, "--watch")
    assert done.exit_code == 130
    assert "the run goes on" in done.stderr
    assert "scalequest cancel test-run" in done.stderr
    assert not calls.runs["test-run"]["spec"].get("cancel")


# ---- dry run


def test_a_dry_run_creates_nothing_and_says_that_it_did_not_look_at_the_cache(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    done = scalequest("submit", run_file, "--dry-run")
    assert done.exit_code == 0
    assert "  generate-questions@a\n" in done.stdout
    assert "the cache was not looked at: --store and --credentials" in done.stdout
    assert (
        "the API server (context here) would take it in the namespace team; nothing was created"
        in done.stdout
    )
    assert calls.runs == {}


def test_a_dry_run_with_a_store_says_of_each_stage_whether_it_runs(
    scalequest: Scalequest, run_file: Path, tmp_path: Path
) -> None:
    done = scalequest("submit", run_file, "--dry-run", "--store", tmp_path)
    assert done.exit_code == 0
    assert "publish-dataset                runs\n" in done.stdout
    assert " run, 0 are read again, 0 come from the cache" in done.stdout


def test_a_dry_run_shows_the_stages_before_a_refusal(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    scalequest("submit", run_file)
    done = scalequest("submit", run_file, "--dry-run")
    assert done.exit_code == 64
    assert "publish-dataset" in done.stdout
    assert "has a run test-run already" in done.stderr


def test_the_stores_address_comes_from_the_spec_where_it_has_one(
    scalequest: Scalequest, tmp_path: Path, run_file: Path
) -> None:
    done = scalequest("submit", run_file, "--dry-run", "--credentials", tmp_path)
    assert done.exit_code == 64
    assert "spec.storage.endpoint is absent" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["submit", "run.yaml", "--timeout", "5"], "--timeout makes sense only with --watch"),
        (["submit", "run.yaml", "--store", "x"], "makes sense only with --dry-run"),
        (["status", "--watch"], "--watch makes sense only with NAME"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    scalequest: Scalequest, options: list[str], words: str
) -> None:
    done = scalequest(*options)
    assert done.exit_code == 2
    assert words in done.stderr


# ---- status


def test_status_shows_every_stage_and_takes_no_text_for_markup(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())
    shown = scalequest("status", "test-run")
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines[0][:2] == ["test-run", "Running"]
    assert lines[2][:6] == ["import-questions@seeds", "cached", "60", "58", "empty", "2"]
    assert "600/1,500 12.34 4,321 12m34s 1/3 shards, 2 running; 1 failed; writing [questions]" in " ".join(
        lines[3]
    )
    assert lines[4] == ["publish-dataset", "waiting"]


def test_status_says_why_a_run_failed(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.failed())
    shown = scalequest("status", "test-run").stdout
    assert "StageFailed: generate-questions@a: pod x exited 65: row 7 has no [question] column" in shown


def test_status_of_a_run_that_no_operator_saw_asks_for_one(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, None)
    assert "no operator has looked at it yet" in scalequest("status", "test-run").stdout


def test_status_as_json_is_the_status_as_kubernetes_has_it(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.published())
    found = json.loads(scalequest("status", "test-run", "--json").stdout)
    assert found["status"] == run_statuses.published().body()
    assert (found["phase"], found["finished"], found["published"]) == ("Succeeded", True, True)
    assert [run["name"] for run in json.loads(scalequest("status", "--json").stdout)] == ["test-run"]


def test_status_without_a_name_lists_the_runs(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    assert "no runs in the namespace team (context here)" in scalequest("status").stderr
    submitted(scalequest, run_file, calls, run_statuses.published())
    scalequest("submit", run_file, "--name", "newer")
    lines = [line.split() for line in scalequest("status").stdout.splitlines()]
    assert lines[0] == ["name", "phase", "stage", "accepted", "GPU-h", "cost", "age"]
    assert lines[1][:2] == ["newer", "Pending"]
    assert lines[2][:4] == ["test-run", "Succeeded", "31", "1.5"]


def test_a_status_of_another_version_is_told_as_such(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, None)
    calls.set_status("test-run", {"mood": "good"})
    done = scalequest("status", "test-run")
    assert done.exit_code == 65
    assert "another version of the operator (fields mood)" in done.stderr


@pytest.mark.parametrize("command", ["status", "suspend", "resume", "cancel"])
def test_a_name_that_is_not_there_is_answered_with_those_like_it(
    scalequest: Scalequest, run_file: Path, command: str
) -> None:
    assert "none" not in (done := scalequest(command, "test-rum")).stdout
    assert "no run test-rum in the namespace team that you can see" in done.stderr
    scalequest("submit", run_file)
    done = scalequest(command, "test-rum")
    assert done.exit_code == 64
    assert "did you mean test-run?" in done.stderr


# ---- suspend, resume, cancel


def test_a_run_is_suspended_and_resumed_once(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())
    assert "holds no GPU" in scalequest("suspend", "test-run").stdout
    assert calls.runs["test-run"]["spec"]["suspend"] is True
    assert "is suspended already" in scalequest("suspend", "test-run").stdout
    assert "go on from their committed chunks" in scalequest("resume", "test-run").stdout
    assert calls.runs["test-run"]["spec"]["suspend"] is False
    assert "is not suspended" in scalequest("resume", "test-run").stdout
    assert calls.runs["test-run"]["metadata"]["generation"] == 3


def test_a_cancelled_run_stays_cancelled(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())
    assert "for good" in scalequest("cancel", "test-run").stdout
    assert calls.runs["test-run"]["spec"]["cancel"] is True
    assert "cancelled already" in scalequest("cancel", "test-run").stdout
    assert "cancelled already" in scalequest("suspend", "test-run").stdout
    resumed = scalequest("resume", "test-run")
    assert resumed.exit_code == 64
    assert "cannot be taken back" in resumed.stderr


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits at the terminal."""
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda self: True)


@pytest.mark.usefixtures("person")
def test_a_person_is_asked_before_a_run_is_cancelled(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())
    refused = scalequest("cancel", "test-run", stdin="n\n")
    assert refused.exit_code == 1
    assert "End test-run in the namespace team (context here) for good?" in refused.stdout
    assert "cancel" not in calls.runs["test-run"]["spec"]
    assert scalequest("cancel", "test-run", stdin="y\n").exit_code == 0
    assert calls.runs["test-run"]["spec"]["cancel"] is True


@pytest.mark.usefixtures("person")
def test_with_yes_nobody_is_asked(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())
    assert scalequest("cancel", "test-run", "--yes", stdin="").exit_code == 0
    assert calls.runs["test-run"]["spec"]["cancel"] is True


@pytest.mark.parametrize(("command", "code"), [("suspend", 0), ("cancel", 0), ("resume", 64)])
def test_a_finished_run_is_reported_as_such_and_left_alone(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi, command: str, code: int
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.published())
    before = calls.get("team", "test-run")
    done = scalequest(command, "test-run")
    assert done.exit_code == code
    assert "has ended already: published the dataset tiny" in done.stdout + done.stderr
    assert calls.get("team", "test-run") == before


def test_a_conflict_is_tried_again_with_the_run_read_anew(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())
    verbs: list[str] = []

    def conflict_twice(verb: str) -> None:
        verbs.append(verb)
        if verb == "patch" and verbs.count("patch") <= 2:
            raise errors.ConflictError("changed meanwhile")

    calls.before = conflict_twice
    assert scalequest("suspend", "test-run").exit_code == 0
    assert verbs == ["get", "patch"] * 3


def test_conflicts_without_end_are_told(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())

    def conflict(verb: str) -> None:
        if verb == "patch":
            raise errors.ConflictError("changed meanwhile")

    calls.before = conflict
    done = scalequest("suspend", "test-run")
    assert done.exit_code == 75
    assert "changed meanwhile" in done.stderr


def test_another_run_that_took_over_the_name_meanwhile_is_left_alone(
    scalequest: Scalequest, run_file: Path, calls: fake_run_api.FakeRunApi
) -> None:
    submitted(scalequest, run_file, calls, run_statuses.running())

    def replace_before_patch(verb: str) -> None:
        if verb == "patch":
            calls.runs["test-run"]["metadata"]["uid"] = "another"

    calls.before = replace_before_patch
    done = scalequest("cancel", "test-run")
    assert done.exit_code == 64
    assert "another run has its name now" in done.stderr
    assert "cancel" not in calls.runs["test-run"]["spec"]
