"""Which sources from outside are pinned: those on a volume whose content the platform team vouches for."""

from dataclasses import replace

from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.stage import Node
from scalequest_jobs.stages.fetch_model import FetchParameters
from scalequest_jobs.stages.import_questions import ImportParameters
from scalequest_operator.configuration import Profile


def pin(node: Node, profile: Profile) -> Node:
    """Return the node with its source's identity, so that its result can be cached, where there is one.

    The operator sees no volume and moves no data: a volume's `version` in the profile stands for
    what it holds. Other sources are read again in every run, and what follows them is cached by the
    content that is found.
    """
    parameters = node.parameters
    if not isinstance(parameters, FetchParameters | ImportParameters) or not parameters.path:
        return node
    volume = profile.volume_of(parameters.path)
    if volume is None or not volume.version:
        return node
    identity = fingerprint.digest([volume.claim, volume.sub_path, volume.version, parameters.path])
    return replace(node, parameters=parameters.model_copy(update={"vouched": identity}), cacheable=True)
