"""Bring a model into the run: its safetensors, JSON and tokenizer files, each with its digest.

A row is a file, and so is a chunk: an attempt that was interrupted fetches none of them again.
"""

import shutil
import tempfile
from collections.abc import Collection
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
    """Fetch or register the model's files and commit each."""
    if context.parameters.hub:
        _fetch(context)
    else:
        _register(context)


def _fetch(context: StageContext[FetchParameters]) -> None:
    parameters, settings = context.parameters, context.settings
    context.reporter.activity(f"fetching {parameters.hub} at {parameters.revision[:12]}")
    source = hub.HubSource(
        repository=parameters.hub,
        revision=parameters.revision,
        endpoint=settings.hub_endpoint or hub.DEFAULT_ENDPOINT,
        token_file=settings.hub_token_file,
    )
    paths = hub.paths(source)
    _check(paths, parameters.hub)
    context.begin(len(paths))
    folder = context.scratch / "model"
    for chunk in context.pending():
        own = paths[chunk.first : chunk.last]
        hub.fetch(source, folder, only=own, on_progress=lambda progress: _report(context, progress))
        files = {path: folder / path for path in own}
        context.commit(chunk, Outcome(rows_in=len(own), rows_out=len(own), files=files))
        shutil.rmtree(folder)


def _report(context: StageContext[FetchParameters], progress: hub.HubProgress) -> None:
    context.check_stop()
    context.reporter.fetched(
        f"fetched {progress.size / 1e6:,.0f} of {progress.total_size / 1e6:,.0f} MB of this file"
    )


def _register(context: StageContext[FetchParameters]) -> None:
    parameters = context.parameters
    objects = source_objects(context.store, context.settings.volumes, parameters)
    if parameters.content and content_digest(objects) != parameters.content:
        raise ports.BadInputError(f"{parameters.path} changed since the run was planned; start the run again")
    names = sorted(objects)
    context.begin(len(names))
    for chunk in context.pending():
        own = {name: objects[name] for name in names[chunk.first : chunk.last]}
        context.commit(chunk, Outcome(rows_in=len(own), rows_out=len(own), objects=own))


def source_objects(
    store: ports.ArtifactStore, volumes: Path, parameters: FetchParameters
) -> dict[str, ObjectRef]:
    """Return the files of a model that is already on a volume or in the store, left where they are."""
    objects = (
        _folder_objects(volumes / parameters.path)
        if parameters.path
        else _stored_objects(store, parameters.key)
    )
    _check(objects, parameters.path or parameters.key)
    return objects


def _folder_objects(folder: Path) -> dict[str, ObjectRef]:
    """Return the model files of a folder, left where they are, with their digests."""
    if not folder.is_dir():
        raise ports.BadInputError(f"there is no folder {folder}; check the model's path and the volume")
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


def _check(names: Collection[str], place: str) -> None:
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
    chunk_rows=1,
)
