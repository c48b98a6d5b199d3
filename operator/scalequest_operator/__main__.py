"""`scalequest-operator`: run the operator, or check its configuration file."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from scalequest_jobs import commands
from scalequest_operator import errors
from scalequest_operator.settings import PREFIX, Settings

app = commands.make_app(
    "scalequest-operator",
    help_text="The ScaleQuest operator: carries out ScaleQuestRuns, one Job per stage.",
)


def _variable(name: str) -> str:
    return PREFIX + name


@app.command()
def run(
    *,
    configuration: Annotated[
        Path,
        typer.Option(
            "--config",
            envvar=_variable("CONFIG"),
            help="File of stores and profiles; read again when it changes.",
        ),
    ],
    namespaces: Annotated[
        str,
        typer.Option(envvar=_variable("NAMESPACES"), help="Namespaces to watch, with commas; empty for all."),
    ] = "",
    lease_namespace: Annotated[
        str,
        typer.Option(
            envvar=_variable("LEASE_NAMESPACE"),
            help="Namespace of the lease by which one of several operators leads; empty for no election.",
        ),
    ] = "",
    identity: Annotated[
        str,
        typer.Option(envvar=_variable("IDENTITY"), help="This process's name in the lease and in events."),
    ] = f"{os.uname().nodename}-{os.getpid()}",
    workers: Annotated[
        int, typer.Option(envvar=_variable("WORKERS"), min=1, max=64, help="Runs worked on at the same time.")
    ] = 8,
    calls_per_second: Annotated[
        float,
        typer.Option(envvar=_variable("CALLS_PER_SECOND"), min=1, help="Limit of calls to the API server."),
    ] = 100,
    resync_seconds: Annotated[
        float,
        typer.Option(
            envvar=_variable("RESYNC_SECONDS"), min=5, help="Look at every run this often, in seconds."
        ),
    ] = 300,
    probe_port: Annotated[
        int,
        typer.Option(
            envvar=_variable("PROBE_PORT"), min=0, max=65535, help="Port of /healthz and /readyz; 0 for none."
        ),
    ] = 8081,
    log_format: Annotated[
        str, typer.Option(envvar=_variable("LOG_FORMAT"), help="json or text.", metavar="json|text")
    ] = "json",
    log_level: Annotated[
        str, typer.Option(envvar=_variable("LOG_LEVEL"), help="DEBUG, INFO, WARNING or ERROR.")
    ] = "INFO",
) -> None:
    """Watch ScaleQuestRuns and carry them out until told to stop.

    The API server is found by the pod's service account, or by KUBECONFIG outside a pod. Ends with exit code 0 when
    stopped, 64 when it cannot start as configured, and 1 when it must be replaced (a lost lease, dead threads).
    """
    from scalequest_operator import main as operator

    settings = Settings(
        configuration=configuration,
        namespaces=tuple(filter(None, (name.strip() for name in namespaces.split(",")))),
        lease_namespace=lease_namespace,
        identity=identity,
        workers=workers,
        calls_per_second=calls_per_second,
        resync_seconds=resync_seconds,
        probe_port=probe_port,
        log_format=_log_format(log_format),
        log_level=log_level.upper(),
    )
    try:
        operator.run(settings)
    except errors.ConfigurationError as error:
        _fail(error)


def _log_format(text: str) -> Literal["json", "text"]:
    if text not in ("json", "text"):
        raise typer.BadParameter(f"seen {text!r}, expected json or text", param_hint="--log-format")
    return "json" if text == "json" else "text"


def _fail(error: errors.ConfigurationError) -> None:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(64)


@app.command("check-config")
def check_config(
    file: Annotated[Path, typer.Argument(help="The configuration file.", metavar="FILE")],
) -> None:
    """Check a configuration file and print its stores and profiles."""
    from scalequest_operator import configuration

    try:
        checked = configuration.load(file)
    except errors.ConfigurationError as error:
        _fail(error)
        return
    typer.echo(f"{file} is valid: {len(checked.stores)} stores, {len(checked.profiles)} profiles")
    for name, profile in checked.profiles.items():
        store = checked.store(profile.store)
        typer.echo(
            f"  {name}: {store.endpoint if store else ''}"
            + (f", queue {profile.queue}" if profile.queue else "")
        )


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
