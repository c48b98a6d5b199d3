"""Samples and completions from the ids that an engine generated."""

from collections.abc import Sequence

from scalequest_jobs import ports

_GREEDY_BELOW = 1e-5
"""Temperature; vLLM itself decodes greedily below it, and then refuses more than one sample."""


def sample(tokenizer: ports.Tokenizer, generated: Sequence[int], stop_ids: Sequence[int]) -> ports.Sample:
    """Return the sample of generated ids: "stop" and cut before the first stop id, else "length"."""
    ends = frozenset(stop_ids)
    end = next((at for at, token in enumerate(generated) if token in ends), None)
    kept = tuple(generated[:end])
    return ports.Sample(
        text=tokenizer.decode(kept), token_ids=kept, finish_reason="length" if end is None else "stop"
    )


def aborted() -> ports.Sample:
    """Return the sample of a request that the engine refused."""
    return ports.Sample(text="", token_ids=(), finish_reason="abort")


def completion(request: ports.Request, answers: Sequence[ports.Sample]) -> ports.Completion:
    """Return the completion of a request."""
    return ports.Completion(
        chunk=request.chunk,
        index=request.index,
        prompt_tokens=len(request.prompt_ids),
        samples=tuple(answers),
    )


def refusal(request: ports.Request) -> ports.Completion:
    """Return the completion of a request that the engine refused: every sample is "abort"."""
    return completion(request, [aborted()] * request.sampling.samples)


def is_greedy(sampling: ports.Sampling) -> bool:
    """Whether all samples of a request are the same text, so that one has to be generated."""
    return sampling.temperature < _GREEDY_BELOW


def fits(ids: Sequence[int], *, room: int, vocabulary: int) -> bool:
    """Whether an engine can take these ids: one or more, at most `room`, all in the vocabulary."""
    return 0 < len(ids) <= room and min(ids) >= 0 and max(ids) < vocabulary
