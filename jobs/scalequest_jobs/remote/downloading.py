"""From a run that ended to its dataset in a folder, every file checked against the digest in the run's status."""

from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.contract.run import Storage
from scalequest_jobs.execution import reading
from scalequest_jobs.publishing import export
from scalequest_jobs.remote.dry_run import StoreOptions
from scalequest_jobs.remote.remote_run import RemoteRun


def download(run: RemoteRun, options: StoreOptions, target: Path) -> Path:
    """Copy a run's dataset from its bucket to a folder, which is replaced as a whole.

    Raises:
        BadParametersError: the run has published nothing, or the store is not known well enough.
        BadInputError: a file is not what was published.
    """
    dataset = run.status.dataset
    if dataset is None:
        raise ports.BadParametersError(
            f"{run.name} has no dataset: it is {run.phase}; see `scalequest status {run.name}`"
        )
    url = options.address(Storage.model_validate(run.spec["storage"]))
    store = options.open_at(url)
    ref = dataset.artifact.ref()
    return export.export(store, url, (ref, reading.read_manifest(store, ref)), target)
