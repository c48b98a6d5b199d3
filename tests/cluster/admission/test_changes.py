"""What may be edited once a run exists, and that old runs survive new rules."""

import copy
from typing import Any

import pytest

from cluster.admission import corpus, server
from cluster.lab import cluster, waiting
from scalequest_jobs.contract import crd, updates
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.local import run_file

pytestmark = pytest.mark.cluster


def spec_of(document: dict[str, Any]) -> Spec:
    return run_file.parse(document).spec


@pytest.mark.parametrize("bad", corpus.BAD_CHANGES, ids=lambda bad: bad.title)
def test_what_results_depend_on_cannot_be_changed(
    admission: server.Admission, stored: dict[str, Any], bad: corpus.Bad
) -> None:
    document = corpus.kept(*bad.edits)
    ((field, text),) = admission.update(document).refusals
    assert field == bad.field
    assert bad.fix in text
    (line,) = updates.problems(spec_of(stored), spec_of(document))
    assert line == f"{field}: {text.removeprefix('Forbidden: ')}"


@pytest.mark.parametrize("edits", corpus.GOOD_CHANGES, ids=str)
def test_what_changes_no_result_may_be_changed(
    admission: server.Admission, stored: dict[str, Any], edits: tuple[tuple[str, Any], ...]
) -> None:
    document = corpus.kept(*edits)
    answer = admission.update(document)
    assert answer.stored, answer.refusals
    assert updates.problems(spec_of(stored), spec_of(document)) == []


def test_a_cancelled_run_stays_cancelled(admission: server.Admission) -> None:
    name = ("metadata.name", "cancelled")
    assert admission.create(corpus.edited(name, ("spec.cancel", True)), dry_run=False).stored
    ((field, text),) = admission.update(corpus.edited(name)).refusals
    assert (field, "cancel cannot be taken back" in text) == ("spec.cancel", True)


def test_an_absent_part_cannot_be_added_and_none_is_not_the_default(admission: server.Admission) -> None:
    name = ("metadata.name", "plain")
    plain = (name, ("spec.preference", corpus.GONE), ("spec.fineTuning", None))
    assert admission.create(corpus.edited(*plain), dry_run=False).stored
    fields = [field for field, _ in admission.update(corpus.edited(name)).refusals]
    assert fields == ["spec.fineTuning", "spec.preference"]
    assert admission.update(corpus.edited(*plain)).stored


def test_every_fixed_field_is_changed_by_a_case() -> None:
    changed = {bad.field for bad in corpus.BAD_CHANGES}
    fixed = {f"spec.{rule.field}" for rule in updates.RULES} - {"spec.cancel"}
    # There is one domain, and no run with a student yet.
    assert fixed - changed == {"spec.domain", "spec.student"}


def before_the_rules() -> dict[str, Any]:
    """Return the CRD as it might have been when it asked for less."""
    loose = copy.deepcopy(crd.crd())
    schema = loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = schema["properties"]["spec"]
    del spec["x-kubernetes-validations"]
    del spec["properties"]["filters"]["properties"]["format"]["x-kubernetes-validations"]
    del spec["properties"]["responses"]["properties"]["candidates"]["maximum"]
    return loose


def test_a_run_from_before_a_rule_can_still_be_suspended_and_cancelled(
    lab: cluster.Cluster, admission: server.Admission
) -> None:
    edits = (
        ("metadata.name", "from-before"),
        ("spec.student", {"model": "solver"}),
        ("spec.responses.candidates", 65),
        ("spec.filters.format.minTokens", 999),
    )
    old = corpus.edited(*edits)
    lab.kubectl.apply(before_the_rules())
    try:
        waiting.until(lambda: bool(admission.create(old).stored), "the loose CRD")
        assert admission.create(old, dry_run=False).stored
    finally:
        lab.kubectl.apply(crd.crd())
    again = corpus.edited(*edits, ("metadata.name", "again"))
    waiting.until(lambda: not admission.create(again).stored, "the CRD of today")
    for field in ("suspend", "cancel"):
        answer = admission.update(corpus.edited(*edits, (f"spec.{field}", True)))
        assert answer.stored, answer.refusals
    assert admission.update(corpus.edited(*edits, ("spec.responses.candidates", 66))).refusals
