"""What the commands of `scalequest` share: arguments, options, and how they fail."""

import logging
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler

from scalequest_jobs import __version__, ports
from scalequest_jobs.contract import launch

RunFile = Annotated[Path, typer.Argument(help="A ScaleQuestRun in YAML.", metavar="RUN.yaml")]
Dataset = Annotated[Path, typer.Argument(help="Folder of a published dataset.", metavar="DATASET")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        help="Where artifacts go: a folder, or s3+https://host:port/bucket/prefix. Default: WORKDIR/store."
    ),
]
DatasetStoreOption = Annotated[
    str | None,
    typer.Option(
        help="Where the run's artifacts are, if they were moved. Default: where they were published."
    ),
]
CredentialsOption = Annotated[
    Path | None, typer.Option(help="Folder with the files access-key and secret-key, for an S3 store.")
]
RegionOption = Annotated[str, typer.Option(help="Region name that S3 requests are signed for.")]
CaOption = Annotated[Path | None, typer.Option(help="Certificate authority to trust, for an S3 store.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def make_app(program: str, *, help_text: str) -> typer.Typer:
    """Return a command line without commands yet: help, and `--version`."""
    app = typer.Typer(
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(value: bool) -> None:  # noqa: FBT001 - typer's callback
        if value:
            typer.echo(f"{program} {__version__}")
            raise typer.Exit

    @app.callback()
    def options(
        *,
        _version_flag: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        pass

    return app


def show_warnings(console: Console) -> None:
    """Print the warnings of libraries, such as a store's retries, without breaking a live table."""
    handlers = [RichHandler(console=console, show_path=False)] if console.is_terminal else None
    form = "%(message)s" if handlers else "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, handlers=handlers)


def fail(error: ports.StageError) -> NoReturn:
    """End the command with an error's words and its exit code."""
    typer.secho(f"error: {error}", err=True, fg="red" if sys.stderr.isatty() else None)
    raise typer.Exit(launch.exit_code(error))
