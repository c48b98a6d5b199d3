"""Names, labels and annotations of the Kubernetes objects that belong to a run."""

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from scalequest_jobs.contract.run import API_VERSION

GROUP: Final = API_VERSION.partition("/")[0]

MAX_JOB_NAME: Final = 58
"""A pod's hostname is `<job>-<index>` and a DNS label (RFC 1123): 63 characters, four of them for an index below
1000 and its hyphen, one spare."""

MIN_RUN_PART: Final = 16
"""Characters of the run's name that a Job's name shows at least."""


class Label(StrEnum):
    """Labels on Jobs and pods; all are bounded, so selectors and dashboards may use them."""

    MANAGED_BY = "app.kubernetes.io/managed-by"
    RUN = f"{GROUP}/run"
    RUN_UID = f"{GROUP}/run-uid"
    STAGE = f"{GROUP}/stage"
    GENERATOR = f"{GROUP}/generator"
    ROLE = f"{GROUP}/role"
    ATTEMPT = f"{GROUP}/attempt"
    QUEUE = "kueue.x-k8s.io/queue-name"


class Annotation(StrEnum):
    """Annotations on Jobs and pods."""

    NODE = f"{GROUP}/node"
    ORDER = f"{GROUP}/order"


MANAGER: Final = "scalequest-operator"
FINALIZER: Final = f"{GROUP}/release"
"""Keeps a deleted run until its Jobs are gone, for a bounded time."""

SELECTOR: Final = f"{Label.MANAGED_BY}={MANAGER}"


def job_name(run: str, run_uid: str, node: str, attempt: int) -> str:
    """Return the name of the Job of one attempt of a run's stage.

    Same input, same name: a launcher that forgot what it created finds it again. The digest keeps
    runs of the same name apart while the pods of a deleted one still end.
    """
    digest = hashlib.sha256(f"{run_uid}/{node}".encode()).hexdigest()[:8]
    tail = f"-{digest}-{attempt}"
    room = MAX_JOB_NAME - len(tail)
    run_part = run[: max(MIN_RUN_PART, room - len(node) - 1)]
    readable = re.sub(r"[^a-z0-9]+", "-", f"{run_part}-{node}")
    return readable[:room].rstrip("-") + tail


def labels(
    *, run: str, run_uid: str, stage: str, role: str, attempt: int, generator: str = ""
) -> dict[str, str]:
    """Return the labels of a stage's Job and of its pods."""
    named = {Label.GENERATOR.value: generator} if generator else {}
    return named | {
        Label.MANAGED_BY.value: MANAGER,
        Label.RUN.value: run,
        Label.RUN_UID.value: run_uid,
        Label.STAGE.value: stage,
        Label.ROLE.value: role,
        Label.ATTEMPT.value: str(attempt),
    }


def run_of(object_labels: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the UID of the run that an object belongs to; empty where it names none."""
    return object_labels.get(Label.RUN, ""), object_labels.get(Label.RUN_UID, "")
