"""What a judge concluded: can the question be solved?"""

import re
from typing import Literal

from scalequest_jobs import ports
from scalequest_jobs.filters import verdict

REASONS = frozenset({"aborted", "truncated", "unparsed", "unsolvable"})

# "yes or no" quotes the task; it concludes nothing.
_BOTH = re.compile(r"\byes[*_\"']{0,3}\s{0,2}(?:/|or|and)\s{0,2}[*_\"']{0,3}no\b", re.IGNORECASE)
_WORD = re.compile(r"(?<![^\W_])(?<![^\W_][-'\u2019])(yes|no)(?![^\W_])(?![-'\u2019][^\W_])", re.IGNORECASE)
# A "no" that belongs to the next word is a determiner ("no contradiction") or a number ("No. 5").
_DETERMINER = re.compile(r"(?:\.?[ \t]*#?\d|[ \t]+[^\W\d_])")
_NEW_CLAUSE = re.compile(r"[ \t]+(?:it|the|this|that|these|because|since|as|we|you|there)\b", re.IGNORECASE)


def judge(completion_text: str, *, finish_reason: ports.FinishReason) -> verdict.Verdict:
    """Keep a question whose judge concludes with Yes.

    The last standalone Yes or No decides, whatever its case and markup. Not standalone are parts of
    words ("eyes", "no-one"), the determiner in "no solution", the number in "No. 5" and the pair
    "yes or no".

    Args:
        completion_text: the judge's whole answer, reasoning included.
        finish_reason: the engine's; an answer that was cut off has not concluded.

    Returns:
        Keep with reason "ok", or a rejection: "unsolvable" (No), "unparsed" (neither word),
        "truncated" (cut at the token limit, whatever was said by then), "aborted" (the engine
        refused the request). `detail` is the deciding word.

    Source: ScaleQuest, section 2.4. Upstream accepts any "yes" in the text, which also matches
        "yesterday" and a Yes that is taken back later.
    """
    if finish_reason == "abort":
        return verdict.Verdict(keep=False, reason="aborted")
    if finish_reason == "length":
        return verdict.Verdict(keep=False, reason="truncated")
    match conclusion(completion_text):
        case "yes":
            return verdict.Verdict(keep=True, detail="yes")
        case "no":
            return verdict.Verdict(keep=False, reason="unsolvable", detail="no")
        case None:
            return verdict.Verdict(keep=False, reason="unparsed")


def conclusion(text: str) -> Literal["yes", "no"] | None:
    """Return the last standalone Yes or No of a text, or None."""
    text = _BOTH.sub(" ", text)
    decided: Literal["yes", "no"] | None = None
    for found in _WORD.finditer(text):
        if found.group().lower() == "yes":
            decided = "yes"
        elif not _DETERMINER.match(text, found.end()) or _NEW_CLAUSE.match(text, found.end()):
            decided = "no"
    return decided
