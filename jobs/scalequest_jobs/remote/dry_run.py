"""What `submit --dry-run` says: the stages, which of them the cache holds, and what the API server answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scalequest_jobs import catalog, ports
from scalequest_jobs.contract.artifact import StageManifest
from scalequest_jobs.contract.run import ScaleQuestRun, Storage
from scalequest_jobs.execution import launching
from scalequest_jobs.remote import api, preview, remote_run, submitting
from scalequest_jobs.stores.address import open_store


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """How to get at the run's store; nothing of it need be known."""

    url: str | None = None
    credentials: Path | None = None
    region: str = "us-east-1"
    ca_file: Path | None = None

    def open(self, storage: Storage) -> ports.ArtifactStore | None:
        """Return the store, None when nothing was said of it.

        Raises:
            StageError: what was said is not enough, or wrong.
        """
        if self.url is None and self.credentials is None:
            return None
        return self.open_at(self.address(storage))

    def open_at(self, url: str) -> ports.ArtifactStore:
        """Return the store at an address."""
        return open_store(url, credentials=self.credentials, region=self.region, ca_file=self.ca_file)

    def address(self, storage: Storage) -> str:
        """Return the store's address, as said or as the run has it.

        Raises:
            BadParametersError: neither says it.
        """
        if self.url is not None:
            return self.url
        if storage.endpoint is None:
            raise ports.BadParametersError(
                "spec.storage.endpoint is absent, so the store is the operator's profile's to know: give its address by "
                "--store s3+https://host:port/bucket/prefix"
            )
        prefix = (storage.prefix or "").strip("/")
        return "/".join(filter(None, (f"s3+{storage.endpoint}", storage.bucket, prefix)))


def report(
    connection: api.Connection, namespace: str, run: ScaleQuestRun, options: StoreOptions
) -> Iterator[str]:
    """Yield the lines of the report.

    Raises:
        StageError: at its end, when the API server would not take the run.
    """
    store = options.open(run.spec.storage)
    name = run.metadata.name
    if store is None:
        nodes = catalog.plan(run.spec).nodes
        yield f"{name} has {len(nodes)} stages:"
        yield from (f"  {node.name}" for node in nodes)
        yield "the cache was not looked at: --store and --credentials show which of them it holds"
    else:
        yield from _forecast(connection.api, namespace, run, store)
    asked = submitting.ask(connection.api, namespace, run)
    yield from (f"warning: {warning}" for warning in asked.warnings)
    yield f"the API server ({connection.cluster}) would take it in the namespace {namespace}; nothing was created"


def _forecast(
    calls: api.RunApi, namespace: str, run: ScaleQuestRun, store: ports.ArtifactStore
) -> Iterator[str]:
    earlier = [remote_run.parse(body) for body in calls.list(namespace)]
    forecasts = preview.forecast(run.spec, earlier, lambda fingerprint: look_up(store, fingerprint))
    width = max(len(forecast.node) for forecast in forecasts)
    yield f"{run.metadata.name} has {len(forecasts)} stages; {store.describe()} and earlier runs say of them:"
    for one in forecasts:
        yield f"  {one.node:<{width}}  {one.fate}" + (f", made by {one.run}" if one.run else "")
    count = {fate: sum(one.fate is fate for one in forecasts) for fate in preview.Fate}
    yield (
        f"{count[preview.Fate.RUNS]} run, {count[preview.Fate.READ_AGAIN]} are read again, "
        f"{count[preview.Fate.CACHED]} come from the cache"
    )
    yield (
        f"(by the runs of the namespace {namespace} with the profile {run.spec.compute.profile}, as if its images and "
        "volumes were still the same; a stage that runs and finds what was found before spares those after it)"
    )


def look_up(store: ports.ArtifactStore, stage_fingerprint: str) -> StageManifest | None:
    """Return what the cache holds for a fingerprint, as the operator would find it."""
    found = launching.cached(store, stage_fingerprint, sees_volumes=False)
    return found[1] if found else None
