"""The spec's filters."""

from typing import Annotated, Literal

import pydantic

from scalequest_jobs.contract.base import DnsLabel, Share, SpecModel
from scalequest_jobs.contract.sources import Benchmark
from scalequest_jobs.contract.training import ScorerTraining

LanguageCode = Annotated[str, pydantic.Field(max_length=3, pattern=r"^[a-z]{2,3}$")]


class QuestionSampling(SpecModel):
    """Difficulty sampling for one generator (P 2.4). A score is an expected fail rate, 0 easy to 1 hard."""

    keep: Literal["threshold", "histogram"] = "threshold"
    """threshold: scores from `minimum` to `maximum`; the cut is made before the solvability check, which
    then costs less. histogram: thin each bin to the shares of `bins`, after it."""
    minimum: float = 0.0
    """Lowest score kept; easier questions are rejected as too easy."""
    maximum: float = 1e9
    """Highest score kept."""
    bins: Annotated[tuple[Share, ...], pydantic.Field(max_length=50)] = ()
    """Target share of each of equally wide bins from 0 to 1; at least one above 0."""


class FormatFilter(SpecModel):
    """Shape of a question: no role markers, no answer inside, one question, no missing figure (ours)."""

    min_tokens: Annotated[int, pydantic.Field(ge=1, le=1000)] = 8
    """Shortest question, in the generator's tokens (ours)."""
    max_tokens: Annotated[int, pydantic.Field(ge=8, le=8192)] = 400
    """Longest question, in the generator's tokens (ours)."""


class LanguageFilter(SpecModel):
    """Language of a question (P 2.4)."""

    keep: Annotated[tuple[LanguageCode, ...], pydantic.Field(min_length=1, max_length=32)] = ("en",)
    """Languages kept, as ISO 639-1 codes."""
    min_score: Share = 0.5
    """Lowest probability of the detected language."""


class DuplicateFilter(SpecModel):
    """Repeated questions, within and across generators; the paper has none (P 3, ours)."""

    enabled: bool = True
    """false leaves the filter out, like null, which `kubectl apply` drops before the API server sees it."""
    method: Literal["minhash", "exact"] = "minhash"
    """minhash also finds near duplicates; exact compares normalised text only."""
    threshold: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.7
    """Jaccard similarity of word n-grams from which two questions are one."""
    ngram: Annotated[int, pydantic.Field(ge=1, le=20)] = 3
    """Words in an n-gram."""


class ContaminationFilter(SpecModel):
    """Overlap with benchmarks: measured by the paper, not applied (P App B, Table 6)."""

    benchmarks: Annotated[tuple[Benchmark, ...], pydantic.Field(max_length=32)] = ()
    """Benchmarks to compare with."""
    ngram: Annotated[int, pydantic.Field(ge=2, le=50)] = 13
    """Words in an n-gram; one in common rejects a question (P App B)."""


class SolvabilityFilter(SpecModel):
    """A model checks each question for being a problem that can be solved (P 2.4, Fig 12)."""

    model: DnsLabel
    """Entry of `models` that judges. Paper: Qwen2-Math-7B-Instruct (P 2.4)."""
    mode: Literal["reasoned"] = "reasoned"
    """reasoned: think step by step, then Yes or No (the paper)."""
    temperature: Annotated[float, pydantic.Field(ge=0, le=2)] = 0
    """Sampling temperature; 0 is greedy (C)."""
    max_tokens: Annotated[int, pydantic.Field(ge=1, le=65_536)] = 2048
    """Longest judgement, in tokens (C)."""


class DifficultyFilter(SpecModel):
    """How difficulty is measured (P 2.4)."""

    scorer: DnsLabel | Literal["train", "passRate"] = "train"
    """train: a regression head on fail rates over the seed questions (the paper). passRate: the share of
    candidate answers that disagree with the kept one, measured after answering. Otherwise an entry
    of `models` with a one-output head."""
    base: DnsLabel | None = None
    """Entry of `models` that the head is trained on. Paper: DeepSeekMath-7B-Base (P 2.4)."""
    solver: DnsLabel | None = None
    """Entry of `models` whose failures are learnt. Paper: DeepSeekMath-7B-RL (P 2.4)."""
    samples: Annotated[int, pydantic.Field(ge=1, le=256)] = 8
    """Answers to each seed question; not published (ours)."""
    temperature: Annotated[float, pydantic.Field(gt=0, le=2)] = 0.7
    """Sampling temperature of those answers (ours)."""
    max_tokens: Annotated[int, pydantic.Field(ge=8, le=65_536)] = 2048
    """Longest of those answers, in tokens (ours)."""
    training: ScorerTraining = ScorerTraining()
    """How the head is trained."""


class Filters(SpecModel):
    """All filters, in the order in which they are applied."""

    format: FormatFilter = FormatFilter()
    language: LanguageFilter = LanguageFilter()
    duplicates: DuplicateFilter | None = DuplicateFilter()
    """null leaves it out, and so does `enabled: false`."""
    contamination: ContaminationFilter = ContaminationFilter()
    solvability: SolvabilityFilter
    difficulty: DifficultyFilter | None = None
    """Absent measures no difficulty."""

    @pydantic.field_validator("duplicates")
    @classmethod
    def leave_out(cls, duplicates: DuplicateFilter | None) -> DuplicateFilter | None:
        """Take a filter that is not enabled for none."""
        return duplicates if duplicates and duplicates.enabled else None
