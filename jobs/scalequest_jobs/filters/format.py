"""Is a generated text one self-contained question?"""

import re

from scalequest_jobs import ports
from scalequest_jobs.filters import verdict

REASONS = frozenset(
    {
        "aborted",
        "truncated",
        "empty",
        "too_short",
        "too_long",
        "no_letters",
        "role_marker",
        "contains_answer",
        "several_questions",
        "missing_figure",
    }
)

# The longest published question is 122 tokens; a text of more than 400 is a story or a loop.
MINIMUM_TOKENS = 8
MAXIMUM_TOKENS = 400
# "How many are red, and how many are blue?" in two sentences is still one task; three are a list.
SEVERAL_QUESTION_MARKS = 3

_ROLE_MARKER = re.compile(
    r"""
    <[|\uff5c][^<>|\uff5c]{1,40}[|\uff5c]>          # <|im_start|> and its full-width cousins
    | \b(?:User|Assistant|Human):                    # "System:" may open a system of equations
    | ^[ \t]*(?:user|assistant|system)[ \t]*$        # what is left of a turn marker
    | \[/?INST\] | ^[ \t]*\#{2,}[ ]*(?:Instruction|Response):
    """,
    re.MULTILINE | re.VERBOSE,
)
_ANSWER = re.compile(
    r"""
    \\(?:boxed|fbox)\b
    | (?:^|(?<=[.!?])[ ])[ \t*_\#]{0,8}(?:Solution|SOLUTION|(?:Final[ ])?Answer|ANSWER)[*_]{0,2}:
    | (?:^|(?<=[.!?])[ ])[ \t*_]{0,8}The[ ](?:final[ ]|correct[ ])?answer[ ]is[: ]{1,2}
      (?!of[ ]the[ ]form|in[ ]the[ ]form) [-*_(]{0,3}(?:\d|\\|\$)
    | ^\#{4}[ ]*-?\$?\d                              # how GSM8K marks an answer
    """,
    re.MULTILINE | re.VERBOSE,
)
_ASKS = r"(?:Find|Compute|Calculate|Determine|Evaluate|Solve|Prove|Show|Simplify|Factor|Express|Write|How|What|Which)"
_ITEM = re.compile(
    rf"""
    ^[ \t]*(?: \(?\d{{1,2}}[.)] | \(?[a-h][.)] | \(?i{{1,3}}[.)] | [*-]
           | (?:Question|Problem|Part|Q)[ ]?\d{{1,2}}[.:)]? )[ \t]+
    | (?<=\s)\((?:\d|[a-h]|i{{1,3}})\)[ ](?={_ASKS}\b)
    """,
    re.MULTILINE | re.VERBOSE,
)
_ASKING = re.compile(rf"{_ASKS}\b")
_QUESTION_MARK = re.compile(r"(?<=[^\s?])\?+(?=[\s\"'\u201d)*$]|$)")
_FIGURE = re.compile(
    r"""
    \[asy\] | \\includegraphics | \\begin\{tikzpicture\} | !\[[^\]]{0,80}\]\( | <img\b
    | \b(?:shown|pictured|illustrated|depicted|drawn)[ ](?:below|above|here\b|in[ ]the[ ](?:figure|diagram))
    | \b(?:figure|diagram|picture|image|graph|chart)s?[ ](?:shown[ ])?(?:below|above)\b
    | \bin[ ]the[ ](?:following[ ]|given[ ]|accompanying[ ]|adjacent[ ])?(?:figure|diagram)s?\b
    | \bthe[ ](?:following[ ]|given[ ]|accompanying[ ]|adjacent[ ])?diagram\b
    | \bthe[ ](?:following[ ]|given[ ]|accompanying[ ]|adjacent[ ])figure\b
    | \bthe[ ]figure[ ]shows\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def judge(
    text: str,
    *,
    tokens: int,
    finish_reason: ports.FinishReason,
    minimum_tokens: int = MINIMUM_TOKENS,
    maximum_tokens: int = MAXIMUM_TOKENS,
) -> verdict.Verdict:
    """Keep a text that reads as one question and nothing else.

    Args:
        text: the generated text as decoded, special tokens left out.
        tokens: generated tokens, the stop id not counted.
        finish_reason: the engine's; anything but "stop" rejects.
        minimum_tokens: fewer tokens reject.
        maximum_tokens: more tokens reject.

    Returns:
        Keep, or a rejection with one of these reasons, the first that applies: "aborted" (the engine
        refused the request), "truncated" (no stop id within the limit), "empty", "too_short",
        "too_long", "no_letters", "role_marker" (a turn of a conversation), "contains_answer" (a
        solution follows), "several_questions" (a list of tasks, or three or more questions),
        "missing_figure" (needs a picture that is not there). `detail` holds the marker found.

    Source: ScaleQuest drops none of these, and its data shows them; the limits are ours.
    """
    return (
        _judge_ending(text, finish_reason)
        or _judge_length(tokens, minimum_tokens, maximum_tokens)
        or _judge_content(text)
        or verdict.KEEP
    )


def _judge_ending(text: str, finish_reason: ports.FinishReason) -> verdict.Verdict | None:
    if finish_reason == "abort":
        return verdict.Verdict(keep=False, reason="aborted")
    if finish_reason == "length":
        return verdict.Verdict(keep=False, reason="truncated")
    if not text.strip():
        return verdict.Verdict(keep=False, reason="empty")
    return None


def _judge_length(tokens: int, minimum: int, maximum: int) -> verdict.Verdict | None:
    if tokens < minimum:
        return verdict.Verdict(keep=False, reason="too_short", score=tokens, limit=minimum)
    if tokens > maximum:
        return verdict.Verdict(keep=False, reason="too_long", score=tokens, limit=maximum)
    return None


def _judge_content(text: str) -> verdict.Verdict | None:
    if not any(character.isalpha() for character in text):
        return verdict.Verdict(keep=False, reason="no_letters")
    if found := _ROLE_MARKER.search(text):
        return _marked("role_marker", found)
    if found := _ANSWER.search(text):
        return _marked("contains_answer", found)
    questions = max(_asking_items(text), len(_QUESTION_MARK.findall(text)) - 1)
    if questions >= SEVERAL_QUESTION_MARKS - 1:
        return verdict.Verdict(keep=False, reason="several_questions")
    if found := _FIGURE.search(text):
        return _marked("missing_figure", found)
    return None


def _asking_items(text: str) -> int:
    """Return how many items of a list ask something; choices and given facts do not."""
    starts = [match.span() for match in _ITEM.finditer(text)]
    ends = [*(start for start, _ in starts[1:]), len(text)]
    items = [text[begin:end].strip() for (_, begin), end in zip(starts, ends, strict=False)]
    # The last item runs on to the end of the text and may carry the one question of all items.
    asking = [bool(_ASKING.match(item)) or "?" in item.split("\n", maxsplit=1)[0] for item in items]
    return sum(asking)


def _marked(reason: str, found: re.Match[str]) -> verdict.Verdict:
    return verdict.Verdict(keep=False, reason=reason, detail=found.group().strip()[:40])
