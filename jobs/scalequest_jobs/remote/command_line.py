"""The commands that talk to a cluster: submit, status, suspend, resume, cancel, download."""

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from scalequest_jobs import commands, ports
from scalequest_jobs.remote import api, connecting

Connect = Callable[[str | None], api.Connection]

FAILED: Final = 1
"""Exit code of watching a run that ends without a dataset."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""

WIDE: Final = 240
"""Columns where nobody's terminal limits them."""

NameArgument = Annotated[str, typer.Argument(help="Name of the run.", metavar="NAME")]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of the run. Default: the context's.")
]
ContextOption = Annotated[
    str | None, typer.Option(help="Context of the kubeconfig. Default: the current one.", metavar="NAME")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(help="With --watch: stop watching after so many seconds; the run goes on.", min=1),
]


def add_to(app: typer.Typer, connect: Connect = connecting.connect) -> None:
    """Add the commands to a command line; `connect` is the way to a cluster."""
    cluster = ClusterCommands(connect)
    for command in (
        cluster.submit,
        cluster.status,
        cluster.suspend,
        cluster.resume,
        cluster.cancel,
        cluster.download,
    ):
        app.command()(command)


class ClusterCommands:
    """The commands; each connects when it is called."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def submit(
        self,
        run_file: commands.RunFile,
        *,
        namespace: Annotated[
            str | None,
            typer.Option(
                "--namespace", "-n", help="Namespace for the run. Default: the file's, else the context's."
            ),
        ] = None,
        context: ContextOption = None,
        name: Annotated[
            str | None,
            typer.Option(
                help="Another name for the run than the file's; finished stages are reused.", metavar="NEW"
            ),
        ] = None,
        watch: Annotated[
            bool, typer.Option("--watch", "-w", help="Show the stages until the run ends.")
        ] = False,
        timeout: TimeoutOption = None,
        dry_run: Annotated[
            bool,
            typer.Option(
                "--dry-run",
                help="Create nothing: show the stages, which of them the cache holds, and what the API server says.",
            ),
        ] = False,
        store: Annotated[
            str | None,
            typer.Option(
                help="With --dry-run: the run's store, s3+https://host:port/bucket/prefix, to look at its cache. "
                "Default with --credentials: as spec.storage says."
            ),
        ] = None,
        credentials: commands.CredentialsOption = None,
        region: commands.RegionOption = "us-east-1",
        ca_file: commands.CaOption = None,
    ) -> None:
        """Create a run on a cluster.

        The file is checked here, then by the API server, and only then the run is created. With --watch the exit code is
        0 when the dataset is published and 1 when the run fails; Ctrl-C stops watching and nothing else.
        """
        from scalequest_jobs.remote import submitting

        _only_with("--timeout", timeout is not None, "--watch", watch)
        _only_with("--store or --credentials", bool(store or credentials), "--dry-run", dry_run)
        try:
            run = submitting.prepare(run_file, name=name)
            connection = self._connect(context)
            place = submitting.namespace_of(run, option=namespace, default=connection.namespace)
            if dry_run:
                from scalequest_jobs.remote import dry_run as trial

                address = trial.StoreOptions(
                    url=store, credentials=credentials, region=region, ca_file=ca_file
                )
                for line in trial.report(connection, place, run, address):
                    typer.echo(line)
                return
            submitting.ask(connection.api, place, run)
            created = submitting.create(connection.api, place, run)
            for warning in created.warnings:
                typer.echo(f"warning: {warning}", err=True)
            typer.echo(f"created {run.metadata.name} in the namespace {place} ({connection.cluster})")
            target = Target(connection=connection, namespace=place, name=run.metadata.name)
            if watch:
                target.watch(timeout_seconds=timeout)
            else:
                typer.echo(f"watch it with `scalequest status {target.arguments} --watch`", err=True)
        except ports.StageError as error:
            commands.fail(error)

    def status(
        self,
        name: Annotated[
            str | None,
            typer.Argument(help="Name of the run; without it the runs are listed.", metavar="NAME"),
        ] = None,
        *,
        namespace: NamespaceOption = None,
        context: ContextOption = None,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print JSON; with --watch a line for each change.")
        ] = False,
        watch: Annotated[
            bool,
            typer.Option("--watch", "-w", help="Show the run until it ends; exit code as of submit --watch."),
        ] = False,
        timeout: TimeoutOption = None,
    ) -> None:
        """Show where a run stands: its stages, what they kept and rejected, and why it waits or failed.

        Without NAME the runs of the namespace are listed.
        """
        _only_with("--timeout", timeout is not None, "--watch", watch)
        _only_with("--watch", watch, "NAME", name is not None)
        try:
            connection = self._connect(context)
            place = namespace or connection.namespace
            if name is None:
                _list(connection, place, as_json=as_json)
                return
            target = Target(connection=connection, namespace=place, name=name)
            if watch:
                target.watch(timeout_seconds=timeout, as_json=as_json)
            else:
                target.show(as_json=as_json)
        except ports.StageError as error:
            commands.fail(error)

    def suspend(
        self, name: NameArgument, *, namespace: NamespaceOption = None, context: ContextOption = None
    ) -> None:
        """Stop a run for now: chunks in progress are finished or abandoned, and it holds no GPU until it is resumed."""
        from scalequest_jobs.remote import changes

        with self._target(name, namespace, context) as target:
            typer.echo(changes.apply(target.connection.api, target.namespace, name, changes.SUSPEND))

    def resume(
        self, name: NameArgument, *, namespace: NamespaceOption = None, context: ContextOption = None
    ) -> None:
        """Let a suspended run go on from its committed chunks."""
        from scalequest_jobs.remote import changes

        with self._target(name, namespace, context) as target:
            typer.echo(changes.apply(target.connection.api, target.namespace, name, changes.RESUME))

    def cancel(
        self,
        name: NameArgument,
        *,
        namespace: NamespaceOption = None,
        context: ContextOption = None,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    ) -> None:
        """End a run for good; its finished stages stay in the cache for other runs.

        On a terminal it asks first.
        """
        from scalequest_jobs.remote import changes, remote_run

        with self._target(name, namespace, context) as target:
            run = remote_run.find(target.connection.api, target.namespace, name)
            if not yes and sys.stdin.isatty() and changes.CANCEL.unneeded(run) is None:
                typer.confirm(
                    f"End {name} in the namespace {target.namespace} ({target.connection.cluster}) for good?",
                    abort=True,
                )
            typer.echo(changes.apply(target.connection.api, target.namespace, name, changes.CANCEL))

    def download(
        self,
        name: NameArgument,
        *,
        to: Annotated[
            Path | None, typer.Option(help="Folder for the dataset; replaced as a whole. Default: NAME.")
        ] = None,
        namespace: NamespaceOption = None,
        context: ContextOption = None,
        store: Annotated[
            str | None,
            typer.Option(
                help="The run's store, s3+https://host:port/bucket/prefix. Default: as spec.storage says."
            ),
        ] = None,
        credentials: commands.CredentialsOption = None,
        region: commands.RegionOption = "us-east-1",
        ca_file: commands.CaOption = None,
    ) -> None:
        """Copy a run's dataset from its bucket to a folder, every file checked; then `show` and `verify` it."""
        from scalequest_jobs.local import presentation
        from scalequest_jobs.remote import downloading, dry_run, remote_run

        options = dry_run.StoreOptions(url=store, credentials=credentials, region=region, ca_file=ca_file)
        with self._target(name, namespace, context) as target:
            run = remote_run.find(target.connection.api, target.namespace, name)
            folder = downloading.download(run, options, to or Path(name))
            presentation.summary(_console(), folder)

    @contextmanager
    def _target(self, name: str, namespace: str | None, context: str | None) -> "Iterator[Target]":
        try:
            connection = self._connect(context)
            yield Target(connection=connection, namespace=namespace or connection.namespace, name=name)
        except ports.StageError as error:
            commands.fail(error)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One run on one cluster."""

    connection: api.Connection
    namespace: str
    name: str

    @property
    def arguments(self) -> str:
        """Return how another command names the run."""
        elsewhere = self.namespace != self.connection.namespace
        return f"{self.name} --namespace {self.namespace}" if elsewhere else self.name

    def show(self, *, as_json: bool) -> None:
        """Print where the run stands."""
        from scalequest_jobs.remote import presentation, remote_run

        run = remote_run.find(self.connection.api, self.namespace, self.name)
        if as_json:
            typer.echo(json.dumps(presentation.as_json(run), indent=2))
        else:
            _console().print(presentation.overview(run, dt.datetime.now(dt.UTC)))

    def watch(self, *, timeout_seconds: float | None, as_json: bool = False) -> None:
        """Show the run until it ends and exit by how it ended."""
        from scalequest_jobs.remote import remote_run, watching

        clock = watching.Clock(monotonic=time.monotonic, sleep=time.sleep)
        run = remote_run.find(self.connection.api, self.namespace, self.name)
        terminal = Console(stderr=True)
        table = terminal.is_terminal and not as_json
        view: watching.View = (
            watching.TableView(terminal)
            if table
            else watching.LogView(sys.stdout if as_json else sys.stderr, clock)
        )
        try:
            ended = watching.watch(
                self.connection.api, run, view, clock=clock, timeout_seconds=timeout_seconds
            )
        except KeyboardInterrupt:
            self._left()
        if not ended.is_published:
            typer.echo(f"error: {self.name} failed: {remote_run.ending(ended)}", err=True)
            raise typer.Exit(FAILED)
        if not as_json:
            typer.echo(f"{self.name} {remote_run.ending(ended)}")

    def _left(self) -> NoReturn:
        typer.echo(
            f"stopped watching; the run goes on. See it with `scalequest status {self.arguments} --watch`, end it with "
            f"`scalequest cancel {self.arguments}`",
            err=True,
        )
        raise typer.Exit(INTERRUPTED)


def _list(connection: api.Connection, namespace: str, *, as_json: bool) -> None:
    from scalequest_jobs.remote import presentation, remote_run

    runs = [remote_run.parse(body) for body in connection.api.list(namespace)]
    if as_json:
        typer.echo(json.dumps([presentation.as_json(run) for run in runs], indent=2))
    elif runs:
        _console().print(presentation.listing(runs, dt.datetime.now(dt.UTC)))
    else:
        typer.echo(f"no runs in the namespace {namespace} ({connection.cluster})", err=True)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def _only_with(option: str, is_given: bool, needed: str, has_needed: bool) -> None:  # noqa: FBT001 - two pairs
    if is_given and not has_needed:
        raise typer.BadParameter(f"{option} makes sense only with {needed}")
