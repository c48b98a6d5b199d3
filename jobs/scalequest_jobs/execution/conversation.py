"""Conversations as engine requests, and endpoints of the spec as settings."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalequest_jobs import ports
from scalequest_jobs.contract.run import Endpoint
from scalequest_jobs.execution.chunks import Chunk
from scalequest_jobs.execution.context import StageContext

_MICRO = 1_000_000


def request(
    context: StageContext[Any],
    tokenizer: ports.Tokenizer,
    *,
    chunk: Chunk,
    row: int,
    messages: Sequence[ports.Message],
    sampling: ports.Sampling,
) -> ports.Request:
    """Return a request for the assistant's turn after `messages`, for input row `row`."""
    text = tokenizer.render(messages, generation_prompt=True)
    return ports.Request(
        chunk=chunk.index,
        index=row - chunk.first,
        prompt_ids=tuple(tokenizer.encode(text)),
        sampling=sampling,
        seed=context.seed("row", row),
        chunk_seed=context.seed("chunk", chunk.index),
    )


def token_counts(completion: ports.Completion) -> tuple[int, int]:
    """Return a completion's prompt and generated tokens."""
    return completion.prompt_tokens, sum(len(sample.token_ids) for sample in completion.samples)


def as_reply(completion: ports.Completion) -> ports.ChatReply:
    """Return a one-sample completion in the shape of an endpoint's reply."""
    (sample,) = completion.samples
    aborted = sample.finish_reason == "abort"
    return ports.ChatReply(
        chunk=completion.chunk,
        index=completion.index,
        text=None if aborted else sample.text,
        finish_reason=sample.finish_reason,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=len(sample.token_ids),
        cost_micro_usd=0,
        error="the prompt is longer than the model's window" if aborted else "",
    )


def endpoint_settings(endpoint: Endpoint, api_key_file: Path | None, *, spent: int) -> ports.EndpointSettings:
    """Return the client's settings; prices become integer micro-USD, rounded up.

    `spent` is what earlier attempts of the stage cost, in micro-USD: the limit is for all of them.

    Raises:
        SpendLimitError: nothing is left of the limit.
    """
    limit = math.ceil(endpoint.max_cost_usd * _MICRO)
    if limit and spent >= limit:
        raise ports.SpendLimitError(
            f"{spent / _MICRO:.2f} USD of maxCostUsd {endpoint.max_cost_usd:g} are spent; raise it to go on"
        )
    return ports.EndpointSettings(
        url=endpoint.url,
        model=endpoint.model,
        api_key_file=api_key_file,
        timeout_seconds=endpoint.timeout_seconds,
        concurrency=endpoint.concurrency,
        requests_per_minute=endpoint.requests_per_minute,
        prompt_micro_usd_per_million=math.ceil(endpoint.prompt_usd_per_million * _MICRO),
        completion_micro_usd_per_million=math.ceil(endpoint.completion_usd_per_million * _MICRO),
        spend_limit_micro_usd=limit - spent if limit else 0,
    )
