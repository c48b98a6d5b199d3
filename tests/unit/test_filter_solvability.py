"""What a judge concluded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs.filters import solvability

YES = [
    "Yes",
    "yes.",
    "**Yes**",
    "The conclusion is: YES!",
    "No number is missing, and 3 + 4 = 7. Yes.",
    "At first I thought No. But the price is given, so: Yes",
    r"\boxed{Yes}",
    "Answer: _yes_",
    "Yes, there is no contradiction in it.",
    "Yes. The answer to part No. 5 is 12.",
    "Yes, and no-one is left out.",
    "Is it solvable, yes or no? Yes",
    "Yes: nothing is unknown; the eyes of the note say so.",
    "Conclude with Yes or No.\nYes",
    "Yes\n\nEvery condition is stated and there are no further unknowns",
]
NO = [
    "No",
    "**No**.",
    "no",
    "Yes, it is mathematics. Yesterday's price is missing, though. No.",
    "Yes... wait. No",
    "So the final verdict is No, because the price is missing.",
    "No the price is missing.",
    "No, it is not a problem of mathematics",
    "Is it solvable (Yes/No)? No",
    "The verdict: 'No'",
]
NEITHER = [
    "",
    "The eyes of yesterday know nothing.",
    "See problem No. 5 and no. 7.",
    "There is no solution in sight",
    "Answer with yes or no.",
    "a no-go and a yes-man",
    "No\u00ebl is here",
    "Maybe",
]


@pytest.mark.parametrize("text", YES)
def test_a_final_yes_keeps_the_question(text: str) -> None:
    found = solvability.judge(text, finish_reason="stop")
    assert (found.keep, found.reason) == (True, "ok")


@pytest.mark.parametrize("text", NO)
def test_a_final_no_rejects_the_question(text: str) -> None:
    found = solvability.judge(text, finish_reason="stop")
    assert (found.keep, found.reason) == (False, "unsolvable")


@pytest.mark.parametrize("text", NEITHER)
def test_a_text_without_a_standalone_verdict_is_unparsed(text: str) -> None:
    found = solvability.judge(text, finish_reason="stop")
    assert (found.keep, found.reason) == (False, "unparsed")


@pytest.mark.parametrize("text", ["Yes", "No", ""])
def test_a_truncated_answer_has_not_concluded(text: str) -> None:
    assert solvability.judge(text, finish_reason="length").reason == "truncated"


def test_an_aborted_request_is_neither_unparsed_nor_unsolvable() -> None:
    assert solvability.judge("", finish_reason="abort").reason == "aborted"


@settings(deadline=None)
@given(st.text())
def test_any_text_gets_a_known_reason(text: str) -> None:
    found = solvability.judge(text, finish_reason="stop")
    assert found.keep or found.reason in solvability.REASONS


@settings(deadline=None)
@given(st.text(), st.sampled_from(["Yes", "**yes**", "YES."]))
def test_what_stands_on_the_last_line_decides(before: str, last: str) -> None:
    assert solvability.conclusion(f"{before}\n\n{last}") == "yes"
