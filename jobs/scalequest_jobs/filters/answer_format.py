"""Does a response end in an answer that can be read?"""

from collections.abc import Callable, Sequence

from scalequest_jobs import ports
from scalequest_jobs.filters import verdict

REASONS = frozenset({"aborted", "truncated", "no_answer", "empty_answer", "several_answers"})


def judge(
    response: str,
    *,
    finish_reason: ports.FinishReason,
    extract: Callable[[str], str | None],
    extract_all: Callable[[str], Sequence[str]] | None = None,
) -> verdict.Verdict:
    r"""Keep a response that finished and states its final answer.

    Args:
        response: the whole response.
        finish_reason: the engine's; anything but "stop" rejects.
        extract: the domain's reader of the final answer (for maths the last `\boxed{}`).
        extract_all: reads every marked answer; given, a response with two different ones is rejected.
            Off by default, since good responses also box intermediate results.

    Returns:
        Keep with the answer as `detail`, or a rejection: "aborted" (the engine refused the request),
        "truncated" (cut at the token limit: a rejected candidate, never a low score), "no_answer" (no
        marked answer), "empty_answer" (marked, but blank), "several_answers".

    Source: ScaleQuest drops responses without an answer phrase; a marked answer is asked for here
        because agreement is measured on it.
    """
    if finish_reason == "abort":
        return verdict.Verdict(keep=False, reason="aborted")
    if finish_reason == "length":
        return verdict.Verdict(keep=False, reason="truncated")
    answer = extract(response)
    if answer is None:
        return verdict.Verdict(keep=False, reason="no_answer")
    if not answer.strip():
        return verdict.Verdict(keep=False, reason="empty_answer")
    if extract_all is not None and len({found.strip() for found in extract_all(response)}) > 1:
        return verdict.Verdict(keep=False, reason="several_answers", detail=answer.strip())
    return verdict.Verdict(keep=True, detail=answer.strip())
