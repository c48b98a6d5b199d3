"""`ScaleQuestRun`: what a user asks for. The CRD is generated from these models.

Defaults are the paper's (arXiv 2410.18693); each field that has one names its source: "P x" is a
section, table or figure of the paper, "C" the authors' public code, "ours" a choice that neither
states. Cross-field rules live in `rules.py`.
"""

from typing import Annotated, Literal, Self

import pydantic

from scalequest_jobs.contract import rules, training
from scalequest_jobs.contract.base import DnsLabel, Key, Share, ShortName, SpecModel
from scalequest_jobs.contract.compute import Budget, Compute, Retries
from scalequest_jobs.contract.filtering import Filters, QuestionSampling
from scalequest_jobs.contract.sources import ModelSource, TextSource

API_VERSION = "scalequest.io/v1alpha1"
KIND = "ScaleQuestRun"

NamespaceName = Annotated[
    str, pydantic.Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", min_length=1, max_length=63)
]
Template = Annotated[str, pydantic.Field(min_length=1, max_length=8192)]


class Storage(SpecModel):
    """Where artifacts live: any S3 server. `scalequest local` uses a folder unless told otherwise."""

    bucket: Annotated[str, pydantic.Field(max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    """Bucket name."""
    prefix: Key | None = None
    """Keys start with this; the bucket's root when absent."""
    endpoint: Annotated[str, pydantic.Field(max_length=253, pattern=r"^https?://[!-.0-~]+$")] | None = None
    """Server address, `https://host:port`; the profile's when absent."""
    region: Annotated[str, pydantic.Field(max_length=63, pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Region name that requests are signed for."""
    credentials_secret: DnsLabel | None = None
    """Secret in the run's namespace with the keys `access-key` and `secret-key`."""


class Generator(SpecModel):
    """A model that writes questions."""

    name: ShortName
    """Short name, part of stage names such as `generate-questions@NAME`."""
    model: DnsLabel
    """Name of an entry of `models`: an instruction-tuned model (P 3.1)."""
    questions: Annotated[int, pydantic.Field(ge=1, le=100_000_000)]
    """Questions to write, before any filter. Paper: 1,000,000 from each generator (P 3.1)."""
    temperature: Annotated[float, pydantic.Field(ge=0, le=2)] = 1.0
    """Sampling temperature (P App A)."""
    top_p: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.99
    """Nucleus sampling mass (P App A)."""
    max_tokens: Annotated[int, pydantic.Field(ge=8, le=8192)] = 512
    """Longest question in tokens (P App A); one that does not end by then is rejected as truncated."""
    difficulty: QuestionSampling | None = None
    """Which difficulties to keep. Absent keeps all, as the paper does for Qwen2-Math (P 3.1)."""


class Endpoint(SpecModel):
    """An OpenAI-compatible chat endpoint outside the cluster."""

    url: Annotated[str, pydantic.Field(pattern=r"^https?://[!-~]+$", max_length=512)]
    """Base address, up to and including `/v1`."""
    model: Annotated[str, pydantic.Field(min_length=1, max_length=128)]
    """Model name at the endpoint. Paper: GPT-4o-mini (P 2.3)."""
    api_key_secret: DnsLabel | None = None
    """Secret with the key `api-key`. `scalequest local` reads the file named by SCALEQUEST_API_KEY_FILE."""
    timeout_seconds: Annotated[float, pydantic.Field(gt=0, le=3600)] = 45
    """Time limit of one request (C)."""
    concurrency: Annotated[int, pydantic.Field(ge=1, le=1024)] = 16
    """Requests in flight (ours)."""
    requests_per_minute: Annotated[int, pydantic.Field(ge=0, le=1_000_000)] = 0
    """Rate limit; 0 is none (ours)."""
    prompt_usd_per_million: Annotated[float, pydantic.Field(ge=0, le=10_000)] = 0
    """Price of a million prompt tokens, in USD."""
    completion_usd_per_million: Annotated[float, pydantic.Field(ge=0, le=10_000)] = 0
    """Price of a million completion tokens, in USD."""
    max_cost_usd: Annotated[float, pydantic.Field(ge=0, le=1_000_000)] = 0
    """Spend limit of one stage, in USD; 0 is none."""


class Rewriter(SpecModel):
    """Who rewrites questions for preference training: an endpoint, or a model of the run."""

    endpoint: Endpoint | None = None
    """A chat endpoint."""
    model: DnsLabel | None = None
    """An entry of `models`, instead of `endpoint`."""
    temperature: Annotated[float, pydantic.Field(ge=0, le=2)] = 0
    """Sampling temperature (C)."""
    top_p: Annotated[float, pydantic.Field(gt=0, le=1)] = 1
    """Nucleus sampling mass (C)."""
    max_tokens: Annotated[int, pydantic.Field(ge=16, le=32_768)] = 4096
    """Longest rewrite, in tokens (C)."""


class Preference(training.PreferenceTraining):
    """Question Preference Optimization, QPO (P 2.3)."""

    questions: Annotated[int, pydantic.Field(ge=2, le=10_000_000)] = 10_000
    """Questions sampled from each generator to be rewritten (P 2.3)."""
    rewriter: Rewriter
    """Who rewrites."""
    solvability_share: Share = 0.5
    """Share of questions rewritten for solvability, the others for difficulty, at random (P 2.3)."""
    min_length_ratio: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.5
    """A rewrite shorter than this times its original is left out (ours)."""
    max_length_ratio: Annotated[float, pydantic.Field(ge=1, le=10)] = 3.0
    """A rewrite longer than this times its original is left out; the paper's difficulty prompt adds 10-20 words (ours)."""


class Responses(SpecModel):
    """Response generation (P 2.5)."""

    model: DnsLabel
    """Entry of `models` that answers. Paper: Qwen2-Math-7B-Instruct (P 2.5)."""
    candidates: Annotated[int, pydantic.Field(ge=1, le=64)] = 5
    """Answers to each question, in one request (P 2.5)."""
    temperature: Annotated[float, pydantic.Field(ge=0, le=2)] = 0.7
    """Sampling temperature (P App A)."""
    top_p: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.95
    """Nucleus sampling mass (P App A)."""
    max_tokens: Annotated[int, pydantic.Field(ge=8, le=65_536)] = 2048
    """Longest answer, in tokens (P App A)."""


class Selection(SpecModel):
    """Which of a question's answers is kept (P 2.5)."""

    method: Literal["reward", "likelihood", "majority", "majority-then-reward"] = "reward"
    """reward: the highest reward (the paper). likelihood: the highest mean log-probability under `model`,
    a stronger language model. majority: the most frequent final answer. majority-then-reward: the
    highest reward among those."""
    model: DnsLabel | None = None
    """Entry of `models` that scores: a one-output reward model, or a language model for likelihood. Not used by majority."""
    min_score: float | None = None
    """Reject a question whose best score is lower; absent keeps all, as the paper does (P 2.5)."""
    min_agreement: Share = 0
    """Reject a question when fewer than this share of its candidates give the kept answer (ours)."""


class Prompts(SpecModel):
    """Replacements for the domain's prompts; each must contain `{question}`."""

    response: Template | None = None
    """User turn that asks for a solution."""
    solvability: Template | None = None
    """User turn that asks whether a question can be solved; the answer must end in Yes or No."""
    rewrite_solvability: Template | None = None
    """User turn that asks for a solvable version (P Fig 10)."""
    rewrite_difficulty: Template | None = None
    """User turn that asks for a harder version (P Fig 11)."""


class Gates(SpecModel):
    """What is measured after each training stage: stop rate, duplicates, copies of seeds, length, drift."""

    sample: Annotated[int, pydantic.Field(ge=16, le=10_000)] = 256
    """Questions written and measured (ours)."""


class Publish(SpecModel):
    """How the dataset is published."""

    name: DnsLabel | None = None
    """Dataset name; the run's when absent."""
    license: Annotated[str, pydantic.Field(min_length=1, max_length=64)] = "other"
    """License identifier for the dataset card, as on the model hub, for example `apache-2.0`."""
    shard_rows: Annotated[int, pydantic.Field(ge=1, le=10_000_000)] = 100_000
    """Rows in one Parquet file."""


class Spec(SpecModel):
    """What to make and with what."""

    domain: Literal["math"] = "math"
    """Subject: prompts, answer extraction and equivalence."""
    seed: Annotated[int, pydantic.Field(ge=0, le=2**53 - 1)] = 20_241_024
    """Every random draw derives from it."""
    storage: Storage
    seed_questions: TextSource
    """Seed questions. Paper: GSM8K and MATH training questions, about 15,000 (P 2.2)."""
    models: Annotated[dict[DnsLabel, ModelSource], pydantic.Field(min_length=1, max_length=16)]
    """Models by name."""
    generators: Annotated[tuple[Generator, ...], pydantic.Field(min_length=1, max_length=8)]
    """Models that write questions; each is trained and sampled on its own."""
    fine_tuning: training.FineTuning | None = training.FineTuning()
    """Question Fine-Tuning, QFT (P 2.2); null or `enabled: false` takes the generators as they are."""
    preference: Preference | None = None
    """Question Preference Optimization, QPO (P 2.3); absent leaves it out."""
    filters: Filters
    responses: Responses
    selection: Selection = Selection(method="majority")
    student: training.Student | None = None
    """Train and evaluate a student on the dataset (P 3)."""
    prompts: Prompts = Prompts()
    gates: Gates = Gates()
    publish: Publish = Publish()
    compute: Compute = Compute(stages={})
    budget: Budget = Budget()
    retries: Retries = Retries()
    suspend: bool = False
    """Stop after the chunks in progress and hold no GPU until it is false again."""
    cancel: bool = False
    """End the run for good; finished stages stay in the cache for other runs. Cannot be taken back."""
    active_deadline_seconds: Annotated[int, pydantic.Field(ge=60, le=31_536_000)] | None = None
    """Give up this long after the run started, in seconds."""
    ttl_seconds_after_finished: Annotated[int, pydantic.Field(ge=0, le=31_536_000)] | None = None
    """Delete the run this long after it ended, in seconds; its artifacts stay."""

    @pydantic.field_validator("fine_tuning")
    @classmethod
    def leave_out(cls, fine_tuning: training.FineTuning | None) -> training.FineTuning | None:
        """Take fine-tuning that is not enabled for none."""
        return fine_tuning if fine_tuning and fine_tuning.enabled else None

    @pydantic.model_validator(mode="after")
    def check_rules(self) -> Self:
        """Hold the spec against every cross-field rule and report all that fail at once."""
        if broken := [problem for rule in rules.RULES for problem in rule.problems(self)]:
            raise ValueError("; ".join(broken))
        return self


class Metadata(pydantic.BaseModel):
    """The part of Kubernetes' object metadata that a run file carries."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    name: DnsLabel
    namespace: NamespaceName = "default"


class ScaleQuestRun(SpecModel):
    """One run: from seed questions to a published dataset."""

    api_version: Literal["scalequest.io/v1alpha1"] = pydantic.Field(alias="apiVersion")
    kind: Literal["ScaleQuestRun"]
    metadata: Metadata
    spec: Spec
