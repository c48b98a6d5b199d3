"""Which questions say the same thing?"""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from scalequest_jobs.filters import verdict

REASONS = frozenset({"exact_duplicate", "near_duplicate"})

THRESHOLD = 0.7
NGRAM = 3
PERMUTATIONS = 128

# Rows per band are the most that still find a pair at the threshold this often.
_RECALL = 0.98
# In a bucket of more rows than this, each is compared with the leaders instead of with all others.
_SMALL_BUCKET = 48
_MAX_LEADERS = 48
_BATCH = 4096
_SEED = 20240914

_SAME_CHARACTER = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00d7\u22c5\u00b7", "*"),
        "\u00f7": "/",
    }
)
_MARKS = {"<super>": "^", "<sub>": "_", "<fraction>": " "}
_SPACES = re.compile(r"\s+")
_SPACE_BEFORE_MARK = re.compile(r" (?=[.,;:?!)\]}])|(?<=[(\[{]) ")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# Operators stay: 2 + 3 and 2 - 3 are different questions. Sentence marks, quotes and dollars go.
_TOKEN = re.compile(r"\d+(?:\.\d+)?|\\?[^\W\d_]+|[-+*/=<>^%!|]")


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Where a row belongs.

    `representative` is the smallest id of its cluster, `similarity` the exact Jaccard similarity to
    it (1.0 for itself; in a chain of near duplicates it may be below the threshold), `size` the
    number of rows in the cluster.
    """

    representative: str
    similarity: float
    size: int


def normalise(text: str) -> str:
    """Return a text with case, spacing, Unicode form and the shape of quotes and dashes evened out.

    Superscripts become "^2" and fractions " 1/2" before NFKC, which would make 23 of 2 cubed.
    """
    if not text.isascii():
        text = "".join(map(_spell_out, text)).translate(_SAME_CHARACTER)
        text = unicodedata.normalize("NFKC", text).translate(_SAME_CHARACTER)
    text = _SPACES.sub(" ", text.casefold().replace("`", "'")).strip()
    return _SPACE_BEFORE_MARK.sub("", text).rstrip(" .")


def question_id(text: str) -> str:
    """Return the identity of a question: 16 hex digits of the SHA-256 of its normalised text."""
    return hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def algorithm() -> str:
    """Return the name and version of the MinHash in use: part of the identity of what it clusters."""
    import rensa

    return f"rensa-{rensa.RMinHash.ALGORITHM_VERSION}"


def judge_exact(question_ids: Sequence[str], sample_ids: Sequence[str]) -> list[verdict.Verdict]:
    """Keep one row of each question: the one with the smallest sample id, in any order of rows.

    Args:
        question_ids: `question_id` of each row.
        sample_ids: a unique id of each row.

    Returns:
        A verdict per row: keep, or "exact_duplicate" with the kept row's sample id as `detail`.

    Raises:
        ValueError: the lengths differ or a sample id repeats.

    Source: ScaleQuest does not remove duplicates; every copy would be judged and answered again.
    """
    _check(question_ids, sample_ids)
    kept: dict[str, str] = {}
    for question, sample in zip(question_ids, sample_ids, strict=True):
        kept[question] = min(sample, kept.get(question, sample))
    return [
        verdict.KEEP
        if kept[question] == sample
        else verdict.Verdict(keep=False, reason="exact_duplicate", score=1.0, detail=kept[question])
        for question, sample in zip(question_ids, sample_ids, strict=True)
    ]


def judge_near(row_id: str, assignment: Assignment, *, threshold: float = THRESHOLD) -> verdict.Verdict:
    """Keep the representative of a cluster of near duplicates.

    Returns:
        Keep, or "near_duplicate": `score` is the similarity to the representative, `limit` the
        threshold, `detail` the representative's id.

    Source: as for `clusters`.
    """
    if assignment.representative == row_id:
        return verdict.KEEP
    return verdict.Verdict(
        keep=False,
        reason="near_duplicate",
        score=assignment.similarity,
        limit=threshold,
        detail=assignment.representative,
    )


def clusters(
    texts: Sequence[str],
    ids: Sequence[str],
    *,
    threshold: float = THRESHOLD,
    ngram: int = NGRAM,
    permutations: int = PERMUTATIONS,
) -> list[Assignment]:
    """Return the cluster of every row; the order of the rows changes nothing.

    Rows are linked when the exact Jaccard similarity of their word n-grams reaches the threshold, and
    clusters are what links connect. MinHash only proposes pairs: it misses one in fifty at the
    threshold and fewer above. A bucket of many rows is compared with its leaders (rows that no earlier
    leader resembled, in the order of ids), so time stays linear when all texts look alike.

    Args:
        texts: questions.
        ids: a unique id of each; the smallest of a cluster names it.
        threshold: the least similarity of a link, above 0, at most 1.
        ngram: words per n-gram. Numbers and operators are words. A shorter text is one n-gram.
        permutations: length of the MinHash signature.

    Raises:
        ValueError: the lengths differ, an id repeats, or a parameter is out of range.

    Source: Broder 1997; n-grams and threshold as is usual for short web text.
    """
    _check(texts, ids)
    if not 0 < threshold <= 1 or ngram < 1 or permutations < 1:
        raise ValueError(
            f"threshold {threshold}, ngram {ngram}, permutations {permutations}: "
            "expected 0 < threshold <= 1, ngram >= 1, permutations >= 1"
        )
    order = sorted(range(len(ids)), key=ids.__getitem__)
    shingles = _Shingles([texts[row] for row in order], ngram)
    roots = _link(shingles, threshold, permutations)
    sizes: dict[int, int] = {}
    for root in roots:
        sizes[root] = sizes.get(root, 0) + 1
    found: dict[int, Assignment] = {
        row: Assignment(
            representative=ids[order[root]], similarity=shingles.jaccard(position, root), size=sizes[root]
        )
        for position, (row, root) in enumerate(zip(order, roots, strict=True))
    }
    return [found[row] for row in range(len(ids))]


def tokens(text: str) -> list[str]:
    """Return the words, numbers and operators of a text, normalised."""
    return _TOKEN.findall(_THOUSANDS.sub("", normalise(text)))


def shingles_of(text: str, *, ngram: int = NGRAM) -> list[str]:
    """Return the word n-grams of a text; one n-gram of all its words if it has fewer."""
    words = tokens(text) or [normalise(text)]
    return [" ".join(words[start : start + ngram]) for start in range(max(1, len(words) - ngram + 1))]


class _Shingles:
    """The distinct n-gram hashes of each row, sorted, in one flat array."""

    def __init__(self, texts: Sequence[str], ngram: int) -> None:
        import rensa

        self.hashes, self.offsets = array("Q"), array("Q", [0])
        for start in range(0, len(texts), _BATCH):
            batch = [shingles_of(text, ngram=ngram) for text in texts[start : start + _BATCH]]
            for row in rensa.RMinHash.hash_token_sets(batch):
                self.hashes.extend(sorted(set(row)))
                self.offsets.append(len(self.hashes))
        self.set_of = lru_cache(maxsize=65536)(self._set_of)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, position: int) -> "array[int]":
        return self.hashes[self.offsets[position] : self.offsets[position + 1]]

    def _set_of(self, position: int) -> frozenset[int]:
        return frozenset(self.row(position))

    def jaccard(self, left: int, right: int) -> float:
        if left == right:
            return 1.0
        a, b = self.set_of(left), self.set_of(right)
        shared = len(a & b)
        return shared / (len(a) + len(b) - shared)


def _link(shingles: _Shingles, threshold: float, permutations: int) -> list[int]:
    """Return the smallest member of each row's cluster."""
    parents = list(range(len(shingles)))
    distinct: dict[bytes, int] = {}
    for row in range(len(shingles)):
        parents[row] = distinct.setdefault(shingles.row(row).tobytes(), row)
    rows = list(distinct.values())
    for bucket in _buckets(shingles, rows, threshold, permutations):
        leaders: list[int] = []
        for row in bucket:
            _join(shingles, parents, row, leaders, threshold)
            if len(bucket) <= _SMALL_BUCKET or (
                len(leaders) < _MAX_LEADERS and all(_root(parents, row) != _root(parents, x) for x in leaders)
            ):
                leaders.append(row)
    return [_root(parents, row) for row in range(len(shingles))]


def _join(shingles: _Shingles, parents: list[int], row: int, others: list[int], threshold: float) -> None:
    """Link a row with all of the others that resemble it; pairs that are connected cost nothing."""
    for other in others:
        a, b = _root(parents, row), _root(parents, other)
        if a != b and shingles.jaccard(row, other) >= threshold:
            parents[max(a, b)] = min(a, b)


def _root(parents: list[int], row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


def _buckets(
    shingles: _Shingles, rows: Sequence[int], threshold: float, permutations: int
) -> Iterator[list[int]]:
    """Yield the groups of two and more rows that share a band of their signatures, in ascending order."""
    per_band = _rows_per_band(threshold, permutations)
    bands = [array("q") for _ in range(permutations // per_band)]
    for start in range(0, len(rows), _BATCH):
        for signature in _signatures(shingles, rows[start : start + _BATCH], permutations):
            for number, band in enumerate(bands):
                band.append(hash(tuple(signature[number * per_band : (number + 1) * per_band])))
    for band in bands:
        members: dict[int, list[int]] = {}
        for key, row in zip(band, rows, strict=True):
            members.setdefault(key, []).append(row)
        yield from (group for group in members.values() if len(group) > 1)


def _signatures(shingles: _Shingles, rows: Sequence[int], permutations: int) -> list[list[int]]:
    import rensa

    flat, offsets = array("Q"), array("Q", [0])
    for row in rows:
        flat.extend(shingles.row(row))
        offsets.append(len(flat))
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, permutations, _SEED)
    signatures: list[list[int]] = matrix.to_rows()
    return signatures


def _rows_per_band(threshold: float, permutations: int) -> int:
    for rows in range(permutations, 1, -1):
        if 1 - (1 - threshold**rows) ** (permutations // rows) >= _RECALL:
            return rows
    return 1


def _check(values: Sequence[str], ids: Sequence[str]) -> None:
    if len(values) != len(ids):
        raise ValueError(f"{len(values)} rows but {len(ids)} ids: expected one id per row")
    if len(set(ids)) != len(ids):
        raise ValueError("ids repeat: expected a unique id per row; remove exact duplicates first")


def _spell_out(character: str) -> str:
    if character.isascii():
        return character
    kind, _, rest = unicodedata.decomposition(character).partition(" ")
    if kind not in _MARKS:
        return character
    return _MARKS[kind] + "".join(chr(int(code, 16)) for code in rest.split()).replace("\u2044", "/")
