"""Bring a model into the run: its safetensors, JSON and tokenizer files, each with its digest."""

import tempfile
from pathlib import Path
from typing import ClassVar

from scalequest_jobs import hub, ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.artifact import ObjectRef
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.sources import ModelSource
from scalequest_jobs.contract.stage import MODEL, Node, Parameters, Role, Stage, node_name
from scalequest_jobs.execution import models, reading
from scalequest_jobs.execution.chunks import Outcome
from scalequest_jobs.execution.context import StageContext

NAME = "fetch-model"


class FetchParameters(Parameters):
    """Which model.

    `content` is its digest when the launcher can see a volume's folder; `vouched` names the content of
    a volume where the platform stands for it.
    """

    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"key", "path"})

    hub: str = ""
    revision: str = ""
    key: str = ""
    path: str = ""
    content: str = ""
    vouched: str = ""


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each model; only a hub commit pins what is fetched."""
    return tuple(
        Node(
            name=node_for(name), stage=NAME, parameters=_parameters(source), cacheable=source.hub is not None
        )
        for name, source in spec.models.items()
    )


def node_for(model: str) -> str:
    """Return the name of the node that fetches a model of the spec."""
    return node_name(NAME, model)


def _parameters(source: ModelSource) -> FetchParameters:
    return FetchParameters(
        hub=source.hub or "", revision=source.revision or "", key=source.key or "", path=source.path or ""
    )


def run(context: StageContext[FetchParameters]) -> None:
    """Fetch or register the model's files and commit them."""
    context.begin(1)
    if context.log.is_committed(context.chunks[0]):
        return
    parameters = context.parameters
    if parameters.hub:
        files = _from_hub(context)
        context.commit_whole(Outcome(rows_in=1, rows_out=1, files=files))
        return
    objects = source_objects(context.store, context.settings.volumes, parameters)
    if parameters.content and content_digest(objects) != parameters.content:
        raise ports.BadInputError(f"{parameters.path} changed since the run was planned; start the run again")
    context.commit_whole(Outcome(rows_in=1, rows_out=1, objects=objects))


def _from_hub(context: StageContext[FetchParameters]) -> dict[str, Path]:
    parameters, settings = context.parameters, context.settings
    context.reporter.activity(f"fetching {parameters.hub} at {parameters.revision[:12]}")
    source = hub.HubSource(
        repository=parameters.hub,
        revision=parameters.revision,
        endpoint=settings.hub_endpoint or hub.DEFAULT_ENDPOINT,
        token_file=settings.hub_token_file,
    )
    folder = context.scratch / "model"
    files = hub.fetch(source, folder, on_progress=lambda progress: _report(context, progress))
    return {file.path: folder / file.path for file in files}


def _report(context: StageContext[FetchParameters], progress: hub.HubProgress) -> None:
    context.reporter.fetched(
        f"fetched {progress.files} of {progress.total_files} files, "
        f"{progress.size / 1e6:,.0f} of {progress.total_size / 1e6:,.0f} MB"
    )


def source_objects(
    store: ports.ArtifactStore, volumes: Path, parameters: FetchParameters
) -> dict[str, ObjectRef]:
    """Return the files of a model that is already on a volume or in the store, left where they are."""
    objects = (
        _folder_objects(volumes / parameters.path)
        if parameters.path
        else _stored_objects(store, parameters.key)
    )
    _check(list(objects), parameters.path or parameters.key)
    return objects


def _folder_objects(folder: Path) -> dict[str, ObjectRef]:
    """Return the model files of a folder, left where they are, with their digests."""
    files = models.folder_files(folder)
    return {
        name: ObjectRef(path=str(path.absolute()), sha256=reading.file_sha256(path), size=path.stat().st_size)
        for name, path in files.items()
        if hub.is_model_file(name)
    }


def _stored_objects(store: ports.ArtifactStore, prefix: str) -> dict[str, ObjectRef]:
    """Return the model files under a key prefix, left where they are, with their digests."""
    start = prefix.rstrip("/") + "/"
    names = [key.removeprefix(start) for key in store.keys(start)]
    return {name: _stored_object(store, start + name) for name in names if hub.is_model_file(name)}


def _stored_object(store: ports.ArtifactStore, key: str) -> ObjectRef:
    """Digest an object through a file: weights do not fit in memory twice."""
    with tempfile.TemporaryDirectory(prefix="scalequest-") as scratch:
        path = Path(scratch) / "object"
        store.download(key, path)
        return ObjectRef(key=key, sha256=reading.file_sha256(path), size=path.stat().st_size)


def content_digest(objects: dict[str, ObjectRef]) -> str:
    """Return the identity of a set of model files."""
    return fingerprint.digest({name: ref.sha256 for name, ref in objects.items()})


def _check(names: list[str], place: str) -> None:
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise ports.BadInputError(
            f"{place} holds no usable model: expected config.json and *.safetensors, seen {sorted(names)[:20]}; "
            "weights in pickle files (.bin, .pt) are refused: convert them"
        )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.CPU,
    output=MODEL,
    parameters=FetchParameters,
    nodes=nodes,
    run=run,
    source="3.1: the models",
)
