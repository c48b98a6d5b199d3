"""From a run file to a run on a cluster: checked here, then by the API server, then created."""

from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.contract.run import ScaleQuestRun
from scalequest_jobs.local import run_file
from scalequest_jobs.remote import api, errors


def prepare(path: Path, *, name: str | None) -> ScaleQuestRun:
    """Return the run in a file, by another name if one is given.

    Raises:
        RunFileError: it breaks a rule; the message names every fault.
    """
    run = run_file.load(path)
    if name is None:
        return run
    document = as_written(run)
    document["metadata"]["name"] = name
    return run_file.parse(document, path)


def as_written(run: ScaleQuestRun) -> api.Body:
    """Return a run with the fields that its file names; defaults are the cluster's to fill in."""
    return run.model_dump(mode="json", by_alias=True, exclude_unset=True)


def namespace_of(run: ScaleQuestRun, *, option: str | None, default: str) -> str:
    """Return the namespace that is meant: the option's, the file's, or the context's.

    Raises:
        BadParametersError: file and option contradict each other.
    """
    written = run.metadata.namespace if "namespace" in run.metadata.model_fields_set else None
    if option and written and option != written:
        raise ports.BadParametersError(
            f"--namespace is {option}, but the file says metadata.namespace: {written}; give one of them, or the same"
        )
    return option or written or default


def ask(calls: api.RunApi, namespace: str, run: ScaleQuestRun) -> api.Created:
    """Return what the API server would make of a run, without creating it.

    Raises:
        StageError: it would not take it; the message has its own words.
    """
    return _create(calls, namespace, run, dry_run=True)


def create(calls: api.RunApi, namespace: str, run: ScaleQuestRun) -> api.Created:
    """Create a run; raises StageError like `ask`."""
    return _create(calls, namespace, run, dry_run=False)


def _create(calls: api.RunApi, namespace: str, run: ScaleQuestRun, *, dry_run: bool) -> api.Created:
    body = as_written(run)
    body["metadata"]["namespace"] = namespace
    name = run.metadata.name
    try:
        return calls.create(namespace, body, dry_run=dry_run)
    except errors.AlreadyExistsError as error:
        raise errors.AlreadyExistsError(
            f"the namespace {namespace} has a run {name} already: look at it with `scalequest status {name}`, or give "
            "--name NEW for another run, which takes over every finished stage"
        ) from error
