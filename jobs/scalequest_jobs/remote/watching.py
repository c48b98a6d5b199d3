"""Watching a run on a cluster until it ends.

The run is read again every few seconds instead of followed by a watch: it needs the permission to read it and no
other, and an API server that goes away and comes back is nothing special.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from scalequest_jobs import ports
from scalequest_jobs.contract.status import StageStatus
from scalequest_jobs.local.monitor import log_line
from scalequest_jobs.remote import api, errors, presentation, remote_run
from scalequest_jobs.remote.remote_run import RemoteRun

INTERVAL_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time as the loop sees it."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


class View(Protocol):
    """What a person sees of a run on a cluster."""

    def show(self, run: RemoteRun) -> None:
        """The run was read."""

    def unreachable(self, message: str) -> None:
        """The API server did not answer; it is asked again."""

    def close(self) -> None:
        """There is nothing more to see."""


def watch(
    calls: api.RunApi, run: RemoteRun, view: View, *, clock: Clock, timeout_seconds: float | None = None
) -> RemoteRun:
    """Show a run until it ends and return it as it ended.

    Raises:
        NotFoundError: it was deleted meanwhile.
        StillRunningError: `timeout_seconds` are over.
    """
    began = clock.monotonic()
    try:
        view.show(run)
        while not run.is_finished:
            if timeout_seconds is not None and clock.monotonic() - began >= timeout_seconds:
                raise errors.StillRunningError(
                    f"{run.name} did not end within {timeout_seconds:g} s; it is {run.phase} and goes on"
                )
            clock.sleep(INTERVAL_SECONDS)
            run = _look(calls, run, view)
        return run
    finally:
        view.close()


def _look(calls: api.RunApi, run: RemoteRun, view: View) -> RemoteRun:
    """Return the run as it is now, or as it was last seen while the API server is away."""
    try:
        now = remote_run.parse(calls.get(run.namespace, run.name))
    except errors.NotFoundError as error:
        raise errors.NotFoundError(
            f"{run.name} was deleted while it was watched; its finished stages stay in the cache"
        ) from error
    except ports.TryAgainError as error:
        view.unreachable(str(error))
        return run
    if now.uid != run.uid:
        raise errors.NotFoundError(
            f"{run.name} was deleted while it was watched, and another run has its name now"
        )
    view.show(now)
    return now


class TableView:
    """A live table on a terminal."""

    def __init__(self, console: Console) -> None:
        self._run: RemoteRun | None = None
        self._trouble = ""
        self._live = Live(console=console, refresh_per_second=2, get_renderable=self._picture)
        self._live.start()

    def show(self, run: RemoteRun) -> None:
        """Show the run."""
        self._run, self._trouble = run, ""

    def unreachable(self, message: str) -> None:
        """Say so above what was seen last."""
        self._trouble = f"not up to date, trying again: {message}"

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()

    def _picture(self) -> RenderableType:
        if self._run is None:
            return Text()
        seen = presentation.overview(self._run, dt.datetime.now(dt.UTC))
        return Group(Text(self._trouble, style="red"), seen) if self._trouble else seen


class LogView:
    """One JSON line for each change, in the form of a run on this machine."""

    PROGRESS_SECONDS: Final = 10.0

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._said: dict[str, object] = {}
        self._progressed: dict[str, float] = {}

    def show(self, run: RemoteRun) -> None:
        """Print what changed since the last time."""
        why = remote_run.reason(run, dt.datetime.now(dt.UTC))
        self._once("run", (run.phase, why), event="run", run=run.name, phase=run.phase, message=why)
        for stage in run.status.stages:
            self._stage(stage)

    def unreachable(self, message: str) -> None:
        """Print it once for each outage."""
        self._once("run", message, event="unreachable", message=message)

    def close(self) -> None:
        """Nothing is left to do."""

    def _stage(self, stage: StageStatus) -> None:
        state = presentation.state(stage)
        if state != "waiting" or stage.name in self._said:
            counts = {
                "rows_in": stage.rows_in,
                "rows_out": stage.rows_out,
                "rejected": stage.rejected or None,
            }
            self._once(
                stage.name,
                (state, stage.attempt, stage.message),
                event="stage",
                stage=stage.name,
                state=state,
                attempt=stage.attempt or None,
                message=stage.message,
                **counts,
            )
        if stage.progress is not None and not stage.state.is_final:
            self._progress(stage)

    def _progress(self, stage: StageStatus) -> None:
        last = self._progressed.get(stage.name, float("-inf"))
        if stage.progress is None or self._clock.monotonic() - last < self.PROGRESS_SECONDS:
            return
        self._progressed[stage.name] = self._clock.monotonic()
        fields = stage.progress.model_dump(exclude_defaults=True, exclude={"updated"})
        key = f"{stage.name} progress"
        self._once(key, fields, event="progress", stage=stage.name, **fields)

    def _once(self, key: str, value: object, **fields: object) -> None:
        """Print fields unless the last value of this key was the same; empty fields are left out."""
        if self._said.get(key) == value:
            return
        self._said[key] = value
        log_line(self._stream, **{name: field for name, field in fields.items() if field not in ("", None)})
