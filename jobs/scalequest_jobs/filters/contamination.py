"""Does a question repeat a benchmark?"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from scalequest_jobs.filters import duplicates, verdict

REASONS = frozenset({"contaminated"})

NGRAM = 13


@dataclass(frozen=True, kw_only=True)
class NgramIndex:
    """The hashed word n-grams of benchmarks, with the benchmarks that hold each.

    `short` holds whole texts that have fewer words than an n-gram.
    """

    ngram: int
    ngrams: Mapping[int, frozenset[str]]
    short: Mapping[int, frozenset[str]]

    @classmethod
    def build(cls, benchmarks: Mapping[str, Iterable[str]], *, ngram: int = NGRAM) -> "NgramIndex":
        """Return the index of benchmark questions, by name of the benchmark.

        Raises:
            ValueError: `ngram` is below 1.
        """
        if ngram < 1:
            raise ValueError(f"ngram {ngram}: expected at least 1 word")
        ngrams: dict[int, frozenset[str]] = {}
        short: dict[int, frozenset[str]] = {}
        for name, texts in benchmarks.items():
            owner = frozenset({name})
            for text in texts:
                words = duplicates.tokens(text)
                found, hashes = (
                    (short, (_hash(words),)) if len(words) < ngram else (ngrams, _ngrams(words, ngram))
                )
                for key in hashes:
                    known = found.setdefault(key, owner)
                    if name not in known:
                        found[key] = known | owner
        return cls(ngram=ngram, ngrams=ngrams, short=short)


def judge(text: str, index: NgramIndex, *, maximum_share: float = 0.0) -> verdict.Verdict:
    """Keep a question that shares no more word n-grams with any benchmark than allowed.

    Words are normalised; numbers and operators are words. A question with fewer words than an n-gram
    is compared as a whole with the benchmark questions that are as short.

    Args:
        text: the question.
        index: the benchmarks.
        maximum_share: the share of the question's n-grams that may occur in a benchmark, 0 to 1.

    Returns:
        Keep, or "contaminated": `detail` is the benchmark with the largest share (of equal ones the
        first by name), `score` the share, `limit` is `maximum_share`.

    Source: ScaleQuest, appendix B measures 13-gram overlap and removes nothing; at 0.0 this removes
        what it counts.
    """
    words = duplicates.tokens(text)
    if len(words) < index.ngram:
        hits = [index.short.get(_hash(words), frozenset())] if words else []
    else:
        hits = [index.ngrams.get(key, frozenset()) for key in _ngrams(words, index.ngram)]
    counts: dict[str, int] = {}
    for names in hits:
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    if not counts:
        return verdict.Verdict(keep=True, score=0.0, limit=maximum_share)
    name = min(counts, key=lambda name: (-counts[name], name))
    share = counts[name] / len(hits)
    if share > maximum_share:
        return verdict.Verdict(
            keep=False, reason="contaminated", score=share, limit=maximum_share, detail=name
        )
    return verdict.Verdict(keep=True, score=share, limit=maximum_share)


def _ngrams(words: list[str], ngram: int) -> Iterator[int]:
    return (_hash(words[start : start + ngram]) for start in range(len(words) - ngram + 1))


def _hash(words: list[str]) -> int:
    digest = hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
