"""Which questions say the same thing."""

import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs.filters import duplicates, verdict

QUESTION = "Tom has 17 apples and 4 pears in a basket, and Anna gives him 5 more apples. How many apples does Tom have now?"
WORDS = "Tom Anna has gives 2 3 5 apples pears how many are left now".split()  # noqa: SIM905 - words read better
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=0, max_size=9).map(" ".join), max_size=14)


def oracle(texts: Sequence[str], ids: Sequence[str], threshold: float, ngram: int) -> list[tuple[str, int]]:
    """Compare every pair; return each row's smallest id and the size of its cluster."""
    sets = [set(duplicates.shingles_of(text, ngram=ngram)) for text in texts]
    groups = [{row} for row in range(len(texts))]
    for a in range(len(texts)):
        for b in range(a):
            shared = len(sets[a] & sets[b])
            if shared / len(sets[a] | sets[b]) >= threshold and groups[a] is not groups[b]:
                groups[b] |= groups[a]
                for row in groups[a]:
                    groups[row] = groups[b]
    return [(min(ids[row] for row in group), len(group)) for group in groups]


def named(texts: Sequence[str]) -> list[str]:
    return [f"q{row:06}" for row in range(len(texts))]


def word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 8)))


def corpus(rng: random.Random, size: int, shared: int = 0) -> list[str]:
    """Return pairs of near duplicates; `shared` words stand at the start of all of them."""
    start = " ".join(word(rng) for _ in range(shared))
    texts: list[str] = []
    while len(texts) < size:
        words = [word(rng) for _ in range(20)]
        texts += [f"{start} {' '.join(words)}", f"{start} {' '.join(words[:-1])} {word(rng)}"]
    return texts


@pytest.mark.parametrize(
    "other",
    [
        QUESTION.upper(),
        f"  {QUESTION.replace(' ', '   ')}\n",
        QUESTION.replace("'", "\u2019"),
        QUESTION.replace("?", " ?"),
        QUESTION.replace(" ", "\u00a0"),
    ],
)
def test_spelling_alone_makes_no_new_question(other: str) -> None:
    assert duplicates.question_id(other) == duplicates.question_id(QUESTION)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("What is 2 + 3?", "What is 2 - 3?"),
        ("What is 2\u00b3?", "What is 23?"),
        ("What is 2\u00b3?", "What is 2\u2083?"),
        ("What is 1\u00bd?", "What is 11/2?"),
        ("What is 1.5 times 2?", "What is 15 times 2?"),
        ("Find x!", "Find x"),
    ],
)
def test_what_changes_the_question_changes_its_id(left: str, right: str) -> None:
    assert duplicates.question_id(left) != duplicates.question_id(right)


def test_typographic_forms_of_the_same_formula_have_one_id() -> None:
    assert duplicates.question_id("Is 2\u00b3 \u2212 1 prime?") == duplicates.question_id("Is 2^3 - 1 prime?")


def test_an_id_is_sixteen_hex_digits_and_stays_what_it_was() -> None:
    assert duplicates.question_id("What is 2 + 3?") == "d1ecc9f06d04f509"


@settings(deadline=None)
@given(st.text())
def test_any_text_has_an_id_and_normalising_is_stable(text: str) -> None:
    assert len(duplicates.question_id(text)) == 16
    once = duplicates.normalise(text)
    assert duplicates.tokens(once) == duplicates.tokens(text)


def test_of_equal_questions_the_smallest_sample_is_kept_in_any_order() -> None:
    found = duplicates.judge_exact(["q", "p", "q", "q"], ["s3", "s0", "s1", "s2"])
    assert [x.keep for x in found] == [False, True, True, False]
    assert found[0] == verdict.Verdict(keep=False, reason="exact_duplicate", score=1.0, detail="s1")


def test_a_small_edit_is_a_near_duplicate_and_another_question_is_not() -> None:
    texts = [
        QUESTION,
        QUESTION.replace("pears", "plums"),
        "What is the area of a circle with radius 7 and no hole?",
    ]
    found = duplicates.clusters(texts, ["b", "a", "c"])
    assert [x.representative for x in found] == ["a", "a", "c"]
    assert [x.size for x in found] == [2, 2, 1]
    assert 0.7 <= found[0].similarity < 1
    judged = duplicates.judge_near("b", found[0])
    assert (judged.reason, judged.detail, judged.limit) == ("near_duplicate", "a", 0.7)
    assert duplicates.judge_near("a", found[1]) == verdict.KEEP


def test_a_similarity_that_just_reaches_the_threshold_is_a_link() -> None:
    texts = ["tom has apples", "tom has apples and red pears", "tom has apples and many red pears"]
    found = duplicates.clusters(texts, ["a", "b", "c"], threshold=0.5, ngram=1, permutations=512)
    assert [(x.representative, x.size) for x in found] == [("a", 3), ("a", 3), ("a", 3)]
    assert (found[1].similarity, found[2].similarity) == (3 / 6, 3 / 7)


def test_numbers_and_operators_are_words() -> None:
    assert duplicates.tokens("What is 1,234.5 + x^2 - \\pi?") == [
        "what",
        "is",
        "1234.5",
        "+",
        "x",
        "^",
        "2",
        "-",
        "\\pi",
    ]
    found = duplicates.clusters(["What is 2 + 3?", "What is 2 - 3?", "What is 2 + 4?"], ["a", "b", "c"])
    assert [x.size for x in found] == [1, 1, 1]


@settings(deadline=None)
@given(TEXTS, st.sampled_from([0.5, 0.7, 1.0]), st.sampled_from([1, 3]))
def test_clusters_are_those_of_comparing_every_pair(texts: list[str], threshold: float, ngram: int) -> None:
    found = duplicates.clusters(texts, named(texts), threshold=threshold, ngram=ngram, permutations=512)
    expected = oracle(texts, named(texts), threshold, ngram)
    # MinHash may miss a pair near the threshold; it never invents one.
    assert len({x.representative for x in found}) >= len(set(expected))
    if threshold == 1.0:
        assert [(x.representative, x.size) for x in found] == expected


@settings(deadline=None)
@given(TEXTS, st.randoms())
def test_the_order_of_the_rows_changes_nothing(texts: list[str], rng: random.Random) -> None:
    ids = named(texts)
    order = rng.sample(range(len(texts)), len(texts))
    found = duplicates.clusters(texts, ids)
    shuffled = duplicates.clusters([texts[row] for row in order], [ids[row] for row in order])
    assert [found[row] for row in order] == shuffled


@pytest.mark.parametrize("shared", [0, 20, 60])
def test_near_duplicates_are_found_among_texts_that_share_a_beginning(shared: int) -> None:
    texts = corpus(random.Random(7), 600, shared)
    ids = named(texts)
    found = duplicates.clusters(texts, ids)
    assert [(x.representative, x.size) for x in found] == oracle(texts, ids, 0.7, 3)


def test_a_chain_of_edits_is_one_cluster_and_tells_the_similarity_to_its_first() -> None:
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(words[start : start + 40]) for start in range(0, 21, 4)]
    found = duplicates.clusters(texts, named(texts))
    assert {x.representative for x in found} == {"q000000"}
    assert found[-1].similarity < 0.7 <= found[1].similarity


@pytest.mark.parametrize("kind", ["identical", "empty", "one number differs"])
def test_time_stays_linear_when_all_texts_look_alike(kind: str) -> None:
    text = {"identical": QUESTION, "empty": "", "one number differs": QUESTION + " Row {}."}[kind]
    texts = [text.format(row) for row in range(8000)]
    started = time.process_time()
    found = duplicates.clusters(texts, named(texts))
    assert time.process_time() - started < 30
    assert {x.representative for x in found} == {"q000000"}


def test_no_rows_are_no_clusters() -> None:
    assert duplicates.clusters([], []) == []


@pytest.mark.parametrize(
    ("texts", "ids", "parameters", "message"),
    [
        (["a"], [], {}, "1 rows but 0 ids"),
        (["a", "b"], ["x", "x"], {}, "unique id"),
        (["a"], ["x"], {"threshold": 0.0}, "0 < threshold"),
        (["a"], ["x"], {"ngram": 0}, "ngram >= 1"),
        (["a"], ["x"], {"permutations": 0}, "permutations >= 1"),
    ],
)
def test_rows_or_parameters_that_do_not_fit_are_refused(
    texts: list[str], ids: list[str], parameters: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        duplicates.clusters(texts, ids, **parameters)
