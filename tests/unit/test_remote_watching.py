import io
import json
from collections.abc import Iterable

import pytest

import fake_clock
import fake_run_api
import run_api_suite
import run_statuses
from scalequest_jobs.contract.status import RunStatus
from scalequest_jobs.remote import errors, remote_run, watching


class Recorder:
    """A view that writes down what it is shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.closed = 0

    def show(self, run: remote_run.RemoteRun) -> None:
        self.seen.append(run.phase)

    def unreachable(self, message: str) -> None:
        self.seen.append(message)

    def close(self) -> None:
        self.closed += 1


class Watched:
    """A run that an operator moves on by one status each time that it is read."""

    def __init__(self, statuses: Iterable[RunStatus | Exception]) -> None:
        self.api = fake_run_api.FakeRunApi()
        self.api.create("default", run_api_suite.document("tiny"))
        self.first = remote_run.find(self.api, "default", "tiny")
        self.clock = fake_clock.FakeClock()
        self._statuses = iter(statuses)
        self.api.before = self._move_on

    def _move_on(self, verb: str) -> None:
        match next(self._statuses):
            case RunStatus() as status:
                self.api.set_status("tiny", status.body())
            case Exception() as error:
                raise error

    def watch(self, view: watching.View, timeout_seconds: float | None = None) -> remote_run.RemoteRun:
        clock = watching.Clock(monotonic=self.clock.monotonic, sleep=self.clock.advance)
        return watching.watch(self.api, self.first, view, clock=clock, timeout_seconds=timeout_seconds)


def test_a_run_is_watched_until_it_ends() -> None:
    watched, view = (
        Watched([run_statuses.running(), run_statuses.running(), run_statuses.published()]),
        Recorder(),
    )
    ended = watched.watch(view)
    assert ended.is_published
    assert (view.seen, view.closed) == (["Pending", "Running", "Running", "Succeeded"], 1)
    assert watched.clock.monotonic() == 3 * watching.INTERVAL_SECONDS


def test_an_api_server_that_goes_away_is_waited_for() -> None:
    away = errors.UnreachableError("no answer")
    watched, view = Watched([run_statuses.running(), away, away, run_statuses.published()]), Recorder()
    assert watched.watch(view).is_published
    assert view.seen == ["Pending", "Running", "no answer", "no answer", "Succeeded"]


def test_a_failed_run_ends_the_watching_too() -> None:
    ended = Watched([run_statuses.failed()]).watch(Recorder())
    assert ended.is_finished
    assert not ended.is_published
    assert remote_run.ending(ended).startswith("StageFailed: generate-questions@a: pod x exited 65")


def test_watching_ends_after_its_time_and_says_that_the_run_goes_on() -> None:
    watched, view = Watched([run_statuses.running()] * 9), Recorder()
    with pytest.raises(errors.StillRunningError, match="did not end within 5 s; it is Running and goes on"):
        watched.watch(view, timeout_seconds=5)
    assert view.closed == 1


def test_a_run_that_is_deleted_meanwhile_ends_the_watching() -> None:
    watched = Watched([errors.NotFoundError("gone")])
    with pytest.raises(errors.NotFoundError, match="tiny was deleted while it was watched"):
        watched.watch(Recorder())


def test_another_run_that_takes_over_the_name_is_not_watched() -> None:
    watched = Watched([run_statuses.published()])
    watched.api.runs["tiny"]["metadata"]["uid"] = "another"
    with pytest.raises(errors.NotFoundError, match="another run has its name now"):
        watched.watch(Recorder())


def lines(statuses: Iterable[RunStatus | Exception]) -> list[dict[str, object]]:
    watched, stream = Watched(statuses), io.StringIO()
    clock = watching.Clock(monotonic=watched.clock.monotonic, sleep=watched.clock.advance)
    watched.watch(watching.LogView(stream, clock))
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in found]


def test_log_lines_tell_each_change_once() -> None:
    told = lines([run_statuses.running(), run_statuses.running(), run_statuses.published()])
    events = [(line["event"], line.get("stage"), line.get("state", line.get("phase"))) for line in told]
    assert events == [
        ("run", None, "Pending"),
        ("run", None, "Running"),
        ("stage", "import-questions@seeds", "cached"),
        ("stage", "generate-questions@a", "running"),
        ("progress", "generate-questions@a", None),
        ("run", None, "Succeeded"),
        ("stage", "generate-questions@a", "done"),
        ("stage", "publish-dataset", "done"),
    ]
    assert told[2]["rejected"] == {"empty": 2}
    assert told[4]["rows_done"] == 600


def test_log_lines_tell_an_outage_once() -> None:
    away = errors.UnreachableError("no answer")
    told = lines([run_statuses.running(), away, away, run_statuses.published()])
    assert [line for line in told if line["event"] == "unreachable"] == [
        {"event": "unreachable", "message": "no answer"}
    ]
