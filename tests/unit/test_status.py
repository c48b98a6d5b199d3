"""A run's status: its size, its texts, and what may be left out of it."""

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from operator_builders import NOW, make_stage
from scalequest_jobs import catalog
from scalequest_jobs.contract.artifact import ArtifactKeys
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.status import (
    MAX_COUNTED,
    MAX_REASONS,
    MAX_STATUS_BYTES,
    Artifact,
    Condition,
    RunStatus,
    Shards,
    StageProgress,
    StageState,
    StageStatus,
    fit,
    indexes,
    message,
    ranges,
    rejected_by_reason,
)

UID = "0a1b2c3d-0000-4000-8000-000000000001"
LONG = "x" * 1024


def widest_spec() -> Spec:
    """Return the spec with the most stages that is accepted."""
    models = {f"{number}-{'m' * 37}"[:40]: {"path": f"models/{number}"} for number in range(13)}
    models |= builders.MODELS
    generators = [
        {
            "name": f"{number}{'g' * 15}",
            "model": list(models)[number],
            "questions": 60,
            "difficulty": {"keep": "threshold", "minimum": -0.5},
        }
        for number in range(8)
    ]
    benchmarks = [{"name": f"{number:02d}{'b' * 14}", "path": "b.jsonl"} for number in range(16)]
    filters = {
        "format": {"minTokens": 1, "maxTokens": 8000},
        "duplicates": {"threshold": 0.95},
        "solvability": {"model": "solver"},
        "contamination": {"benchmarks": benchmarks},
        "difficulty": {"scorer": "train", "base": "solver", "solver": "solver", "samples": 4},
    }
    return builders.make_run(models=models, generators=generators, filters=filters).spec


def widest_stage(name: str, state: StageState) -> StageStatus:
    """Return a stage that says as much as one may."""
    key = ArtifactKeys(UID, name, "f" * 64).stage_manifest("e" * 64)
    return make_stage(
        name,
        state,
        job="j" * 63,
        artifact=Artifact(key=key, sha256="a" * 64, content="b" * 64)
        if state is StageState.SUCCEEDED
        else None,
        shards=Shards(total=1000, committed=ranges(set(range(0, 1000, 2))), running=500),
        rejected={f"reason-{number:02d}-{'r' * 20}": 10**8 for number in range(MAX_REASONS + 1)},
        failures=10**6,
        disruptions=10**6,
        counted=tuple(f"{number:08x}-000" for number in range(MAX_COUNTED)),
        progress=StageProgress(rows_total=10**8, activity="a" * 200, updated=NOW),
        finished=NOW,
        message=LONG,
    )


def widest_status(state: StageState) -> RunStatus:
    stages = tuple(widest_stage(node.name, state) for node in catalog.plan(widest_spec()).nodes)
    conditions = tuple(
        Condition(type=f"C{number}", status="True", reason="R" * 64, message=LONG, last_transition_time=NOW)
        for number in range(6)
    )
    return RunStatus(stages=stages, conditions=conditions, started=NOW, finished=NOW)


@pytest.mark.parametrize("state", [StageState.RUNNING, StageState.SUCCEEDED, StageState.FAILED])
def test_the_widest_status_fits_and_can_be_read_again(state: StageState) -> None:
    status = fit(widest_status(state))
    assert len(json.dumps(status.body(), separators=(",", ":"))) <= MAX_STATUS_BYTES
    assert RunStatus.model_validate(status.body()) == status


@pytest.mark.parametrize("state", [StageState.RUNNING, StageState.SUCCEEDED, StageState.FAILED])
def test_nothing_that_decides_is_left_out(state: StageState) -> None:
    before = widest_status(state)
    for old, new in zip(before.stages, fit(before).stages, strict=True):
        for name in ("name", "state", "attempt", "artifact", "failures", "disruptions"):
            assert getattr(old, name) == getattr(new, name)
        if not state.is_final:
            assert (new.job, new.order) == (old.job, old.order)
            assert len(new.counted) + new.counted_more == MAX_COUNTED


def test_a_status_that_fits_is_left_alone() -> None:
    status = RunStatus(stages=(make_stage(message="words", rejected={"language": 3}),))
    assert fit(status) is status


def test_a_run_has_fewer_stages_than_a_status_can_list() -> None:
    assert len(catalog.plan(widest_spec()).nodes) <= 200


@given(st.text(), st.integers(4, 2000))
def test_a_message_is_printable_on_one_line_and_bounded(text: str, limit: int) -> None:
    plain = message(text, limit)
    assert len(plain) <= limit
    assert plain.isprintable()
    assert message(plain, limit) == plain


@given(st.sets(st.integers(0, 1500)))
def test_ranges_say_exactly_which_indexes(numbers: set[int]) -> None:
    assert indexes(ranges(numbers)) == numbers


@pytest.mark.parametrize(
    ("text", "numbers"), [("", set()), ("3", {3}), ("0-2,5", {0, 1, 2, 5}), ("1,2", {1, 2}), ("7-7", {7})]
)
def test_the_ranges_of_kubernetes_are_read(text: str, numbers: set[int]) -> None:
    assert indexes(text) == numbers


def test_the_worst_ranges_of_a_thousand_shards_fit() -> None:
    pairs = ",".join(f"{first},{first + 1}" for first in range(0, 999, 3))
    assert Shards.model_validate({"total": 1000, "committed": pairs}).committed == pairs


@given(st.dictionaries(st.text(max_size=8), st.integers(1, 10**6), max_size=40))
def test_reasons_keep_their_sum(rejected: dict[str, int]) -> None:
    shown = rejected_by_reason(rejected)
    assert len(shown) <= MAX_REASONS + 1
    # A reason that a stage itself calls "other" may be among those that are added up.
    assert sum(shown.values()) == sum(rejected.values()) or "other" in rejected


def test_a_status_is_written_with_the_names_of_the_api_in_whole_seconds_and_without_defaults() -> None:
    moment = dt.datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    status = RunStatus(
        observed_generation=2, started=moment, stages=(StageStatus(name="a", state=StageState.WAITING),)
    )
    assert status.body() == {
        "observedGeneration": 2,
        "started": "2026-03-01T10:00:00Z",
        "stages": [{"name": "a", "state": "Waiting"}],
    }


def test_a_stage_that_is_not_listed_is_waiting() -> None:
    assert RunStatus().stage_of("clean-questions") == StageStatus(
        name="clean-questions", state=StageState.WAITING
    )


@pytest.mark.parametrize("body", [{"stages": [{"name": "a", "state": "Dreaming"}]}, {"newField": 1}])
def test_a_status_of_another_version_is_not_read_as_ours(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"state|newField"):
        RunStatus.model_validate(body)
