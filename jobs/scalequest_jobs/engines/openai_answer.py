"""What an OpenAI-compatible endpoint's answers mean.

Source: OpenAI API reference, "Create chat completion" and "Error codes"; vLLM's and other servers'
deviations stand beside them.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from scalequest_jobs import ports, retry

REFUSED: Final = frozenset({400, 413, 422})
"""This one request cannot be answered: too long, filtered, not understood."""
_NO_CREDIT: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_WRONG_SETTING: Final = frozenset(
    {"model_not_found", "invalid_model", "unsupported_model", "unsupported_parameter", "unsupported_value"}
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A parsed body.

    `text` is None when there is none; `error` then says why, and `is_final` whether asking again would
    be in vain. Token counts are None when the body has no usable `usage`.
    """

    text: str | None
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    error: str = ""
    is_final: bool = False


def parse(body: bytes) -> Answer:
    """Return what a body with status 200 says. Never raises."""
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Answer(text=None, error="the body is not JSON")
    if not isinstance(content, dict):
        return Answer(text=None, error="the body is not a JSON object")
    prompt_tokens, completion_tokens = _usage(content)
    text, finish_reason, error, is_final = _choice(content)
    return Answer(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        error=error,
        is_final=is_final,
    )


def lasting_problem(status: int, body: bytes) -> str:
    """Return what is to be done about an answer that all requests will get alike, or "".

    Such are a wrong address, key or model, an account without credit, and a parameter that the model
    does not take.
    """
    code = _code(body)
    if status == 402 or code in _NO_CREDIT:
        return "the account has no credit left; top it up or use another key"
    if code in _WRONG_SETTING or status == 404:
        return "check rewriter.endpoint.model, the parameters that it takes, and that the url ends in /v1"
    if status in {401, 403}:
        return "check the key and that it may use the model"
    if 300 <= status < 400:
        return "redirects are not followed: give the address that it redirects to"
    if 400 <= status < 500 and status not in REFUSED | retry.TRANSIENT_STATUSES:
        return "check that the url is the base address of an OpenAI-compatible API, ending in /v1"
    return ""


def reply(request: ports.ChatRequest, answer: Answer, cost_micro_usd: int) -> ports.ChatReply:
    """Return the reply to a request."""
    return ports.ChatReply(
        chunk=request.chunk,
        index=request.index,
        text=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens or 0,
        completion_tokens=answer.completion_tokens or 0,
        cost_micro_usd=cost_micro_usd,
        error=answer.error,
    )


def _usage(content: dict[str, Any]) -> tuple[int | None, int | None]:
    usage = content.get("usage")
    if not isinstance(usage, dict):
        return None, None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _choice(content: dict[str, Any]) -> tuple[str | None, str, str, bool]:
    """Return text, finish reason, error, and whether the error is final."""
    choices = content.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return None, "", "the body has no choices[0].message", False
    finish_reason = str(choice.get("finish_reason") or "")
    text = message.get("content")
    if finish_reason == "content_filter" or message.get("refusal"):
        return None, finish_reason, "the endpoint's content filter refused it", True
    if isinstance(text, str) and text.strip() and _is_text(text):
        return text, finish_reason, "", True
    if finish_reason == "length":
        return None, finish_reason, "no text within max_tokens", True
    return None, finish_reason, "the message has no text", False


def _is_text(text: str) -> bool:
    """Say whether a string can be encoded: JSON may hold lone surrogates, UTF-8 may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _code(body: bytes) -> str:
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = content.get("error") if isinstance(content, dict) else None
    return str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""
