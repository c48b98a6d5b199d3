"""Names, labels and annotations of the objects of a run."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalequest_jobs.contract import names

UID = "0a1b2c3d-0000-4000-8000-000000000001"
RUN = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
NODE = st.from_regex(r"[a-z]+(-[a-z]+){1,3}(@[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?)?", fullmatch=True)


@given(RUN, NODE, st.integers(1, 99_999))
def test_the_host_name_of_every_pod_is_a_dns_label(run: str, node: str, attempt: int) -> None:
    name = names.job_name(run, UID, node, attempt)
    assert len(name) <= names.MAX_JOB_NAME
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", f"{name}-999")
    assert len(f"{name}-999") <= 63


@given(RUN, NODE, NODE, st.integers(1, 99), st.integers(1, 99))
def test_two_attempts_of_a_run_share_a_name_only_if_they_are_the_same(
    run: str, node: str, other: str, attempt: int, another: int
) -> None:
    first, second = names.job_name(run, UID, node, attempt), names.job_name(run, UID, other, another)
    assert (first == second) is ((node, attempt) == (other, another))


def test_runs_of_the_same_name_have_jobs_of_other_names() -> None:
    assert names.job_name("run", UID, "clean-questions", 1) != names.job_name(
        "run", UID[:-1] + "2", "clean-questions", 1
    )


def test_a_long_run_and_stage_are_cut_and_both_can_be_read() -> None:
    name = names.job_name(
        "mathematics-for-everyone-2026-03-01-b", UID, "train-question-preference@deepseek-rl", 1
    )
    assert name.startswith("mathematics-for")
    assert "train-question" in name


def test_labels_and_annotations_are_in_our_group_or_a_known_one() -> None:
    for key in (*names.Label, *names.Annotation):
        assert key.partition("/")[0] in {names.GROUP, "app.kubernetes.io", "kueue.x-k8s.io"}
    assert names.FINALIZER.startswith(f"{names.GROUP}/")


@pytest.mark.parametrize("generator", ["", "qwen"])
def test_an_object_names_its_run_and_a_generator_where_there_is_one(generator: str) -> None:
    labels = names.labels(
        run="run", run_uid=UID, stage="clean-questions", role="cpu", attempt=2, generator=generator
    )
    assert names.run_of(labels) == ("run", UID)
    assert (names.Label.GENERATOR.value in labels) is bool(generator)
    key, _, value = names.SELECTOR.partition("=")
    assert labels[key] == value
    assert all(isinstance(key, str) and type(key) is str for key in labels)


def test_an_object_without_our_labels_belongs_to_no_run() -> None:
    assert names.run_of({}) == ("", "")
