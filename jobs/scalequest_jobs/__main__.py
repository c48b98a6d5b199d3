"""`scalequest`: run the method on this machine or on a cluster, run one stage in a pod, check and show datasets."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scalequest_jobs import commands, ports
from scalequest_jobs.contract import launch
from scalequest_jobs.remote import command_line

app = commands.make_app("scalequest", help_text="Make instruction datasets by the ScaleQuest method.")


@app.command()
def local(
    run_file: commands.RunFile,
    *,
    workdir: Annotated[Path, typer.Option(help="Folder for artifacts, caches and datasets.")] = Path("work"),
    store: commands.StoreOption = None,
    credentials: commands.CredentialsOption = None,
    region: commands.RegionOption = "us-east-1",
    ca_file: commands.CaOption = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="File with the rewriter's API key.", envvar=launch.Env.API_KEY_FILE.value),
    ] = None,
    hub_token_file: Annotated[
        Path | None,
        typer.Option(help="File with the model hub's token.", envvar=launch.Env.HUB_TOKEN_FILE.value),
    ] = None,
) -> None:
    """Carry out a run on this machine, from seed questions to a published dataset.

    Finished stages are reused and an interrupted stage goes on from its last committed chunk, so the same command
    resumes after Ctrl-C or a crash.
    """
    from scalequest_jobs.execution.context import WorkerSettings
    from scalequest_jobs.local import presentation, runner
    from scalequest_jobs.local import run_file as run_files
    from scalequest_jobs.local.monitor import LogMonitor, TableMonitor
    from scalequest_jobs.local.workers import StoreAddress

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    terminal = Console(stderr=True)
    commands.show_warnings(terminal)
    try:
        run = run_files.load(run_file)
        result = runner.run_local(
            run,
            run_file=run_file,
            workdir=workdir,
            store=StoreAddress(url=store, credentials=credentials, region=region, ca_file=ca_file)
            if store
            else None,
            monitor=TableMonitor(terminal) if terminal.is_terminal else LogMonitor(sys.stderr),
            settings=WorkerSettings(
                cache=(workdir / "cache").absolute(),
                volumes=run_file.absolute().parent,
                api_key_file=api_key_file,
                hub_token_file=hub_token_file,
                hub_endpoint=os.environ.get(launch.Env.HUB_ENDPOINT),
            ),
        )
    except ports.StageError as error:
        commands.fail(error)
    presentation.summary(Console(), result.dataset)


@app.command()
def run(
    stage: Annotated[str, typer.Argument(help="Stage name; must be the order's.", metavar="STAGE")],
) -> None:
    """Carry out one shard of one stage, as a pod does.

    The order, the store and the shard come from the environment. The termination message names the shard's manifest.
    Exit codes: 0 done, 64 bad parameters, 65 bad input, 75 try again.
    """
    from scalequest_jobs.pod import run_stage

    raise typer.Exit(run_stage(stage, dict(os.environ)))


@app.command()
def validate(run_file: commands.RunFile) -> None:
    """Check a run file against every rule and print the stages that it would have."""
    from scalequest_jobs import catalog
    from scalequest_jobs.local import run_file as run_files

    try:
        spec = run_files.load(run_file).spec
    except ports.StageError as error:
        commands.fail(error)
    nodes = catalog.plan(spec).nodes
    typer.echo(f"{run_file} is valid; it has {len(nodes)} stages:")
    for node in nodes:
        waits = ", ".join(
            sorted({source for name, source in node.inputs.items() if not name.startswith("stage:")})
        )
        typer.echo(f"  {node.name}" + (f"  <- {waits}" if waits else ""))


@app.command()
def verify(
    dataset: commands.Dataset,
    *,
    store: commands.DatasetStoreOption = None,
    credentials: commands.CredentialsOption = None,
    region: commands.RegionOption = "us-east-1",
    ca_file: commands.CaOption = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            help="Where a volume that the run's pods saw is on this machine; may be repeated.",
            metavar="THERE=HERE",
        ),
    ] = None,
    as_json: commands.JsonOption = False,
) -> None:
    """Check every digest of a dataset, from its files back to the seed questions."""
    from scalequest_jobs.publishing import address
    from scalequest_jobs.publishing import verify as verification
    from scalequest_jobs.stores.address import open_store

    try:
        found = address.read(dataset)
        opened = open_store(store or found.store, credentials=credentials, region=region, ca_file=ca_file)
        checks = list(verification.verify(dataset, opened, found.artifact, _volumes(volume or [])))
    except ports.StageError as error:
        commands.fail(error)
    wrong = [check for check in checks if not check.ok]
    if as_json:
        failures = [{"subject": check.subject, "message": check.message} for check in wrong]
        typer.echo(json.dumps({"ok": not wrong, "checks": len(checks), "failures": failures}, indent=2))
    else:
        for check in wrong:
            typer.echo(f"WRONG  {check.subject}: {check.message}")
        typer.echo(f"{len(checks) - len(wrong)} of {len(checks)} checks passed")
    if wrong:
        raise typer.Exit(launch.ExitCode.BAD_INPUT)


def _volumes(options: list[str]) -> dict[str, Path]:
    volumes = {}
    for option in options:
        there, equals, here = option.partition("=")
        if not equals or not there.startswith("/") or not here:
            raise typer.BadParameter(
                f"seen {option!r}, expected THERE=HERE, for example /volumes=./models", param_hint="--volume"
            )
        volumes[there] = Path(here)
    return volumes


@app.command()
def show(
    dataset: commands.Dataset,
    *,
    rows: Annotated[int, typer.Option(help="Accepted rows to show.", min=0)] = 3,
    rejected: Annotated[int, typer.Option(help="Rejected rows to show of each reason.", min=0)] = 1,
    stage: Annotated[str | None, typer.Option(help="Show rejects of this stage only.")] = None,
) -> None:
    """Show a dataset's funnel, some accepted rows, and some rejected rows by reason."""
    from scalequest_jobs.local import presentation

    try:
        presentation.show(Console(), dataset, rows=rows, rejected=rejected, stage=stage)
    except ports.StageError as error:
        commands.fail(error)


@app.command()
def explain() -> None:
    """Print every field of a run with its type, default and meaning."""
    from scalequest_jobs.contract import reference

    typer.echo(reference.fields())


command_line.add_to(app)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
