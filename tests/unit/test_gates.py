import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalequest_jobs import gates, ports

NAMES = ("Tom", "Ben", "Anna", "Mia", "Lily", "Eva", "Max", "Sam")
OBJECTS = ("apples", "pens", "coins", "books", "cards", "eggs")


def questions(
    count: int, seed: int, *, operands: Sequence[int] = range(1, 13), steps: Sequence[str] = ("buys", "loses")
) -> list[str]:
    """Word problems over small numbers; the operands of their steps come from `operands`."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        name, item = rng.choice(NAMES), rng.choice(OBJECTS)
        middle = " ".join(f"{name} {rng.choice(steps)} {rng.choice(operands)} {item}." for _ in range(2))
        made.append(f"{name} has {rng.randint(13, 40)} {item}. {middle} How many {item} are left?")
    return made


def measured(texts: Sequence[str], **changes: Any) -> gates.Gate:
    arguments: dict[str, Any] = {
        "finish_reasons": ["stop"] * len(texts),
        "token_counts": [len(text.split()) for text in texts],
        "seeds": questions(1200, 1),
        "before": None,
    }
    return gates.measure(texts, **{**arguments, **changes})


def test_a_second_sample_of_the_same_generator_passes() -> None:
    gate = measured(questions(256, 2), before=questions(256, 3))

    assert gates.warnings(gate) == []
    assert gate.from_before is not None
    assert gate.from_before.numbers < gates.NOISE_FACTOR * gate.from_before.numbers_noise


def test_preference_training_that_narrows_operands_is_flagged_by_name() -> None:
    """The measured case: operands 10 to 12 all but leave, everything else stays."""
    narrow = [*range(1, 10)] * 25 + [10]
    before = questions(256, 3)

    gate = measured(questions(256, 2, operands=narrow), before=before)

    said = gates.warnings(gate)
    assert any("the numbers of the questions drifted from the stage before" in line for line in said)
    named = [line for line in said if "numbers in 10-12 fell from" in line]
    assert len(named) == 1
    assert "in the stage before" in named[0]
    assert gate.from_before is not None
    assert gate.from_before.numbers > gates.NOISE_FACTOR * gate.from_before.numbers_noise
    assert gate.from_before.words < gates.MIN_WORD_DRIFT


def test_a_generator_that_drops_a_kind_of_step_drifts_in_wording_not_in_numbers() -> None:
    gate = measured(questions(256, 2, steps=("buys",)), before=questions(256, 3))

    said = gates.warnings(gate)
    assert any("the wording of the questions drifted from the stage before" in line for line in said)
    assert not any("numbers" in line for line in said)


@pytest.mark.parametrize("count", [64, 128, 512])
def test_chance_alone_is_not_drift_at_any_sample_size(count: int) -> None:
    assert gates.warnings(measured(questions(count, 2), before=questions(count, 3))) == []


@pytest.mark.parametrize(
    ("stopped", "expected"),
    [(98, []), (97, ["only 97.0% of questions end by themselves, expected 98% or more"])],
)
def test_two_in_a_hundred_may_run_on(stopped: int, expected: list[str]) -> None:
    reasons = ["stop"] * stopped + ["length"] * (100 - stopped)

    gate = measured(questions(100, 2), finish_reasons=reasons)

    assert gate.stop_rate == pytest.approx(stopped / 100)
    assert gates.warnings(gate) == expected


def test_duplicates_and_seed_copies_are_counted_without_case_and_spacing() -> None:
    seeds = questions(1200, 1)
    fresh = questions(80, 2)
    texts = [*fresh, *(text.upper() for text in fresh[:10]), *(f" {seed}  " for seed in seeds[:10])]

    gate = measured(texts, seeds=seeds)

    assert gate.self_duplicate_rate == pytest.approx(0.1)
    assert gate.seed_copy_rate == pytest.approx(0.1)
    said = gates.warnings(gate)
    assert any("10.0% of questions repeat an earlier one" in line for line in said)
    assert any("10.0% of questions copy a seed" in line for line in said)


@pytest.mark.parametrize("factor", [1 / 3, 3])
def test_questions_of_quite_another_length_are_flagged(factor: float) -> None:
    texts = [
        " ".join(itertools.islice(itertools.cycle(text.split()), int(20 * factor)))
        for text in questions(100, 2)
    ]

    said = gates.warnings(measured(texts))

    assert any("words, the median seed" in line for line in said)


def test_a_generator_that_says_one_thing_varies_less_than_its_seeds() -> None:
    texts = [f"Tom has {number} pens. How many pens are left?" for number in range(100)]

    gate = measured(texts)

    assert gate.from_seeds.distinct_ratio < gates.MIN_DISTINCT_RATIO
    assert any("vary less than the seeds" in line for line in gates.warnings(gate))


def test_numbers_are_shared_out_by_their_value() -> None:
    text = "0 1 9 10 12 13 20 21 50 51 100 101 1,200 3.5 and 123456789"

    gate = measured([text, "no number"])

    assert gate.numbers["10-12"] == gate.numbers["13-20"] == pytest.approx(2 / 16)
    assert gate.numbers["3"] == pytest.approx(1 / 16)
    assert gate.numbers[">100"] == pytest.approx(3 / 16)
    assert gate.numbers["none"] == pytest.approx(1 / 16)
    assert sum(gate.numbers.values()) == pytest.approx(1)


def test_sets_with_nothing_in_common_are_one_bit_apart() -> None:
    gate = measured(["a b c", "b c a"], seeds=["x y z", "z y x", "y z x", "x z y"])

    assert gate.from_seeds.words == pytest.approx(1)
    assert gate.from_seeds.numbers == 0
    assert gate.from_seeds.size == 2


def test_a_gate_is_plain_json_and_the_same_every_time() -> None:
    texts, before = questions(64, 2), questions(64, 3)

    first, second = (measured(texts, before=before).to_json() for _ in range(2))

    assert json.loads(json.dumps(first)) == second == first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_counts": [1]}, "2 texts, 2 finish reasons and 1 token counts"),
        ({"seeds": []}, "the seeds of a gate is empty"),
        ({"before": []}, "the sample before of a gate is empty"),
    ],
)
def test_sets_that_cannot_be_measured_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ports.BadInputError, match=message):
        measured(["one", "two"], **changes)


@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=8),
    st.lists(st.text(max_size=30), min_size=1, max_size=8),
)
def test_any_text_is_measured(texts: list[str], seeds: list[str]) -> None:
    gate = measured(texts, seeds=seeds, before=seeds)

    for drift in (gate.from_seeds, gate.from_before):
        assert drift is not None
        assert 0 <= drift.words <= 1
        assert 0 <= drift.numbers <= 1
    json.dumps(gate.to_json(), allow_nan=False)
    gates.warnings(gate)
