"""What a filter says of one record."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Keep or reject, with the reason and how near it was.

    `reason` is from the filter's closed set ("ok" when kept). `score` is what was measured and
    `limit` what it was held against, when the rule is a number; `detail` is a short free text for
    a person (a language code, the marker that was found, the id of the record it repeats).
    """

    keep: bool
    reason: str = "ok"
    score: float | None = None
    limit: float | None = None
    detail: str = ""


KEEP = Verdict(keep=True)
