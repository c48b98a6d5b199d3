"""Pinning what a node reads from outside: the digest of a file or folder that this machine can see."""

from dataclasses import replace
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.stage import Node
from scalequest_jobs.stages import fetch_model, import_questions


def pin(node: Node, store: ports.ArtifactStore, volumes: Path) -> Node:
    """Return the node with the digest of its source, so that its result can be cached.

    A cluster's launcher cannot see a volume and leaves such nodes unpinned: they run in every run,
    and what follows is cached by the content that they find.
    """
    match node.parameters:
        case import_questions.ImportParameters() as parameters:
            data, _ = import_questions.read_source(store, volumes, parameters.key, parameters.path)
            return _pinned(node, fingerprint.sha256(data))
        case fetch_model.FetchParameters(hub="") as parameters:
            objects = fetch_model.source_objects(store, volumes, parameters)
            return _pinned(node, fetch_model.content_digest(objects))
        case _:
            return node


def _pinned(node: Node, content: str) -> Node:
    parameters = node.parameters.model_copy(update={"content": content})
    return replace(node, parameters=parameters, cacheable=True)
