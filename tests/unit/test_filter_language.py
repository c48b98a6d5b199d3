"""Which questions are written in a wanted language."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalequest_jobs import ports
from scalequest_jobs.filters import language

ENGLISH = [
    "Tom has 17 apples. Anna gives him 5 apples. How many apples does Tom have now?",
    "Solve for x: 3x + 7 = 22.",
    "Find the value of sin 30\u00b0 + cos 60\u00b0.",
    "If a \u2264 b and b \u2264 c, what is the least value of a + b + c?",
    "What is 12% of 250?",
    "Compute 2^{10} - 24.",
    "Evaluate \\frac{3}{4} + \\sqrt{16}.",
    "Maria\u2019s garden is \u201crectangular\u201d: 12 m by 5 m. What is its area?",
    "Determine the number of positive divisors of 360.",
    "Simplify (x^2 - 9)/(x - 3).",
    "Let f(x) = 2x + 3. Find f(f(1)).",
    "A circle has radius 7. Use \u03c0 \u2248 22/7 to find its area.",
    "Jos\u00e9 and Zo\u00eb share 24 marbles in the ratio 1:2. How many does Zo\u00eb get?",
    "Calculate the mode of 3, 5, 5, 7.",
    "Factor x\u00b2 - 5x + 6.",
    "Matteo drives from Berlin to Hamburg at 90 km per hour. The distance is 288 km. How long does it take?",
    "What is the determinant of $\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}$?",
    "Paolo bought 3 kg of pasta for 6 euros. How much does 1 kg cost?",
    "In triangle ABC, angle A = 50 degrees and angle B = 60 degrees. Find angle C.",
    "Ravi pays 45 rupees for 3 laddoos. What do 7 laddoos cost?",
    "For which \u03b1 \u2208 \u211d does \u03b1\u00b2 = 2\u03b1 hold?",
    "The set \U0001d54a has \u2135\u2080 elements. Is it countable?",
    "A bag holds 5 red and 3 blue balls. Two are drawn without replacement. What is the probability of two reds?",
    "Xiao Ming walks 4 km in 50 minutes \u2014 how far does he walk in 2 hours?",
    "Chlo\u00e9's caf\u00e9 sells cr\u00eapes at \u20ac4.50 each. What do 6 of them cost?",
]
FOREIGN = [
    ("es", "Juan tiene 12 manzanas y compra 5 mas. Cuantas manzanas tiene ahora?"),
    ("es", "Calcula el area de un triangulo de base 6 y altura 4."),
    ("es", "\u00bfCu\u00e1ntos n\u00fameros primos hay entre 1 y 30?"),
    ("de", "Ein Zug faehrt mit 80 km pro Stunde. Wie weit kommt er in 3 Stunden?"),
    ("de", "Berechne die Summe der ersten 20 Zahlen."),
    ("de", "Wie viele Teiler hat die Zahl 60?"),
    ("fr", "Marie achete 3 livres a 12 euros chacun. Combien paie-t-elle en tout?"),
    ("fr", "Trouvez la valeur de x si 2x + 5 = 17."),
    ("it", "Quanti numeri primi ci sono tra 1 e 30?"),
    ("it", "Marco ha 15 caramelle e ne regala 4. Quante ne restano?"),
    ("pt", "Um carro percorre 240 km em 3 horas. Qual e a velocidade media?"),
    ("nl", "Hoeveel appels heeft Jan als hij er 12 koopt en 5 opeet?"),
    ("sv", "Hur manga bocker har Lisa om hon koper 3 till?"),
    ("pl", "Ile jest liczb pierwszych mniejszych od 50?"),
    ("tr", "Bir sayinin iki katinin 5 fazlasi 21 ise bu sayi kactir?"),
    ("vi", "Tim gia tri cua x biet 2x + 3 = 9, trong do x la so nguyen."),
    ("vi", "T\u00ecm gi\u00e1 tr\u1ecb c\u1ee7a x bi\u1ebft 2x + 3 = 9."),
    ("id", "Berapa jumlah bilangan prima kurang dari 20?"),
    ("ro", "Cate mere are Ana daca primeste inca 7?"),
    ("fi", "Kuinka monta omenaa Matilla on yhteensa?"),
    ("cs", "Kolik jablek ma Petr celkem?"),
    ("hu", "Hany alma van osszesen a kosarban?"),
]
OTHER_SCRIPTS = [
    ("CJK", "\u5c0f\u660e\u6709 17 \u4e2a\u82f9\u679c\u3002"),
    ("HIRAGANA", "\u308a\u3093\u3054\u306f 5 \u500b\u3067\u3059\u304b\uff1f"),
    ("HANGUL", "\uc0ac\uacfc\uac00 5 \uac1c \uc788\uc2b5\ub2c8\ub2e4."),
    ("CYRILLIC", "\u0421\u043a\u043e\u043b\u044c\u043a\u043e \u044f\u0431\u043b\u043e\u043a?"),
    ("ARABIC", "\u0643\u0645 \u062a\u0641\u0627\u062d\u0629\u061f"),
    ("DEVANAGARI", "\u0915\u093f\u0924\u0928\u0947 \u0938\u0947\u092c?"),
    ("GREEK", "\u03a0\u03cc\u03c3\u03b1 \u03bc\u03ae\u03bb\u03b1;"),
    ("CJK", "Tom has 5 apples (\u82f9\u679c). How many apples are left after he eats 2 of them?"),
]


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_kept_with_all_its_symbols(text: str) -> None:
    found = language.judge(text)
    assert found.keep, found


@pytest.mark.parametrize(("code", "text"), FOREIGN)
def test_another_language_is_rejected_even_without_accents(code: str, text: str) -> None:
    found = language.judge(text)
    assert (found.keep, found.reason) == (False, "language")
    assert found.score is not None
    assert found.score < 0.1
    assert found.limit == language.MINIMUM_SCORE


@pytest.mark.parametrize(("script", "text"), OTHER_SCRIPTS)
def test_another_script_is_rejected_and_named(script: str, text: str) -> None:
    found = language.judge(text)
    assert (found.keep, found.reason, found.detail) == (False, "script", script)


@pytest.mark.parametrize(("code", "text"), FOREIGN)
def test_a_wanted_language_is_kept(code: str, text: str) -> None:
    assert language.judge(text, keep=("en", code)).keep or code in {"vi", "cs", "sv", "ro"}


def test_a_wanted_script_is_kept() -> None:
    assert language.judge(OTHER_SCRIPTS[0][1], keep=("zh",)).keep
    assert language.judge(OTHER_SCRIPTS[3][1], keep=("ru",)).keep


def test_with_too_few_letters_the_script_decides() -> None:
    assert language.judge("2 + 2 = ?").score is None
    assert language.judge("Solve for x: 3x = 9").keep
    assert language.judge("\u89e3 3x = 9").reason == "script"


def test_the_most_likely_language_is_told() -> None:
    assert language.judge(FOREIGN[4][1]).detail == "de"


def test_formulas_are_no_words() -> None:
    assert language.prose("Find $\\sqrt{x^2} + 3y$ in \\begin{cases} a \\end{cases} 5cm") == "Find in"


@pytest.mark.parametrize("keep", [(), ("klingon",)])
def test_languages_that_cannot_be_kept_are_refused(keep: tuple[str, ...]) -> None:
    with pytest.raises(ports.BadParametersError, match=r"filters\.language\.keep .* expected"):
        language.judge("How many apples are there?", keep=keep)


def test_a_kept_question_tells_which_of_the_wanted_languages_it_is_in() -> None:
    french = "Combien de pommes est-ce que Thomas a maintenant, si Anne lui en donne cinq ?"
    assert language.judge(french, keep=("en", "fr")).detail == "fr"
    assert language.judge("How many apples does Tom have now?", keep=("en", "fr")).detail == "en"
    assert not language.judge("1 + 1 = ?", keep=("en", "fr")).detail


@settings(deadline=None)
@given(st.text())
def test_any_text_gets_a_known_reason(text: str) -> None:
    found = language.judge(text)
    assert found.keep or found.reason in language.REASONS
    assert found.score is None or 0 <= found.score <= 1
