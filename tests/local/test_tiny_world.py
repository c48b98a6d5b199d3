"""The tiny world: its grammar, its truth, its splits and its teacher."""

import json
import random
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_world import grammar, noise, rewriting, splits, teacher, truth

SEEDS = Path(teacher.__file__).parent / "seeds.jsonl"
SOLVABILITY = "Act as a teacher.\n\nORIGINAL QUESTION:\n"
DIFFICULTY = "Write #Finally Rewritten Problem#.\n\nORIGINAL QUESTION:\n"
UNSOLVABLE = "Tom has 3 pens. He loses 5 pens. How many pens does Tom have now?"
WEB = noise.Web(clean_share=0.1, operation_weights=(0.25, 0.25, 0.25, 0.25))

generators = st.integers(min_value=0).map(random.Random)
unchecked_problems = st.builds(noise.unchecked_problem, generators, st.integers(1, 4))
clean_problems = st.builds(noise.problem, generators, st.integers(1, 4))
web_questions = st.builds(noise.web_question, generators, st.just(WEB))
texts = web_questions | st.text() | st.text("TomEvahaslosesome 0123456789.?")


@pytest.fixture
def served() -> Iterator[teacher.TeacherServer]:
    with teacher.TeacherServer() as server:
        yield server


@pytest.fixture
def strict() -> Iterator[teacher.TeacherServer]:
    with teacher.TeacherServer(fail_every=2) as server:
        yield server


def ask(server: teacher.TeacherServer, body: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    connection = HTTPConnection(teacher.HOST, server.port, timeout=10)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def user(text: str) -> dict[str, Any]:
    return {"model": teacher.MODEL, "messages": [{"role": "user", "content": text}]}


@given(unchecked_problems)
def test_a_rendered_problem_is_parsed_back(problem: grammar.Problem) -> None:
    assert grammar.parse(grammar.render(problem)) == problem


@given(texts)
def test_whatever_is_parsed_renders_to_the_same_text(text: str) -> None:
    problem = grammar.parse(text)
    assert problem is None or grammar.render(problem) == text.strip()


@given(unchecked_problems)
def test_truth_is_the_answer_of_the_trace(problem: grammar.Problem) -> None:
    found = truth.trace(problem)
    assert truth.truth(grammar.render(problem)) == found.answer
    assert (found.answer is None) == (found.failure is not None)


@given(clean_problems)
def test_a_solution_is_right_and_another_number_is_not(problem: grammar.Problem) -> None:
    question, answer = grammar.render(problem), truth.trace(problem).answer
    assert answer is not None
    assert truth.is_right(question, truth.solution(problem))
    assert not truth.is_right(question, f"\\boxed{{{answer + 1}}}")


@given(unchecked_problems)
def test_a_judgement_says_yes_to_what_has_an_answer(problem: grammar.Problem) -> None:
    question = grammar.render(problem)
    verdict = "Yes" if truth.truth(question) is not None else "No"
    assert truth.judgement(question).endswith(f"Judgement: {verdict}")


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Tom has 3 pens.",
        "Tom has 3 pens. How many pens does Tom have now?",
        "Tom has 03 pens. He loses 1 pens. How many pens does Tom have now?",
        "Tom has 3 pens. She loses 1 pens. How many pens does Tom have now?",
        "Tom has 3 pens. He loses 1 eggs. How many pens does Tom have now?",
        "Tom has 3 pens. Tom gives him 1 pens. How many pens does Tom have now?",
        "Tom has 3 pens. He loses some pens. How many pens does Tom have now?",
        "Tom has 3 pens. He loses 1 pens. How many pens does Ben have now?",
        UNSOLVABLE,
        "Tom has 3 pens. He keeps only half of the pens. How many pens does Tom have now?",
        "Tom has 3 pens. He shares the pens among 0 friends. How many pens does each friend get?",
    ],
)
def test_a_question_with_a_flaw_has_no_answer(question: str) -> None:
    assert truth.truth(question) is None


@given(texts)
def test_a_solvability_rewrite_is_solvable(question: str) -> None:
    assert truth.truth(rewriting.solvable(question)) is not None


@given(texts)
def test_a_difficulty_rewrite_is_solvable(question: str) -> None:
    assert truth.truth(rewriting.harder(question)) is not None


@given(clean_problems)
def test_a_solvable_question_is_left_as_it_is(problem: grammar.Problem) -> None:
    question = grammar.render(problem)
    assert rewriting.solvable(question) == question


@given(clean_problems)
def test_a_difficulty_rewrite_takes_one_more_operation_up_to_the_limit(problem: grammar.Problem) -> None:
    rewrite = grammar.parse(rewriting.harder(grammar.render(problem)))
    assert rewrite is not None
    assert rewrite.num_operations == min(problem.num_operations + 1, rewriting.MAX_OPERATIONS)


def test_a_repair_keeps_the_text_up_to_the_failure_and_its_number() -> None:
    assert (
        rewriting.solvable(UNSOLVABLE)
        == "Tom has 3 pens. He buys 5 more pens. How many pens does Tom have now?"
    )


@given(texts, st.sampled_from([SOLVABILITY, DIFFICULTY]))
def test_the_same_question_gets_the_same_answer(question: str, prompt: str) -> None:
    assert teacher.answer(prompt + question) == teacher.answer(prompt + question)


def test_the_teacher_takes_what_follows_the_last_mark() -> None:
    decoy = "ORIGINAL QUESTION:\nan example\n\n"
    answer = teacher.answer(f"{decoy}{SOLVABILITY}{UNSOLVABLE}\n")
    assert answer.startswith(f"CREATED QUESTION:\n{UNSOLVABLE}\n")


def test_the_served_teacher_answers_with_the_sections_of_solvability(served: teacher.TeacherServer) -> None:
    status, _, body = ask(served, user(SOLVABILITY + UNSOLVABLE))
    text = body["choices"][0]["message"]["content"]
    assert status == 200
    assert [line for line in text.splitlines() if line.endswith(":")] == [
        "CREATED QUESTION:",
        "VERIFICATION AND MODIFICATION:",
        "FINAL QUESTION:",
    ]
    assert truth.truth(text.rpartition("FINAL QUESTION:")[2]) == 8


def test_the_served_teacher_answers_with_the_sections_of_difficulty(served: teacher.TeacherServer) -> None:
    status, _, body = ask(served, user(DIFFICULTY + UNSOLVABLE))
    text = body["choices"][0]["message"]["content"]
    assert status == 200
    assert [line for line in text.splitlines() if line.startswith("Step ")] == [
        "Step 1 #Methods List#:",
        "Step 2 #Plan#:",
        "Step 3 #Rewritten Problem#:",
        "Step 4 #Finally Rewritten Problem#:",
    ]
    assert truth.truth(text.rpartition("#:")[2]) is not None


def test_the_served_teacher_counts_words_as_tokens(served: teacher.TeacherServer) -> None:
    prompt = SOLVABILITY + UNSOLVABLE
    _, _, body = ask(served, user(prompt))
    text = body["choices"][0]["message"]["content"]
    assert body["usage"] == {
        "prompt_tokens": len(prompt.split()),
        "completion_tokens": len(text.split()),
        "total_tokens": len(prompt.split()) + len(text.split()),
    }


def test_every_nth_request_is_refused_and_may_be_sent_again(strict: teacher.TeacherServer) -> None:
    answers = [ask(strict, user(SOLVABILITY + UNSOLVABLE)) for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 429, 200, 429]
    assert answers[1][1]["Retry-After"] == "0"
    assert strict.counts == teacher.Counts(requests=4, refused=2)


@pytest.mark.parametrize(
    "body", [{}, [], {"messages": []}, user("no mark"), {"messages": [{"role": "user"}]}]
)
def test_a_request_against_the_contract_is_told_so(served: teacher.TeacherServer, body: Any) -> None:
    status, _, answer = ask(served, body)
    assert status == 400
    assert "user message" in answer["error"]["message"] or "ORIGINAL QUESTION" in answer["error"]["message"]


def test_the_models_list_tells_that_the_teacher_is_ready(served: teacher.TeacherServer) -> None:
    connection = HTTPConnection(teacher.HOST, served.port, timeout=10)
    connection.request("GET", "/v1/models")
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    assert (response.status, body["data"][0]["id"]) == (200, teacher.MODEL)


def test_the_seed_file_holds_the_seed_questions_with_their_answers() -> None:
    rows = [json.loads(line) for line in SEEDS.read_text().splitlines()]
    assert [row["question"] for row in rows] == splits.seed_questions()
    assert all(row["answer"] == str(truth.truth(row["question"])) for row in rows)


def test_no_seed_question_is_held_out() -> None:
    seeds, held_out = splits.seed_questions(), splits.held_out_questions()
    assert len(set(seeds)) == splits.NUM_SEEDS
    assert len(set(held_out)) == splits.NUM_HELD_OUT
    assert not set(seeds) & set(held_out)
