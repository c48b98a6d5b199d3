"""What a subject is to the stages: its prompts, its answers, and when two answers are the same."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

Direction = Literal["solvability", "difficulty"]
RewriteStatus = Literal["ok", "no_marker", "empty"]

PLACEHOLDER = "{question}"

_WRAPPING = " \t\r\n*_`>"
_QUOTES = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"))


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Four user messages; `{question}` stands for the question and is replaced literally."""

    solvability: str
    response: str
    rewrite_solvability: str
    rewrite_difficulty: str

    def __post_init__(self) -> None:
        """Refuse a template that would ask nothing: ValueError names it."""
        for field in fields(self):
            if PLACEHOLDER not in getattr(self, field.name):
                raise ValueError(
                    f"template '{field.name}' has no {PLACEHOLDER}: "
                    f"expected {PLACEHOLDER} where the question belongs"
                )


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """What a rewriter's output holds: the new question, or why there is none."""

    text: str | None
    status: RewriteStatus


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A subject. Everything in it is pure; stages never ask which one they serve.

    `final_markers` are regular expressions; what follows the last match in a rewriter's output is the
    rewritten question. `extract_answer` reads the final answer of a response (None without one),
    `extract_answers` every marked one, `normalise_answer` gives the cheap normal form and
    `same_answer` the full equivalence.
    """

    name: str
    system_prompt: str
    templates: Templates
    final_markers: Mapping[Direction, re.Pattern[str]]
    extract_answer: Callable[[str], str | None]
    extract_answers: Callable[[str], tuple[str, ...]]
    normalise_answer: Callable[[str], str]
    same_answer: Callable[[str, str], bool]

    def solvability_prompt(self, question: str) -> str:
        """Return the user message that asks whether a question can be solved, Yes or No."""
        return self.templates.solvability.replace(PLACEHOLDER, question)

    def response_prompt(self, question: str) -> str:
        """Return the user message that asks for a solution with a marked final answer."""
        return self.templates.response.replace(PLACEHOLDER, question)

    def rewrite_prompt(self, direction: Direction, question: str) -> str:
        """Return the user message that asks for a better question.

        Raises:
            ValueError: the direction is neither "solvability" nor "difficulty".
        """
        match direction:
            case "solvability":
                template = self.templates.rewrite_solvability
            case "difficulty":
                template = self.templates.rewrite_difficulty
            case _:
                raise ValueError(f"direction {direction!r}: expected 'solvability' or 'difficulty'")
        return template.replace(PLACEHOLDER, question)

    def parse_rewrite(self, direction: Direction, output: str) -> Rewrite:
        """Return the rewritten question: what follows the last final marker, unwrapped.

        Status is "ok", "no_marker" (the rewriter left its format) or "empty" (nothing follows).
        """
        end = None
        for found in self.final_markers[direction].finditer(output):
            end = found.end()
        if end is None:
            return Rewrite(text=None, status="no_marker")
        text = _unwrapped(output[end:])
        return Rewrite(text=text, status="ok") if text else Rewrite(text=None, status="empty")

    def with_prompts(
        self,
        *,
        solvability: str | None = None,
        response: str | None = None,
        rewrite_solvability: str | None = None,
        rewrite_difficulty: str | None = None,
    ) -> "Domain":
        """Return a copy with other templates; None keeps the domain's own.

        Raises:
            ValueError: a template lacks `{question}`; the message names it.
        """
        given = {
            "solvability": solvability,
            "response": response,
            "rewrite_solvability": rewrite_solvability,
            "rewrite_difficulty": rewrite_difficulty,
        }
        chosen = {name: text for name, text in given.items() if text is not None}
        return replace(self, templates=replace(self.templates, **chosen))


def final_marker(words: str) -> re.Pattern[str]:
    """Return a pattern for a section's label: plain, bold or heading, with or without a colon.

    At the start of a line any case will do, and without a colon the label must be alone on its line;
    inside a line only the exact capitals followed by a colon count.

    Args:
        words: a regular expression for the label itself.
    """
    edge = r"[*_#`]{0,4}"
    return re.compile(
        rf"^[ \t>*_#`-]{{0,12}}(?i:{words})[ \t]?{edge}[ \t]?(?::{edge}|[ \t]*$)|(?:{words}){edge}:{edge}",
        re.MULTILINE,
    )


def _unwrapped(text: str) -> str:
    """Strip spaces, emphasis and whole pairs of quotes from around a text."""
    text = text.strip(_WRAPPING)
    for opening, closing in _QUOTES:
        inside = text[1:-1]
        is_pair = len(text) > 1 and text.startswith(opening) and text.endswith(closing)
        if is_pair and opening not in inside and closing not in inside:
            text = inside.strip(_WRAPPING)
    return text.strip("\"'\u201c\u201d") if not re.search(r"[^\W_]", text) else text
