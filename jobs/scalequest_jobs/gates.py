"""What a question generator's sample says of it: does it stop, repeat, copy, and did its questions drift.

Law: pure; standard library and `ports` only. A gate measures and words; what a warning costs is for
the stage to decide. All rates are shares from 0 to 1, all distances bits.

Preference training can make questions solvable by making them narrow: on a small world where a
program knows every answer, it raised the solvable share from 72 % to 82 % while the numbers 10 to 12
all but left the questions (21 % of added and subtracted numbers to 0.4 %), and students trained on
them got worse. Drift against the stage before is measured to see exactly that.
"""

import collections
import dataclasses
import hashlib
import itertools
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scalequest_jobs import ports

# A generator that does not stop answers its own question; a tenth more would be lost at 1M questions.
MIN_STOP_RATE = 0.98  # source: practice with TRL, 256 questions after fine-tuning
MAX_LENGTH_RATIO = 2.0  # source: as above, medians of sample and seeds, either way
MAX_SELF_DUPLICATE_RATE = 0.05  # ours
MAX_SEED_COPY_RATE = 0.05  # ours
MIN_DISTINCT_RATIO = 0.7  # ours: distinct-2 against the reference's, at equal size
NOISE_FACTOR = 2.0  # ours: by chance a distance passes two noise floors less than once in a thousand gates
MIN_WORD_DRIFT = 0.02  # ours, bits; two samples of one model are 0.003 apart at 512 questions each
MIN_NUMBER_DRIFT = 0.02  # ours, bits; 0.002 in the same case, 0.08 for the narrowing above
MIN_BUCKET_SHARE = 0.02  # ours: a rarer bucket says nothing when it is gone
MAX_BUCKET_FALL = 4.0  # ours: a bucket that lost three quarters is called by name
_SPLITS = 5  # the noise floor is the largest of this many splits

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_TOKEN = re.compile(r"<n>|[^\W\d_]+|[^\w\s]")
_RANGES = (
    *((str(value), value, value) for value in range(10)),
    ("10-12", 10, 12),
    ("13-20", 13, 20),
    ("21-50", 21, 50),
    ("51-100", 51, 100),
)
_LARGER = ">100"
_NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far a sample is from a reference, and how far the reference is from itself.

    `words` is the Jensen-Shannon divergence of word unigrams and bigrams, numbers masked; `numbers`
    that of the histogram of numbers. The noise floors are the largest such distances between parts
    of the reference of the same size. `size` is the number of questions on each side: a divergence
    falls with it, so only equal sizes compare. `distinct_ratio` is the sample's distinct-2 over the
    reference's.
    """

    size: int
    words: float
    words_noise: float
    numbers: float
    numbers_noise: float
    distinct_ratio: float


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The figures of a sample.

    `length_ratio` is the median number of words over the seeds' one. `distinct_2` is the share of
    word bigrams that are new, over the whole sample. The number histograms share out every number by
    its whole part; a question without one counts once under "none".
    """

    samples: int
    stop_rate: float
    self_duplicate_rate: float
    seed_copy_rate: float
    median_tokens: float
    median_words: float
    seed_median_words: float
    length_ratio: float
    distinct_2: float
    numbers: Mapping[str, float]
    seed_numbers: Mapping[str, float]
    numbers_before: Mapping[str, float] | None
    from_seeds: Drift
    from_before: Drift | None

    def to_json(self) -> dict[str, object]:
        """Return the figures as plain JSON values."""
        return dataclasses.asdict(self)


def measure(
    sample_texts: Sequence[str],
    finish_reasons: Sequence[ports.FinishReason],
    token_counts: Sequence[int],
    *,
    seeds: Sequence[str],
    before: Sequence[str] | None,
) -> Gate:
    """Measure a sample against the seeds and, where there is one, the sample of the stage before.

    The first three are parallel, one entry a question; `token_counts` are of the generator's own
    tokens. Raises BadInputError when a set is empty or the three differ in length. Same input, same
    figures: the splits of the noise floor are fixed.
    """
    if not len(sample_texts) == len(finish_reasons) == len(token_counts):
        raise ports.BadInputError(
            f"{len(sample_texts)} texts, {len(finish_reasons)} finish reasons and {len(token_counts)} token counts, "
            "expected one of each for every sample"
        )
    for name, texts in (("sample", sample_texts), ("seeds", seeds), ("sample before", before)):
        if texts is not None and len(texts) == 0:
            raise ports.BadInputError(f"the {name} of a gate is empty, expected at least one question")
    plain = [_normalised(text) for text in sample_texts]
    median_words, seed_median_words = _median_words(sample_texts), _median_words(seeds)
    return Gate(
        samples=len(plain),
        stop_rate=sum(reason == "stop" for reason in finish_reasons) / len(plain),
        self_duplicate_rate=1 - len(set(plain)) / len(plain),
        seed_copy_rate=_share_in(plain, {_normalised(seed) for seed in seeds}),
        median_tokens=float(statistics.median(token_counts)),
        median_words=median_words,
        seed_median_words=seed_median_words,
        length_ratio=median_words / max(seed_median_words, 1.0),
        distinct_2=_distinct_2(sample_texts),
        numbers=_shares(_numbers(sample_texts)),
        seed_numbers=_shares(_numbers(seeds)),
        numbers_before=None if before is None else _shares(_numbers(before)),
        from_seeds=_drift(sample_texts, seeds),
        from_before=None if before is None else _drift(sample_texts, before),
    )


def warnings(gate: Gate) -> list[str]:
    """Return what is wrong with a generator, in words; an empty list is a pass."""
    said = [*_rate_warnings(gate), *_drift_warnings("the seeds", gate.from_seeds)]
    if gate.from_before is not None:
        said += _drift_warnings("the stage before", gate.from_before)
    if gate.numbers_before is not None:
        said += _narrowing("the stage before", gate.numbers, gate.numbers_before)
    else:
        said += _narrowing("the seeds", gate.numbers, gate.seed_numbers)
    return said


def _rate_warnings(gate: Gate) -> Iterator[str]:
    if gate.stop_rate < MIN_STOP_RATE:
        yield f"only {gate.stop_rate:.1%} of questions end by themselves, expected {MIN_STOP_RATE:.0%} or more"
    if gate.self_duplicate_rate > MAX_SELF_DUPLICATE_RATE:
        yield (
            f"{gate.self_duplicate_rate:.1%} of questions repeat an earlier one of the sample, expected at most "
            f"{MAX_SELF_DUPLICATE_RATE:.0%}"
        )
    if gate.seed_copy_rate > MAX_SEED_COPY_RATE:
        yield f"{gate.seed_copy_rate:.1%} of questions copy a seed, expected at most {MAX_SEED_COPY_RATE:.0%}"
    if not 1 / MAX_LENGTH_RATIO <= gate.length_ratio <= MAX_LENGTH_RATIO:
        yield (
            f"the median question has {gate.median_words:g} words, the median seed {gate.seed_median_words:g}: "
            f"more than {MAX_LENGTH_RATIO:g} times apart"
        )


def _drift_warnings(reference: str, drift: Drift) -> Iterator[str]:
    if drift.words > max(MIN_WORD_DRIFT, NOISE_FACTOR * drift.words_noise):
        yield _apart("wording", reference, drift.words, drift.words_noise)
    if drift.numbers > max(MIN_NUMBER_DRIFT, NOISE_FACTOR * drift.numbers_noise):
        yield _apart("numbers", reference, drift.numbers, drift.numbers_noise)
    if drift.distinct_ratio < MIN_DISTINCT_RATIO:
        yield (
            f"questions vary less than {reference}: {drift.distinct_ratio:.0%} of its distinct word pairs, expected "
            f"{MIN_DISTINCT_RATIO:.0%} or more"
        )


def _apart(what: str, reference: str, distance: float, noise: float) -> str:
    return (
        f"the {what} of the questions drifted from {reference}: {distance:.3f} bits apart, where chance alone makes "
        f"up to {noise:.3f}"
    )


def _narrowing(reference: str, now: Mapping[str, float], then: Mapping[str, float]) -> Iterator[str]:
    for name, share in then.items():
        left = now.get(name, 0.0)
        if name != _NONE and share >= MIN_BUCKET_SHARE and left * MAX_BUCKET_FALL < share:
            yield (
                f"numbers in {name} fell from {share:.1%} of all numbers in {reference} to {left:.1%}: questions may "
                "get easier by getting narrower"
            )


def _normalised(text: str) -> str:
    return " ".join(text.lower().split())


def _share_in(texts: Sequence[str], known: set[str]) -> float:
    return sum(text in known for text in texts) / len(texts)


def _median_words(texts: Sequence[str]) -> float:
    return float(statistics.median(len(text.split()) for text in texts))


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(_NUMBER.sub("<n>", text.lower()))


def _pairs(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    return itertools.pairwise(tokens)


def _distinct_2(texts: Sequence[str]) -> float:
    pairs = collections.Counter(pair for text in texts for pair in _pairs(_tokens(text)))
    return len(pairs) / max(1, pairs.total())


def _words(texts: Sequence[str]) -> collections.Counter[object]:
    """Count word unigrams and bigrams, numbers as one word."""
    counts: collections.Counter[object] = collections.Counter()
    for text in texts:
        tokens = _tokens(text)
        counts.update(tokens)
        counts.update(_pairs(tokens))
    return counts


def _numbers(texts: Sequence[str]) -> collections.Counter[object]:
    counts: collections.Counter[object] = collections.Counter()
    for text in texts:
        found = _NUMBER.findall(text)
        counts.update([_bucket(number) for number in found] or [_NONE])
    return counts


def _bucket(number: str) -> str:
    value = float(number.replace(",", "")) // 1
    return next((name for name, low, high in _RANGES if low <= value <= high), _LARGER)


def _shares(counts: collections.Counter[object]) -> dict[str, float]:
    """Return every bucket's share, in order; all numbers and questions without one make 1."""
    names = (*(name for name, _, _ in _RANGES), _LARGER, _NONE)
    return {name: counts[name] / max(1, counts.total()) for name in names}


def _drift(sample: Sequence[str], reference: Sequence[str]) -> Drift:
    """Measure drift on equal numbers of questions, so that distance and noise floor compare."""
    size = max(1, min(len(sample), len(reference) // 2))
    ours, theirs = _shuffled(sample, 0)[:size], _shuffled(reference, 0)[:size]
    halves = [_halves(reference, split, size) for split in range(_SPLITS)]
    return Drift(
        size=size,
        words=_divergence(_words(ours), _words(theirs)),
        words_noise=max(_divergence(_words(one), _words(other)) for one, other in halves),
        numbers=_divergence(_numbers(ours), _numbers(theirs)),
        numbers_noise=max(_divergence(_numbers(one), _numbers(other)) for one, other in halves),
        distinct_ratio=_distinct_2(ours) / max(_distinct_2(theirs), 1e-9),
    )


def _halves(reference: Sequence[str], split: int, size: int) -> tuple[list[str], list[str]]:
    mixed = _shuffled(reference, split)
    return mixed[:size], mixed[size : 2 * size] or mixed[:size]


def _shuffled(texts: Sequence[str], split: int) -> list[str]:
    """Return the texts in an order that only their number and the split decide, in any Python version."""
    order = sorted(range(len(texts)), key=lambda index: hashlib.sha256(f"{split}:{index}".encode()).digest())
    return [texts[index] for index in order]


def _divergence(one: collections.Counter[object], other: collections.Counter[object]) -> float:
    """Return the Jensen-Shannon divergence of two counts' distributions, 0 to 1 bits."""
    total_one, total_other = max(1, one.total()), max(1, other.total())
    bits = 0.0
    for key in sorted(one.keys() | other.keys(), key=repr):
        p, q = one[key] / total_one, other[key] / total_other
        middle = (p + q) / 2
        bits += sum(share * math.log2(share / middle) for share in (p, q) if share > 0) / 2
    return min(1.0, max(0.0, bits))
