"""The maths domain: its prompts and what is read from a rewriter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs import domains, ports
from scalequest_jobs.domains import base, math

QUESTION = "If {x} costs {question} dollars and 100% of {0} is \\frac{1}{2}, what is {{y}}?"
SOLVABILITY_SECTIONS = ["CREATED QUESTION:", "VERIFICATION AND MODIFICATION:", "FINAL QUESTION:"]
DIFFICULTY_STEPS = [
    "Step 1 #Methods List#:",
    "Step 2 #Plan#:",
    "Step 3 #Rewritten Problem#:",
    "Step 4 #Finally Rewritten Problem#:",
]
NEW = "Lily has 4 pens. She buys 3 more. How many pens does she have?"


def places(prompt: str, labels: list[str]) -> list[int]:
    return [prompt.find(label) for label in labels]


def test_solvability_checks_and_repairs_and_difficulty_evolves() -> None:
    repair = math.MATH.rewrite_prompt("solvability", QUESTION)
    evolve = math.MATH.rewrite_prompt("difficulty", QUESTION)
    assert -1 not in places(repair, SOLVABILITY_SECTIONS)
    assert places(repair, SOLVABILITY_SECTIONS) == sorted(places(repair, SOLVABILITY_SECTIONS))
    assert -1 not in places(evolve, DIFFICULTY_STEPS)
    assert places(evolve, DIFFICULTY_STEPS) == sorted(places(evolve, DIFFICULTY_STEPS))
    assert set(places(repair, DIFFICULTY_STEPS)) == set(places(evolve, SOLVABILITY_SECTIONS)) == {-1}
    assert "teacher" in repair
    assert "harder" in evolve


@pytest.mark.parametrize("direction", ["solvability", "difficulty"])
def test_a_rewrite_prompt_ends_with_the_original_question(direction: base.Direction) -> None:
    assert math.MATH.rewrite_prompt(direction, QUESTION).endswith(f"\nORIGINAL QUESTION:\n{QUESTION}")


def test_every_prompt_holds_the_question_as_it_is() -> None:
    assert QUESTION in math.MATH.solvability_prompt(QUESTION)
    assert math.MATH.response_prompt(QUESTION).startswith(f"{QUESTION}\n")
    assert "\\boxed{}" in math.MATH.response_prompt(QUESTION)


def test_the_judge_is_asked_for_a_last_word_of_yes_or_no() -> None:
    prompt = math.MATH.solvability_prompt(QUESTION)
    assert "Yes" in prompt
    assert "No" in prompt


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 'solvability' or 'difficulty'"):
        math.MATH.rewrite_prompt("sideways", QUESTION)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "marker",
    [
        "FINAL QUESTION:",
        "**FINAL QUESTION:**",
        "**FINAL QUESTION**:",
        "### FINAL QUESTION",
        "### Final Question:",
        "final question:",
        "  > **Final question:**",
        "# FINAL QUESTION #",
        "`FINAL QUESTION:`",
        "That settles it. FINAL QUESTION:",
    ],
)
@pytest.mark.parametrize("gap", [" ", "\n", "\n\n"])
def test_every_way_to_write_the_final_label_is_read(marker: str, gap: str) -> None:
    if not marker.rstrip("*`").endswith(":") and gap == " ":
        gap = "\n"
    output = f"CREATED QUESTION: a\nVERIFICATION AND MODIFICATION: b\n{marker}{gap}{NEW}\n"
    assert math.MATH.parse_rewrite("solvability", output) == base.Rewrite(text=NEW, status="ok")


@pytest.mark.parametrize(
    "marker",
    [
        "Step 4 #Finally Rewritten Problem#:",
        "**Step 4 #Finally Rewritten Problem#:**",
        "### Step 4: #Finally Rewritten Problem#:",
        "Step 4: Finally Rewritten Problem",
        "#Finally Rewritten Problem#:",
        "step 4 #finally rewritten problem#:",
    ],
)
def test_every_way_to_write_the_fourth_step_is_read(marker: str) -> None:
    output = f"Step 3 #Rewritten Problem#: old\n{marker}\n{NEW}"
    assert math.MATH.parse_rewrite("difficulty", output) == base.Rewrite(text=NEW, status="ok")


def test_what_follows_the_last_label_counts() -> None:
    output = f"FINAL QUESTION: first\nNo, that is wrong.\nFINAL QUESTION: {NEW}"
    assert math.MATH.parse_rewrite("solvability", output).text == NEW


def test_the_words_of_a_label_inside_a_question_are_no_label() -> None:
    text = "On the final question Tom scores 4 points. How many has he?"
    assert math.MATH.parse_rewrite("solvability", f"FINAL QUESTION: {text}").text == text
    assert math.MATH.parse_rewrite("solvability", f"FINAL QUESTION: a\n{text}").text == f"a\n{text}"


@pytest.mark.parametrize(
    "wrapped", ['"{}"', "'{}'", "**{}**", "\u201c{}\u201d", '**"{}"**', "\n\n{}\n\n", "`{}`"]
)
def test_quotes_and_emphasis_around_the_question_go(wrapped: str) -> None:
    output = f"FINAL QUESTION: {wrapped.format(NEW)}"
    assert math.MATH.parse_rewrite("solvability", output).text == NEW


def test_quotes_inside_the_question_stay() -> None:
    text = '"More" is 3 and "less" is 2. What is "more" less "less"'
    assert math.MATH.parse_rewrite("solvability", f"FINAL QUESTION: {text}?").text == f"{text}?"
    assert math.MATH.parse_rewrite("solvability", f"FINAL QUESTION: {text}").text == text


@pytest.mark.parametrize(
    "output", ["FINAL QUESTION:", "FINAL QUESTION: \n", 'FINAL QUESTION: ""', "FINAL QUESTION: ****"]
)
def test_a_label_with_nothing_behind_it_is_empty(output: str) -> None:
    assert math.MATH.parse_rewrite("solvability", output) == base.Rewrite(text=None, status="empty")


@pytest.mark.parametrize(
    "output", ["", NEW, "Step 3 #Rewritten Problem#: x", "Here is my final question for you"]
)
def test_an_output_without_its_label_has_no_marker(output: str) -> None:
    for direction in ("solvability", "difficulty"):
        assert math.MATH.parse_rewrite(direction, output) == base.Rewrite(text=None, status="no_marker")


@settings(deadline=None)
@given(
    st.text() | st.lists(st.sampled_from(["FINAL QUESTION", ":", "*", "\n", '"', "#", "x", " "])).map("".join)
)
def test_any_output_is_read_without_an_error(output: str) -> None:
    for direction in ("solvability", "difficulty"):
        found = math.MATH.parse_rewrite(direction, output)
        assert (found.status == "ok") == bool(found.text)


def test_templates_can_be_replaced_and_the_domain_stays_as_it_was() -> None:
    mine = math.MATH.with_prompts(solvability="Solvable? {question}", rewrite_difficulty="{question} harder")
    assert mine.solvability_prompt(QUESTION) == f"Solvable? {QUESTION}"
    assert mine.rewrite_prompt("difficulty", QUESTION) == f"{QUESTION} harder"
    assert mine.response_prompt(QUESTION) == math.MATH.response_prompt(QUESTION)
    assert math.MATH.solvability_prompt(QUESTION) != mine.solvability_prompt(QUESTION)


@pytest.mark.parametrize("name", ["solvability", "response", "rewrite_solvability", "rewrite_difficulty"])
def test_a_template_without_the_question_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"template '{name}' has no \{{question\}}"):
        math.MATH.with_prompts(**{name: "Solve this."})


def test_the_domain_reads_and_compares_answers() -> None:
    assert math.MATH.extract_answer(r"so \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert math.MATH.extract_answers(r"\boxed{1} \boxed{2}") == ("1", "2")
    assert math.MATH.normalise_answer("1,000") == "1000"
    assert math.MATH.same_answer("0.5", "1/2")
    assert not math.MATH.same_answer("0.5", "1/3")


def test_a_domain_is_found_by_its_name() -> None:
    assert domains.by_name("math") is math.MATH
    assert len({domain.name for domain in domains.DOMAINS}) == len(domains.DOMAINS)


def test_an_unknown_domain_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ports.BadParametersError, match="'chess' is unknown: expected one of math"):
        domains.by_name("chess")
