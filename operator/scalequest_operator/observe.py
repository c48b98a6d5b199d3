"""Everything that is known about a run when it is planned: the run itself read anew, its Jobs and pods as last seen."""

from typing import Protocol

from scalequest_operator import cluster, errors
from scalequest_operator.configuration import DEFAULT_PROFILE, Configuration
from scalequest_operator.planning import views
from scalequest_operator.planning.model import JobView, Observed, PodView, RunView, Setting
from scalequest_operator.workqueue import RunKey


class Children(Protocol):
    """What informers know: the Jobs and pods of a run."""

    def jobs(self, run_uid: str) -> tuple[JobView, ...]:
        """Return a run's Jobs as last seen."""

    def pods(self, run_uid: str) -> tuple[PodView, ...]:
        """Return a run's pods as last seen."""


def observe(
    api: cluster.KubeApi, children: Children, configuration: Configuration, key: RunKey
) -> tuple[cluster.Body, Observed] | None:
    """Return a run's body and all that planning needs of it; None when it is gone."""
    try:
        body = api.get(cluster.RUNS, key.namespace, key.name)
    except errors.NotFoundError:
        return None
    run = views.run_view(body)
    return body, Observed(
        run=run,
        setting=setting(configuration, run),
        jobs=children.jobs(run.uid),
        pods=children.pods(run.uid),
    )


def setting(configuration: Configuration, run: RunView) -> Setting:
    """Return the profile and store that a run asks for, or what is wrong with what it asks for."""
    if run.spec is None:
        return Setting(problem=run.problem)
    name = run.spec.compute.profile
    profile = configuration.profiles.get(name)
    if profile is None:
        known = sorted(configuration.profiles)
        fix = "" if name != DEFAULT_PROFILE else "; set spec.compute.profile, or add a profile of that name"
        return Setting(problem=f"spec.compute.profile: seen {name!r}, the operator has {known}{fix}")
    endpoint = run.spec.storage.endpoint or profile.store
    store = configuration.store(endpoint)
    if store is None:
        known = [store.endpoint for store in configuration.stores]
        return Setting(
            problem=f"spec.storage.endpoint: seen {endpoint!r}, the operator is configured for {known}"
        )
    return Setting(profile=profile, store=store)
