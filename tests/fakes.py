"""Hand-written fakes of the ports; each passes the suite in `tests/adapters` that its real adapter passes."""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from scalequest_jobs import ports
from scalequest_jobs.engines import samples

# --- Tokenizer ----------------------------------------------------------------------------------

_SPECIALS = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")


class ScriptedTokenizer:
    """One id a character, four special tokens in front, ChatML turns."""

    vocabulary = len(_SPECIALS) + 0x110000

    def encode(self, text: str) -> list[int]:
        ids = []
        at = 0
        while at < len(text):
            special = next((word for word in _SPECIALS if text.startswith(word, at)), None)
            ids.append(len(_SPECIALS) + ord(text[at]) if special is None else _SPECIALS.index(special))
            at += len(special or " ")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token - len(_SPECIALS)) for token in ids if token >= len(_SPECIALS))

    def render(self, messages: Sequence[ports.Message], *, generation_prompt: bool) -> str:
        turns = "".join(f"<|im_start|>{turn.role}\n{turn.content}<|im_end|>\n" for turn in messages)
        return turns + ("<|im_start|>assistant\n" if generation_prompt else "")

    @property
    def special_ids(self) -> frozenset[int]:
        return frozenset(range(len(_SPECIALS)))

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return (_SPECIALS.index("<|im_end|>"), _SPECIALS.index("<|endoftext|>"))


# --- Text generator -----------------------------------------------------------------------------

Reply = Callable[[ports.Request, int], str]
"""The text that sample number `int` of a request answers."""

_WORDS = ("two", "apples", "and", "seven", "pens", "make", "nine", "things", "in", "all")


def random_words(request: ports.Request, sample: int) -> str:
    """Return twenty words drawn by the request's seeds, or by its prompt alone when it is greedy."""
    drawn = (request.prompt_ids,)
    seeded = (request.prompt_ids, request.seed, request.chunk_seed, sample)
    source = random.Random(repr(drawn if request.sampling.temperature == 0 else seeded))
    return " ".join(source.choices(_WORDS, k=20))


class ScriptedGenerator:
    """Answers what `reply` says, a window at a time, the last request of a window first.

    `asked` keeps every request. A reply is ended by the first of the request's stop ids; one longer than
    `max_tokens` or the window is cut.
    """

    def __init__(
        self, reply: Reply = random_words, *, max_length: int = 4096, window: int = 8, name: str = "scripted"
    ) -> None:
        self._reply = reply
        self._max_length = max_length
        self._window = window
        self._name = name
        self._tokenizer = ScriptedTokenizer()
        self.asked: list[ports.Request] = []
        self.closed = False

    @property
    def identity(self) -> Mapping[str, str]:
        return {"engine": self._name, "version": "1", "device": "none", "dtype": "text"}

    @property
    def tokenizer(self) -> ports.Tokenizer:
        return self._tokenizer

    @property
    def max_length(self) -> int:
        return self._max_length

    def generate(self, requests: Iterable[ports.Request]) -> Iterator[ports.Completion]:
        source = iter(requests)
        while held := list(itertools.islice(source, self._window)):
            self.asked += held
            yield from map(self._completion, reversed(held))

    def close(self) -> None:
        self.closed = True

    def _completion(self, request: ports.Request) -> ports.Completion:
        if not samples.fits(
            request.prompt_ids, room=self._max_length - 1, vocabulary=self._tokenizer.vocabulary
        ):
            return samples.refusal(request)
        return samples.completion(
            request, [self._sample(request, number) for number in range(request.sampling.samples)]
        )

    def _sample(self, request: ports.Request, number: int) -> ports.Sample:
        stop_ids = request.sampling.stop_ids
        room = min(request.sampling.max_tokens, self._max_length - len(request.prompt_ids))
        ids = [*self._tokenizer.encode(self._reply(request, number)), *stop_ids[:1]]
        return samples.sample(self._tokenizer, ids[:room], stop_ids)


# --- Score model --------------------------------------------------------------------------------

Value = Callable[[ports.ScoreRequest], float]
"""The score of a request."""


def hashed_value(request: ports.ScoreRequest) -> float:
    """Return a number in [-1, 0) that depends on the tokens and the prompt's length alone."""
    digest = hashlib.sha256(repr((request.token_ids, request.prompt_length)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 - 1


class ScriptedScorer:
    """Scores what `value` says, a window at a time, the last request of a window first."""

    def __init__(
        self, value: Value = hashed_value, *, max_length: int = 4096, window: int = 8, name: str = "scripted"
    ) -> None:
        self._value = value
        self._max_length = max_length
        self._window = window
        self._name = name
        self._tokenizer = ScriptedTokenizer()
        self.asked: list[ports.ScoreRequest] = []
        self.closed = False

    @property
    def identity(self) -> Mapping[str, str]:
        return {"engine": self._name, "version": "1", "device": "none", "dtype": "text"}

    @property
    def tokenizer(self) -> ports.Tokenizer:
        return self._tokenizer

    def score(self, requests: Iterable[ports.ScoreRequest]) -> Iterator[ports.Score]:
        source = iter(requests)
        while held := list(itertools.islice(source, self._window)):
            self.asked += held
            yield from map(self._score, reversed(held))

    def close(self) -> None:
        self.closed = True

    def _score(self, request: ports.ScoreRequest) -> ports.Score:
        fits = samples.fits(request.token_ids, room=self._max_length, vocabulary=self._tokenizer.vocabulary)
        value = self._value(request) if fits else None
        return ports.Score(chunk=request.chunk, index=request.index, value=value)
