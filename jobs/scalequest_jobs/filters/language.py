"""Is a question written in a wanted language?"""

import copy
import functools
import re
import unicodedata
from collections.abc import Collection
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.filters import verdict

REASONS = frozenset({"language", "script"})

# With fewer letters than this the identifier guesses ("Solve for" looks Norwegian): scripts decide.
MINIMUM_LETTERS = 15
# Below 0.5 another language is at least as likely; good English questions measure 0.7 and more.
MINIMUM_SCORE = 0.5

# The model knows 140 labels, many of which no generator writes; they draw probability from English.
_CANDIDATES = frozenset(
    re.findall(
        r"\w+",
        "ar ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk sl sv th tl tr uk vi zh",
    )
)
_SCRIPTS: dict[str, frozenset[str]] = {
    "ar": frozenset({"ARABIC"}),
    "bg": frozenset({"CYRILLIC"}),
    "bn": frozenset({"BENGALI"}),
    "el": frozenset({"GREEK"}),
    "fa": frozenset({"ARABIC"}),
    "he": frozenset({"HEBREW"}),
    "hi": frozenset({"DEVANAGARI"}),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    "ko": frozenset({"HANGUL", "CJK"}),
    "ru": frozenset({"CYRILLIC"}),
    "sr": frozenset({"CYRILLIC"}),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
    "th": frozenset({"THAI"}),
    "uk": frozenset({"CYRILLIC"}),
    "ur": frozenset({"ARABIC"}),
    "zh": frozenset({"CJK"}),
}
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[^{}]{0,40}\}|\[/?asy\]")
_COMMAND = re.compile(r"\\[A-Za-z]+")
# Numbers with what sticks to them ("3x", "5cm"), then lone letters: names of variables, not words.
_NUMBER = re.compile(r"[^\W_]*\d\w*")
_NO_LETTER = re.compile(r"[\W_]+")
_LONE_LETTER = re.compile(r"(?<![^\W_])[^\W\d_](?![^\W_])")
_GREEK_WORD = 3


def judge(
    text: str,
    *,
    keep: Collection[str] = ("en",),
    minimum_score: float = MINIMUM_SCORE,
    minimum_letters: int = MINIMUM_LETTERS,
) -> verdict.Verdict:
    """Keep a question that is written in one of the wanted languages.

    LaTeX commands, numbers and single letters are left out first. Symbols, typographic quotes, Greek
    letters in formulas and accents in names are no reason to reject.

    Args:
        text: the question.
        keep: ISO 639-1 codes.
        minimum_score: the least probability of the wanted languages together, 0 to 1.
        minimum_letters: with fewer letters left only the script decides.

    Returns:
        Keep, or a rejection: "script" (a letter of a script that no wanted language uses; `detail`
        names it) or "language" (`detail` is the most likely code). `score` is the probability of the
        wanted languages, `limit` is `minimum_score`; both are None where the script decided. `detail`
        of a kept question is the most likely of the wanted codes, empty where none was detected.

    Raises:
        BadParametersError: `keep` is empty or holds a code that the model does not know.

    Source: ScaleQuest keeps text whose code points are all below 128, which rejects pi, degree signs
        and curly quotes and keeps unaccented Spanish; py3langid makes neither mistake.
    """
    wanted = frozenset(keep)
    identifier = _identifier(wanted)
    if script := foreign_script(text, keep=wanted):
        return verdict.Verdict(keep=False, reason="script", detail=script)
    words = prose(text)
    if sum(map(str.isalpha, words)) < minimum_letters:
        return verdict.KEEP
    ranked: list[tuple[str, float]] = identifier.rank(words)
    score = min(1.0, sum(probability for code, probability in ranked if code in wanted))
    if score < minimum_score:
        return verdict.Verdict(
            keep=False, reason="language", score=score, limit=minimum_score, detail=ranked[0][0]
        )
    detected = next(code for code, _ in ranked if code in wanted)
    return verdict.Verdict(keep=True, score=score, limit=minimum_score, detail=detected)


def prose(text: str) -> str:
    """Return the words of a text: no LaTeX commands, numbers, symbols or single letters."""
    text = _COMMAND.sub(" ", _ENVIRONMENT.sub(" ", text))
    text = _NO_LETTER.sub(" ", _NUMBER.sub(" ", text))
    return " ".join(_LONE_LETTER.sub(" ", text).split())


def foreign_script(text: str, *, keep: Collection[str]) -> str | None:
    """Return the Unicode name of the first script that no wanted language uses, or None.

    Latin is always allowed (variables), and so are Greek letters that form no word.
    """
    if text.isascii():
        return None
    allowed = frozenset({"LATIN"}).union(*(_SCRIPTS.get(code, frozenset()) for code in keep))
    greek = 0
    for character in text:
        script = _script(character)
        greek = greek + 1 if script == "GREEK" else 0
        if script == "GREEK" and greek < _GREEK_WORD:
            continue
        if script is not None and script not in allowed:
            return script
    return None


@functools.lru_cache(maxsize=4096)
def _script(character: str) -> str | None:
    """Return the script of a letter, None for anything else and for letter-like symbols."""
    # NFKC turns the alef of set theory into a Hebrew letter, hence the block is left as it is.
    if character.isascii() or "\u2100" <= character <= "\u214f":
        return "LATIN" if character.isascii() and character.isalpha() else None
    folded = unicodedata.normalize("NFKC", character)[:1]
    if not folded.isalpha() or unicodedata.category(folded) == "Lm":
        return None
    return unicodedata.name(folded, "UNKNOWN").split()[0]


@functools.lru_cache(maxsize=8)
def _identifier(keep: frozenset[str]) -> Any:
    """Return the identifier that chooses among the wanted languages and the likely others."""
    if not keep:
        raise ports.BadParametersError(
            "filters.language.keep is empty: expected at least one ISO 639-1 code, such as 'en'"
        )
    model = _model()
    unknown = keep.difference(model.labels)
    if unknown:
        raise ports.BadParametersError(
            f"filters.language.keep has the unknown codes {sorted(unknown)}: expected some of {sorted(model.labels)}"
        )
    # Restricting replaces a copy's arrays and leaves the loaded ones alone.
    identifier = copy.copy(model)
    identifier.set_languages(sorted(_CANDIDATES | keep))
    return identifier


@functools.lru_cache(maxsize=1)
def _model() -> Any:
    """Load the model, once for the process (about one second)."""
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
