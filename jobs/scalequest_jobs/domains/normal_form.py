"""One spelling for answers that differ only in typesetting."""

import functools
import re
from dataclasses import dataclass

from scalequest_jobs.domains import units


@dataclass(frozen=True, kw_only=True)
class Form:
    """An answer in its normal spelling, and the unit that stood with it, if a known one."""

    text: str
    unit: str | None = None


_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)")
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u2018\u2019\u2032", "'"),
        **dict.fromkeys("\u00a0\u2009\u202f\u2007", " "),
        "\u00d7": "\\times ",
        "\u00b7": "\\cdot ",
        "\u22c5": "\\cdot ",
        "\u00f7": "\\div ",
        "\u03c0": "\\pi ",
        "\u221e": "\\infty ",
        "\u00b0": "^\\circ ",
        "\u2264": "\\leq ",
        "\u2265": "\\geq ",
        "\u2260": "\\neq ",
        "\u00b1": "\\pm ",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u20ac": "\\euro ",
    }
)


def _rules(*pairs: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_GROUP = r"\{([^{}]*)\}"
_TYPESETTING = _rules(
    (r"\\(?:left|right|bigg?|Bigg?|bigl|bigr|displaystyle|textstyle|limits|quad|qquad)(?![A-Za-z])", " "),
    (r"(?<!\\)\\[!,;:> ]|~|\\\\$", " "),
    (
        r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox|operatorname|boldsymbol|bm)\s*"
        + _GROUP,
        r" \1 ",
    ),
    (r"\\(?:[dtc]frac)(?![A-Za-z])", r"\\frac"),
    (r"\\(?:le|leqslant)(?![A-Za-z])", r"\\leq"),
    (r"\\(?:ge|geqslant)(?![A-Za-z])", r"\\geq"),
    (r"\\ne(?![A-Za-z])", r"\\neq"),
    (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
    (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
    (r"(?<=\d)\{,\}(?=\d{3})", ","),
    (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
    (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
    (r"\\sqrt\s*(\d)(?!\d)", r"\\sqrt{\1}"),
)
_MARKS = _rules(
    (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree", " degrees"),
    (r"\\?%", " percent"),
    (r"^(-?)\s*(?:\\\$|\$|USD\b)\s*(.*)$", r"\1\2 dollars"),
    (r"^(-?)\s*\\(?:euro|EUR)\s*(.*)$", r"\1\2 euros"),
    (r"\\euro", " euros"),
    (r"(dollars|euros|percent)(?:\s+\1)+$", r"\1"),
)
_TYPESET = re.compile(r"[\\~]|\{,\}")
_MARKED = re.compile(r"[\\%$]|USD|dollars|euros|percent")
_NUMBERS = _rules(
    (r"(?<![\d.,(\[])(?<!\\\{)(\d{1,3})((?:,\d{3})+)(?![\d,])", ""),
    (r"(?<![\d.])(\d{1,3})((?: \d{3})+)(?![\d ])", ""),
    (r"(?<![\d\w.])\.(?=\d)", "0."),
    (r"(\d)\.0+(?!\d)", r"\1"),
    (r"(\.\d*?[1-9])0+(?!\d)", r"\1"),
)
_MIXED_NUMBER = re.compile(r"(?<![\d./])(\d+) (\d+) ?/ ?(\d+)(?![\d/])")
_SPACES = _rules(
    (r"\s+", " "),
    (r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])", ""),
    (r"(?<=\d) (?=[A-Za-z](?![A-Za-z]))", ""),
)
_SHORT_GROUP = re.compile(r"(?<=[\^_])\{(\w)\}")
_LIST_WORD = re.compile(r"(?<=[\w})]) (?:and|or) (?=[\w\\({-])")
_CHOICE = re.compile(r"\(([A-Za-z])\)")
_PHRASE = re.compile(r"[A-Za-z][A-Za-z ']+")
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"))


def of(answer: str) -> Form:
    r"""Return the normal form of a final answer; never raises.

    Evened out: spaces, math delimiters and sizes, `\text{}`, kinds of fractions, currency, percent and
    degree signs, units and nouns behind a number, thousands separators, trailing zeros, "and" and "or"
    between values, letters of a choice, capitals of a phrase. A percent sign is a unit: 50% is 50.
    """
    if _INTEGER.fullmatch(answer):
        return Form(text=answer)
    return _of(answer)


@functools.lru_cache(maxsize=16384)
def _of(answer: str) -> Form:
    text = _undelimited(answer.translate(_CHARACTERS).strip())
    if _TYPESET.search(text):
        text = _undelimited(_apply(_TYPESETTING, text).strip())
    if _MARKED.search(text):
        text = _apply(_MARKS, text).strip()
    text, unit = units.split(_apply(_SPACES[:1], text).strip())
    text = _apply(_SPACES, _numbers(_LIST_WORD.sub(",", text))).strip()
    text = _SHORT_GROUP.sub(r"\1", text)
    if choice := _CHOICE.fullmatch(text):
        text = choice[1]
    if _PHRASE.fullmatch(text):
        text = text.casefold()
    return Form(text=text, unit=unit)


def _apply(rules: tuple[tuple[re.Pattern[str], str], ...], text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def _numbers(text: str) -> str:
    text = _MIXED_NUMBER.sub(r"\1\\frac{\2}{\3}", text)
    for pattern, _ in _NUMBERS[:2]:
        text = pattern.sub(lambda found: found[1] + re.sub(r"[, ]", "", found[2]), text)
    return _apply(_NUMBERS[2:], text)


def _undelimited(text: str) -> str:
    text = text.rstrip(" .;,")
    for opening, closing in _DELIMITERS:
        inside = text[len(opening) : len(text) - len(closing)]
        is_pair = (
            len(text) > len(opening) + len(closing) - 1
            and text.startswith(opening)
            and text.endswith(closing)
        )
        if is_pair and opening not in inside and not inside.endswith("\\"):
            text = inside.strip().rstrip(" .;,")
    return text
