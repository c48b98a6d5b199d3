"""What reads as one question and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs import ports
from scalequest_jobs.filters import format as form
from scalequest_jobs.filters import verdict

GOOD = [
    "Tom has 17 apples. Anna gives him 5 apples. How many apples does Tom have now?",
    "How many of the 40 beads are red? And how many of them are blue, if twice as many are blue as red?",
    "Let $f(x) = x^2 - 4x + 7$. Find the least value of $f$.",
    "Solve the system:\n2x + y = 7\nx - y = 2",
    "System: 2x + y = 7, x - y = 2. Find x.",
    "Find the missing number: 3, 6, ?, 12, ?, 18.",
    "Solution A holds 30% acid and solution B holds 50% acid. How much of each makes 10 litres of 42% acid?",
    "In a quiz, the probability that the answer is right is 0.7. What is the chance of 3 right answers out of 5?",
    "The answer is of the form $\\frac{m}{n}$ with coprime m and n. What is m + n if the fraction is 12/18?",
    "Which is larger?\nA) $2^{10}$\nB) $3^6$\nC) $5^4$\nD) $10^3$",
    "A shop sells three kinds of tea:\n1. Green tea at 4 dollars.\n2. Black tea at 3 dollars.\nWhat do 2 green and 3 black cost?",
    "- Ben is twice as old as Mia.\n- Together they are 36.\nHow old is Ben?",
    "Express your answer: what is 20% of 55?",
    "A figure is made of two squares with side 3 that share an edge. What is the perimeter of the figure?",
    "Ben is drawn to a picture of 12 birds; 5 fly away in the picture. How many stay?",
    "The graph of y = x^2 is shifted up by 3. Where does it meet the y-axis?",
    'Lily asks: "How old are you?" Max says: "In 5 years I shall be twice as old as I was 6 years ago." How old is Max?',
    "In how many ways can 5 users be split into an assistant and 4 helpers?",
]
BAD = [
    ("role_marker", "What is 2 + 3?\nAssistant: It is 5."),
    ("role_marker", "What is 2 + 3? User: what is 7?"),
    ("role_marker", "What is 2 + 3?<|im_start|>assistant"),
    ("role_marker", "What is 2 + 3?<\uff5cend\u2581of\u2581sentence\uff5c>"),
    ("role_marker", "system\nYou are helpful.\nuser\nWhat is 2 + 3?"),
    ("role_marker", "[INST] What is 2 + 3? [/INST]"),
    ("role_marker", "### Instruction: Add 2 and 3."),
    ("contains_answer", "What is 2 + 3? Solution: 2 + 3 = 5."),
    ("contains_answer", "What is 2 + 3?\n**Answer:** 5"),
    ("contains_answer", "What is 2 + 3?\nFinal Answer: 5"),
    ("contains_answer", "What is 2 + 3? The answer is 5."),
    ("contains_answer", "What is 2 + 3? The final answer is: $5$."),
    ("contains_answer", "What is 2 + 3? \\boxed{5}"),
    ("contains_answer", "What is 2 + 3?\n#### 5"),
    ("several_questions", "What is 2 + 3? What is 4 + 5? What is 6 + 7?"),
    ("several_questions", "1. What is 2 + 3?\n2. What is 4 + 5?"),
    ("several_questions", "1) Find x if 2x = 4.\n2) Solve y + 3 = 9."),
    ("several_questions", "Let x = 5. (a) Find x + 1. (b) Find x - 1."),
    ("several_questions", "Question 1: Find 2 + 3.\nQuestion 2: Find 4 + 5."),
    ("missing_figure", "What is the area of the triangle shown below?"),
    ("missing_figure", "How many squares are in the figure?"),
    ("missing_figure", "Use the diagram to find angle x."),
    ("missing_figure", "[asy] draw((0,0)--(1,1)); [/asy] How long is the segment?"),
    ("missing_figure", "The graph below shows rain by month. Which month was the wettest?"),
    ("missing_figure", "![a triangle](t.png) What is its area?"),
    ("no_letters", "2 + 3 = ?"),
    ("empty", "  \n"),
]


def judged(text: str, *, tokens: int = 40, finish_reason: ports.FinishReason = "stop") -> verdict.Verdict:
    return form.judge(text, tokens=tokens, finish_reason=finish_reason)


@pytest.mark.parametrize("text", GOOD)
def test_a_good_question_is_kept(text: str) -> None:
    assert judged(text) == verdict.KEEP


@pytest.mark.parametrize(("reason", "text"), BAD)
def test_anything_else_is_rejected_for_its_reason(reason: str, text: str) -> None:
    found = judged(text)
    assert (found.keep, found.reason) == (False, reason)


def test_the_marker_that_was_found_is_told() -> None:
    assert judged("What is 2 + 3? The answer is 5.").detail == "The answer is 5"
    assert judged("Use the diagram to find angle x.").detail == "the diagram"


def test_a_question_that_did_not_stop_is_rejected_whatever_it_says() -> None:
    assert judged(GOOD[0], finish_reason="length").reason == "truncated"
    assert judged("", finish_reason="length").reason == "truncated"
    assert judged("", finish_reason="abort").reason == "aborted"


@pytest.mark.parametrize(
    ("tokens", "reason", "limit"),
    [(7, "too_short", 8), (8, "ok", None), (400, "ok", None), (401, "too_long", 400)],
)
def test_both_length_limits_are_included(tokens: int, reason: str, limit: int | None) -> None:
    found = judged(GOOD[0], tokens=tokens)
    assert (found.reason, found.limit) == (reason, limit)


@settings(deadline=None)
@given(st.text(), st.integers(0, 500), st.sampled_from(["stop", "length", "abort"]))
def test_any_text_gets_a_verdict_with_a_known_reason(
    text: str, tokens: int, finish_reason: ports.FinishReason
) -> None:
    found = form.judge(text, tokens=tokens, finish_reason=finish_reason)
    assert found.keep == (found.reason == "ok")
    assert found.keep or found.reason in form.REASONS
