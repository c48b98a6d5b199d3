"""Which stages of a run would be taken from the stage cache: what earlier runs of the namespace tell about it.

The fingerprint of a stage also covers what only the operator's profile knows: the image, and whether the platform
vouches for a volume's content. An earlier run of the same profile stands for that: a stage is expected from the cache
when such a run has the same stage with the same parameters and inputs, and the cache still holds what it made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pydantic

from scalequest_jobs import catalog
from scalequest_jobs.contract import fingerprint, graph
from scalequest_jobs.contract.artifact import ArtifactRef, StageManifest
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node
from scalequest_jobs.contract.status import StageState, StageStatus
from scalequest_jobs.remote.remote_run import RemoteRun

CacheLookUp = Callable[[str], StageManifest | None]
"""From a fingerprint to what the cache holds for it, None where it holds nothing whole."""


class Fate(StrEnum):
    """What becomes of a stage."""

    RUNS = "runs"
    READ_AGAIN = "is read again"
    """A source that nothing pins: a short stage, after which the cache is asked for what was found."""
    CACHED = "cached"


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What to expect of one stage; `run` is the earlier run whose result it would take."""

    node: str
    fate: Fate
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What an earlier run made at a stage."""

    run: str
    stage: StageStatus
    artifact: ArtifactRef


def forecast(spec: Spec, earlier: Sequence[RemoteRun], look_up: CacheLookUp) -> tuple[Forecast, ...]:
    """Return what to expect of each stage, in their order. A source that is read again is taken for unchanged."""
    made = _made(spec, earlier)
    known: dict[str, ArtifactRef] = {}
    forecasts = []
    for node in catalog.plan(spec).nodes:
        inputs = {name: known[source] for name, source in node.inputs.items() if source in known}
        found = made.get(_recipe(node, spec, inputs)) if len(inputs) == len(node.inputs) else None
        manifest = look_up(found.stage.fingerprint) if found else None
        if found is None or manifest is None or manifest.stage_version != catalog.stage(node.stage).version:
            forecasts.append(Forecast(node=node.name, fate=Fate.RUNS))
            continue
        known[node.name] = found.artifact
        is_pinned = node.cacheable or bool(manifest.parameters.get("vouched"))
        fate = Fate.CACHED if is_pinned else Fate.READ_AGAIN
        forecasts.append(Forecast(node=node.name, fate=fate, run=found.run))
    return tuple(forecasts)


def _made(spec: Spec, earlier: Sequence[RemoteRun]) -> Mapping[str, _Made]:
    """Return what runs of the same profile made, by recipe; newer runs win."""
    made: dict[str, _Made] = {}
    for run in sorted(earlier, key=lambda run: run.created):
        if (theirs := _spec(run)) is None or theirs.compute.profile != spec.compute.profile:
            continue
        results = {stage.name: stage for stage in run.status.stages if _is_made(stage)}
        for node in catalog.plan(theirs).nodes:
            stage = results.get(node.name)
            inputs = {
                name: _artifact(results[source]) for name, source in node.inputs.items() if source in results
            }
            if stage is not None and len(inputs) == len(node.inputs):
                made[_recipe(node, theirs, inputs)] = _Made(
                    run=run.name, stage=stage, artifact=_artifact(stage)
                )
    return made


def _spec(run: RemoteRun) -> Spec | None:
    """Return a run's spec, None where another version of the operator took it."""
    try:
        return Spec.model_validate(run.spec, by_alias=True, by_name=False)
    except pydantic.ValidationError:
        return None


def _is_made(stage: StageStatus) -> bool:
    return stage.state is StageState.SUCCEEDED and stage.artifact is not None and bool(stage.fingerprint)


def _artifact(stage: StageStatus) -> ArtifactRef:
    assert stage.artifact is not None
    return stage.artifact.ref()


def _recipe(node: Node, spec: Spec, inputs: Mapping[str, ArtifactRef]) -> str:
    """Return the identity of a stage's result as far as the spec tells it.

    Where a source is not pinned, where it is read is part of it: nothing else tells two sources apart.
    """
    parts: dict[str, Any] = graph.identity_parts(catalog.stage(node.stage), node, spec, inputs, "")
    if not node.cacheable:
        parts["parameters"] = node.parameters.model_dump(mode="json")
    return fingerprint.digest(parts)
