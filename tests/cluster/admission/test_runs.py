"""What a real API server takes and refuses, in what words, and that run files get the same answer."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import strategies

from cluster.admission import corpus, server
from cluster.lab import cluster
from scalequest_jobs.contract import crd
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.local import run_file

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples").rglob("*.yaml"))

pytestmark = pytest.mark.cluster

_INVALID = re.compile('^Invalid value: ("object": )?')


def spec_of(document: dict[str, Any]) -> Spec:
    return run_file.parse(document).spec


# --- creation


@pytest.mark.parametrize("bad", corpus.BAD, ids=lambda bad: bad.title)
def test_a_bad_run_is_refused_with_its_field_and_the_fix(
    admission: server.Admission, bad: corpus.Bad
) -> None:
    refusals = admission.create(corpus.edited(*bad.edits)).refusals
    said = [text.lower() for field, text in refusals if field == bad.field]
    assert any(bad.server_fix.lower() in text for text in said), refusals


@pytest.mark.parametrize("bad", corpus.RULES, ids=lambda bad: bad.title)
def test_a_broken_rule_is_told_in_the_words_of_a_run_file_and_nothing_else(
    admission: server.Admission, bad: corpus.Bad
) -> None:
    document = corpus.edited(*bad.edits)
    with pytest.raises(run_file.RunFileError) as caught:
        run_file.parse(document)
    refusals = admission.create(document).refusals
    said = [f"{field}: {_INVALID.sub('', text)}" for field, text in refusals]
    assert said == caught.value.problems


@pytest.mark.parametrize("edits", corpus.GOOD, ids=str)
def test_a_good_run_is_taken_and_its_stored_form_is_the_same_run(
    admission: server.Admission, edits: tuple[tuple[str, Any], ...]
) -> None:
    document = corpus.edited(*edits)
    answer = admission.create(document)
    assert answer.stored, answer.refusals
    assert spec_of(answer.stored) == spec_of(document)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_taken_as_it_is(lab: cluster.Cluster, path: Path) -> None:
    namespace = run_file.load(path).metadata.namespace
    lab.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    shown = lab.kubectl("create", "--dry-run=server", "--output=json", "--filename", str(path))
    assert spec_of(json.loads(shown)) == run_file.load(path).spec


def test_a_file_means_the_same_to_kubectl_and_to_us(lab: cluster.Cluster, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    text = yaml.safe_dump(corpus.edited(("spec.fineTuning.learningRate", "RATE"), ("spec.seed", "SEED")))
    path.write_text(text.replace("RATE", "1e-3").replace("SEED", "2e3"))
    shown = json.loads(lab.kubectl("create", "--dry-run=server", "--output=json", "--filename", str(path)))
    assert shown["spec"]["fineTuning"]["learningRate"] == 0.001
    assert spec_of(shown) == run_file.load(path).spec


# --- any edit at all: the two sides agree

VALUES = [
    None, True, False, 0, 1, -1, 2, 8, 17, 64, 2.0, 0.5, 1.5, 1e-3, 1e6, 2**53, "", "2", "1e-3", "a", "A", "nobody", "solver", "train",
    "majority", "unlimited", "{question}", "en", "x" * 41, "http://a", "\u00e9", [], ["en"], [1], [None], {}, {"a": 1}, {"key": "a"},
]  # fmt: skip


def places(value: Any, path: str = "") -> Iterator[str]:
    """Return the path of everything below `spec`, and of what the schema has and the run leaves out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield f"{path}{name}"
        yield from places(item, f"{path}{name}.")


def missing(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if not isinstance(value, dict) or name not in value:
            yield f"{path}{name}"
        else:
            yield from missing(field, value[name], f"{path}{name}.")


PLACES = [
    *places(corpus.FULL["spec"], "spec."),
    *missing(crd.schema()["properties"]["spec"], corpus.FULL["spec"], "spec."),
]
EDIT = strategies.tuples(strategies.sampled_from(PLACES), strategies.sampled_from([corpus.GONE, *VALUES]))


def read(document: dict[str, Any]) -> tuple[list[str], Spec | None]:
    try:
        return [], spec_of(document)
    except run_file.RunFileError as error:
        return error.problems, None


@hypothesis.settings(
    max_examples=600, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(edits=strategies.lists(EDIT, min_size=1, max_size=2))
def test_the_api_server_and_run_files_agree_on_any_edit(
    admission: server.Admission, edits: list[tuple[str, Any]]
) -> None:
    try:
        document = corpus.edited(*edits)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        hypothesis.reject()
    answer = admission.create(document)
    problems, spec = read(document)
    assert (answer.stored is None) == bool(problems), (problems, answer.refusals)
    if answer.stored:
        assert read(answer.stored) == ([], spec)
