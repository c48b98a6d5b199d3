"""Runs, good and bad, each a small edit of one that uses every field: what is at fault and what to do about it.

`fix` stands in the messages of the API server and of a run file, in upper or lower case; `server_fix` where the
server words it otherwise.
"""

import copy
import enum
from dataclasses import dataclass
from typing import Any, Final


class Gone(enum.Enum):
    """The value of an edit that removes a field."""

    GONE = "gone"


GONE: Final = Gone.GONE

COMMIT: Final = "0123456789abcdef0123456789abcdef01234567"

FULL: Final[dict[str, Any]] = {
    "apiVersion": "scalequest.io/v1alpha1",
    "kind": "ScaleQuestRun",
    "metadata": {"name": "full", "namespace": "default"},
    "spec": {
        "seed": 7,
        "storage": {"bucket": "bucket", "prefix": "runs/full", "endpoint": "https://s3.example:9000", "credentialsSecret": "s3"},
        "seedQuestions": {"key": "seeds.parquet", "answerColumn": "answer", "maxRows": 15_000},
        "models": {
            "writer": {"hub": "owner/writer", "revision": COMMIT},
            "solver": {"key": "models/solver"},
            "reward": {"path": "/models/reward"},
        },
        "generators": [
            {"name": "a", "model": "writer", "questions": 1000, "difficulty": {"keep": "histogram", "bins": [0, 0.5, 0.5]}},
            {"name": "b", "model": "solver", "questions": 1000, "difficulty": {"minimum": 0.1, "maximum": 0.9}},
        ],
        "fineTuning": {"learningRate": 2e-5, "adapters": {"rank": 16}},
        "preference": {
            "rewriter": {"endpoint": {"url": "https://api.example/v1", "model": "teacher", "apiKeySecret": "api"}},
            "heldOut": 50,
        },
        "filters": {
            "format": {"minTokens": 4, "maxTokens": 300},
            "language": {"keep": ["en", "de"]},
            "duplicates": {"threshold": 0.8},
            "contamination": {"benchmarks": [{"name": "gsm8k", "key": "gsm8k.parquet"}, {"name": "math", "path": "/math.csv"}]},
            "solvability": {"model": "solver"},
            "difficulty": {"scorer": "train", "base": "solver", "solver": "writer"},
        },
        "responses": {"model": "solver"},
        "selection": {"method": "majority-then-reward", "model": "reward", "minScore": -1.5},
        "prompts": {"response": "Solve:\n{question}"},
        "gates": {"sample": 64},
        "publish": {"name": "full", "license": "apache-2.0"},
        "compute": {
            "profile": "a100",
            "engine": {"dtype": "bfloat16", "gpuMemoryUtilization": 0.9},
            "stages": {"generate-questions": {"shards": 4, "chunkRows": 500, "resources": {"nvidia.com/gpu": "2", "memory": "64Gi"}}},
        },
        "budget": {"maxGpuHours": 600, "maxCostUsd": 800.5},
        "retries": {"failures": 3, "disruptions": "unlimited"},
        "activeDeadlineSeconds": 86_400,
        "ttlSecondsAfterFinished": 3600,
    },
}  # fmt: skip


def edited(*edits: tuple[str, Any]) -> dict[str, Any]:
    """Return FULL with the values at dotted paths replaced, added, or (GONE) removed."""
    document = copy.deepcopy(FULL)
    for path, value in edits:
        *parents, last = path.split(".")
        place: Any = document
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        if value is GONE:
            del place[last]
        else:
            place[int(last) if isinstance(place, list) else last] = copy.deepcopy(value)
    return document


def kept(*edits: tuple[str, Any]) -> dict[str, Any]:
    """Return the same of the run that the tests of changes create."""
    return edited(("metadata.name", "kept"), *edits)


@dataclass(frozen=True, kw_only=True)
class Bad:
    """An edit that makes FULL a bad run: the field that is at fault, and a piece of the fix."""

    edits: tuple[tuple[str, Any], ...]
    field: str
    fix: str
    server_fix: str

    @property
    def title(self) -> str:
        """Return a name for the test."""
        return ",".join(
            f"{path.removeprefix('spec.')}={'' if value is GONE else value!r:.24}"
            for path, value in self.edits
        )


def bad(
    path: str,
    value: Any,
    fix: str,
    *,
    field: str = "",
    server_fix: str = "",
    also: tuple[tuple[str, Any], ...] = (),
) -> Bad:
    """Return a bad run; what is at fault is the edited field unless said otherwise."""
    return Bad(edits=((path, value), *also), field=field or path, fix=fix, server_fix=server_fix or fix)


_PLACE = "give exactly one of key (in the bucket) and path (on a volume)"
_MODEL_PLACE = "give exactly one of hub, key (in the bucket) and path (on a volume)"
_REVISION = "give revision (a 40-digit commit) with hub, and only with hub"
_UNKNOWN = "name an entry of spec.models, not nobody"
_OWN_NAME = "a name of its own"
_BINS = "give bins, one of them above 0, with keep: histogram, and only with it"
_SCORER = "with scorer: train, give base, solver and seedQuestions.answerColumn"
_SCORING = "give the scoring model with method reward, likelihood or majority-then-reward"
_TEMPLATE = "put {question} into each template"
_BENCHMARKS = "spec.filters.contamination.benchmarks"
_ENGINE = "spec.compute.engine"
_STAGES = "spec.compute.stages"
_DNS = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"

MISSING: Final = tuple(
    bad(path, GONE, "required")
    for path in (
        "spec",
        "spec.storage",
        "spec.storage.bucket",
        "spec.seedQuestions",
        "spec.models",
        "spec.generators",
        "spec.generators.0.name",
        "spec.generators.0.model",
        "spec.generators.1.questions",
        "spec.preference.rewriter",
        "spec.preference.rewriter.endpoint.url",
        "spec.preference.rewriter.endpoint.model",
        "spec.filters",
        "spec.filters.solvability",
        "spec.filters.solvability.model",
        f"{_BENCHMARKS}.0.name",
        "spec.responses",
        "spec.responses.model",
    )
)  # fmt: skip

NULL: Final = tuple(
    bad(path, None, "required")
    for path in ("spec", "spec.storage", "spec.models", "spec.generators", "spec.filters.solvability", "spec.responses.model")
)  # fmt: skip

UNKNOWN: Final = tuple(
    bad(path, value, "unknown field")
    for path, value in (
        ("spec.generator", []),
        ("spec.seed_questions", {"key": "x"}),
        ("spec.storage.accessKey", "secret"),
        ("spec.models.writer.url", "https://example"),
        ("spec.generators.0.top_p", 0.5),
        ("spec.fineTuning.packed", True),
        ("spec.preference.rewriter.endpoint.apiKey", "secret"),
        ("spec.filters.toxicity", {}),
        ("spec.compute.image", "example/image"),
        (f"{_STAGES}.generate-questions.podTemplate", {}),
        ("spec.budget.maxHours", 1),
        ("hello", "world"),
    )
)  # fmt: skip

TYPES: Final = (
    bad("spec.seed", "7", "integer"),
    bad("spec.seed", 1.5, "integer"),
    bad("spec.seed", True, "integer"),
    bad("spec.generators.0.questions", "1000", "integer"),
    bad("spec.generators.0.temperature", "1e-3", "number"),
    bad("spec.fineTuning.learningRate", "2e-5", "number"),
    bad("spec.fineTuning.learningRate", False, "number"),
    bad("spec.fineTuning.packing", "yes", "boolean"),
    bad("spec.fineTuning.packing", 1, "boolean"),
    bad("spec.suspend", "true", "boolean"),
    bad("spec.storage.bucket", 17, "string"),
    bad(f"{_STAGES}.generate-questions.resources", {"memory": 4}, "string", field=f"{_STAGES}.generate-questions.resources.memory"),
    bad("spec.storage", "bucket", "object"),
    bad("spec.responses", "solver", "object"),
    bad("spec.models", ["writer"], "object"),
    bad("spec.filters.language.keep", "en", "list", server_fix="array"),
    bad("spec.generators", "writer", "list", server_fix="array"),
    bad("spec.filters.language.keep", [None], "string", field="spec.filters.language.keep.0"),
)  # fmt: skip

BOUNDS: Final = (
    bad("spec.seed", -1, "greater than or equal to 0"),
    bad("spec.seed", 2**53, "less than or equal to 9007199254740991"),
    bad("spec.generators.0.questions", 0, "greater than or equal to 1"),
    bad("spec.generators.0.questions", 100_000_001, "less than or equal to 100000000"),
    bad("spec.generators.0.temperature", 2.1, "less than or equal to 2"),
    bad("spec.generators.0.topP", 0, "greater than 0"),
    bad("spec.generators.0.topP", 1.01, "less than or equal to 1"),
    bad("spec.generators.0.maxTokens", 7, "greater than or equal to 8"),
    bad("spec.generators.0.difficulty.bins", [0.5, 1.5], "less than or equal to 1", field="spec.generators.0.difficulty.bins.1"),
    bad("spec.seedQuestions.maxRows", 0, "greater than or equal to 1"),
    bad("spec.fineTuning.epochs", 0, "greater than 0"),
    bad("spec.fineTuning.learningRate", -1e-5, "greater than 0"),
    bad("spec.fineTuning.learningRate", 0, "greater than 0"),
    bad("spec.fineTuning.batchSize", 0, "greater than or equal to 1"),
    bad("spec.fineTuning.adapters.rank", 0, "greater than or equal to 1"),
    bad("spec.fineTuning.warmupRatio", 1.1, "less than or equal to 1"),
    bad("spec.preference.beta", 0, "greater than 0"),
    bad("spec.preference.solvabilityShare", -0.1, "greater than or equal to 0"),
    bad("spec.preference.maxLengthRatio", 0.9, "greater than or equal to 1"),
    bad("spec.preference.rewriter.endpoint.concurrency", 0, "greater than or equal to 1"),
    bad("spec.filters.duplicates.threshold", 0, "greater than 0"),
    bad("spec.filters.difficulty.samples", 257, "less than or equal to 256"),
    bad("spec.responses.candidates", 65, "less than or equal to 64"),
    bad("spec.selection.minAgreement", 2, "less than or equal to 1"),
    bad("spec.gates.sample", 15, "greater than or equal to 16"),
    bad("spec.publish.shardRows", 0, "greater than or equal to 1"),
    bad(f"{_ENGINE}.gpuMemoryUtilization", 0, "greater than 0"),
    bad(f"{_ENGINE}.window", 65_537, "less than or equal to 65536"),
    bad(f"{_STAGES}.generate-questions.shards", 0, "greater than or equal to 1"),
    bad(f"{_STAGES}.generate-questions.shards", 1001, "less than or equal to 1000"),
    bad("spec.budget.maxGpuHours", 0, "greater than 0"),
    bad("spec.budget.maxCostUsd", -5, "greater than 0"),
    bad("spec.retries.failures", 101, "less than or equal to 100"),
    bad("spec.activeDeadlineSeconds", 59, "greater than or equal to 60"),
    bad("spec.ttlSecondsAfterFinished", -1, "greater than or equal to 0"),
    bad("spec.models", {}, "at least 1"),
    bad("spec.generators", [], "at least 1"),
    bad("spec.filters.language.keep", [], "at least 1"),
    bad("spec.generators", [{"name": f"g{i}", "model": "solver", "questions": 1} for i in range(9)], "8 items"),
    bad("spec.generators.1.difficulty.bins", [0] * 51, "50 items"),
)  # fmt: skip

FORMS: Final = (
    bad("metadata.name", "a" * 41, "at most 40"),
    bad("metadata.name", "full.of.dots", _DNS, server_fix="lower-case letters, digits and hyphens"),
    bad("spec.storage.bucket", "Bucket", "[a-z0-9.-]{1,61}"),
    bad("spec.storage.bucket", "b", "[a-z0-9.-]{1,61}"),
    bad("spec.storage.endpoint", "s3:9000", "https?://"),
    bad("spec.storage.endpoint", "https://s3/path", "https?://"),
    bad("spec.storage.endpoint", "https://s3\u00a0", "https?://"),
    bad("spec.storage.region", "EU", "[a-z0-9-]+"),
    bad("spec.storage.prefix", "/leading", "[A-Za-z0-9._=@+-]+"),
    bad("spec.storage.credentialsSecret", "-s3", _DNS),
    bad("spec.seedQuestions.key", "seeds\n", "[A-Za-z0-9._=@+-]+"),
    bad("spec.seedQuestions.column", "", "at least 1"),
    bad("spec.models.writer.hub", "writer", "[A-Za-z0-9._-]+/[A-Za-z0-9._-]+"),
    bad("spec.models.writer.revision", "main", "[0-9a-f]{40}"),
    bad("spec.models.writer.revision", COMMIT.upper() + "A", "40"),
    bad("spec.models", {"Writer": {"key": "x"}}, _DNS),
    bad("spec.models", {"w" * 41: {"key": "x"}}, "40 characters"),
    bad("spec.generators.0.name", "g" * 17, "16"),
    bad("spec.generators.0.name", "Qwen", _DNS),
    bad("spec.preference.rewriter.endpoint.url", "api.example/v1", "https?://"),
    bad("spec.filters.language.keep.0", "EN", "[a-z]{2,3}"),
    bad("spec.filters.difficulty.scorer", "A Model", "passRate"),
    bad("spec.prompts.response", "{question}" * 820, "8192"),
    bad("spec.compute.profile", "A100", _DNS),
    bad(_STAGES, {"Generate": {}}, "[a-z]+(-[a-z]+)+"),
    bad(f"{_STAGES}.generate-questions.resources", {"memory": "64GB"}, "Ki|Mi|Gi|Ti", field=f"{_STAGES}.generate-questions.resources.memory"),
    bad(f"{_STAGES}.generate-questions.resources", {"NVIDIA gpu": "1"}, "[a-z0-9./-]+"),
)  # fmt: skip

ENUMS: Final = (
    bad("spec.domain", "chemistry", "math"),
    bad("spec.fineTuning.scheduler", "step", "cosine"),
    bad("spec.generators.0.difficulty.keep", "all", "histogram"),
    bad("spec.filters.duplicates.method", "fuzzy", "minhash"),
    bad("spec.filters.solvability.mode", "verdict", "reasoned"),
    bad("spec.selection.method", "best", "majority"),
    bad(f"{_ENGINE}.dtype", "int8", "bfloat16"),
    bad("spec.retries.disruptions", "2", "unlimited"),
    bad("spec.retries.disruptions", "never", "unlimited"),
    bad("spec.retries.disruptions", -1, "unlimited"),
    bad("spec.retries.disruptions", 10_001, "unlimited"),
    bad("spec.retries.disruptions", 1.5, "integer"),
)  # fmt: skip

RULES: Final = (
    bad("spec.seedQuestions.key", GONE, _PLACE, field="spec.seedQuestions"),
    bad("spec.seedQuestions.key", None, _PLACE, field="spec.seedQuestions"),
    bad("spec.seedQuestions.path", "/seeds", _PLACE, field="spec.seedQuestions"),
    bad(f"{_BENCHMARKS}.0.key", GONE, _PLACE, field=f"{_BENCHMARKS}.0"),
    bad(f"{_BENCHMARKS}.1.key", "math.csv", _PLACE, field=f"{_BENCHMARKS}.1"),
    bad(f"{_BENCHMARKS}.1.name", "gsm8k", _OWN_NAME, field=_BENCHMARKS),
    bad("spec.models.more", {}, _MODEL_PLACE),
    bad("spec.models.more", {"key": "a", "path": "b"}, _MODEL_PLACE),
    bad("spec.models.writer.key", "models/writer", _MODEL_PLACE, field="spec.models.writer"),
    bad("spec.models.writer.revision", GONE, _REVISION, field="spec.models.writer"),
    bad("spec.models.solver.revision", COMMIT, _REVISION, field="spec.models.solver"),
    bad("spec.generators.1.model", "nobody", "name an entry of spec.models in each generator's model", field="spec.generators"),
    bad("spec.generators.1.model", "train", "name an entry of spec.models in each generator's model", field="spec.generators"),
    bad("spec.models.writer", None, "name an entry of spec.models in each generator's model", field="spec.generators",
        also=(("spec.filters.difficulty.solver", "solver"),)),
    bad("spec.filters.solvability.model", "nobody", _UNKNOWN),
    bad("spec.filters.difficulty.base", "nobody", _UNKNOWN),
    bad("spec.filters.difficulty.solver", "nobody", _UNKNOWN),
    bad("spec.filters.difficulty.scorer", "nobody", "name an entry of spec.models or train or passRate, not nobody"),
    bad("spec.preference.rewriter", {"model": "nobody"}, _UNKNOWN, field="spec.preference.rewriter.model"),
    bad("spec.responses.model", "nobody", _UNKNOWN),
    bad("spec.selection.model", "nobody", _UNKNOWN),
    bad("spec.generators.1.name", "a", _OWN_NAME, field="spec.generators"),
    bad("spec.filters.difficulty", GONE, "set filters.difficulty when a generator has difficulty", field="spec.generators"),
    bad("spec.filters.difficulty", None, "set filters.difficulty when a generator has difficulty", field="spec.generators"),
    bad("spec.generators.0.difficulty.bins", GONE, _BINS),
    bad("spec.generators.0.difficulty.bins", [0, 0], _BINS),
    bad("spec.generators.1.difficulty.bins", [1], _BINS),
    bad("spec.generators.1.difficulty.minimum", 0.91, "give a minimum that is at most the maximum"),
    bad("spec.preference.rewriter", {}, "give exactly one of endpoint and model"),
    bad("spec.preference.rewriter.model", "solver", "give exactly one of endpoint and model", field="spec.preference.rewriter"),
    bad("spec.filters.difficulty.base", GONE, _SCORER, field="spec.filters.difficulty"),
    bad("spec.filters.difficulty.solver", None, _SCORER, field="spec.filters.difficulty"),
    bad("spec.seedQuestions.answerColumn", GONE, _SCORER, field="spec.filters.difficulty"),
    bad("spec.selection.model", GONE, _SCORING),
    bad("spec.selection", {}, _SCORING, field="spec.selection.model"),
    bad("spec.selection.method", "majority", _SCORING, field="spec.selection.model"),
    bad("spec.filters.format.minTokens", 301, "give minTokens that is at most maxTokens"),
    bad("spec.prompts.response", "Solve it.", _TEMPLATE, field="spec.prompts"),
    bad("spec.prompts.rewriteDifficulty", "Harder: {q}", _TEMPLATE, field="spec.prompts"),
    bad("spec.student", {"model": "solver"}, "leave it out: this version trains no student yet"),
)  # fmt: skip

BAD: Final = (*MISSING, *NULL, *UNKNOWN, *TYPES, *BOUNDS, *FORMS, *ENUMS, *RULES)

GOOD: Final[tuple[tuple[tuple[str, Any], ...], ...]] = (
    (),
    (("metadata.name", "a" * 40),),
    (("metadata.labels", {"team": "data"}), ("metadata.annotations", {"note": "x"})),
    (("spec.preference", GONE),),
    (("spec.preference", None), ("spec.fineTuning", None)),
    (("spec.fineTuning", GONE),),
    (("spec.fineTuning", {}),),
    (("spec.filters.duplicates", None),),
    (("spec.filters.duplicates", GONE), ("spec.filters.language", None), ("spec.filters.format", GONE)),
    (("spec.seed", None), ("spec.domain", None), ("spec.publish", None), ("spec.gates", None), ("spec.suspend", None)),
    (("spec.compute", GONE), ("spec.budget", GONE), ("spec.retries", GONE), ("spec.publish", GONE), ("spec.prompts", GONE)),
    (("spec.compute", None), ("spec.budget", None), ("spec.retries", None)),
    (("spec.compute.stages", None), ("spec.compute.engine", None)),
    (("spec.seed", 7.0), ("spec.generators.0.questions", 1e6), ("spec.fineTuning.epochs", 1)),
    (("spec.seed", 2**53 - 1),),
    (("spec.fineTuning.learningRate", 1), ("spec.generators.0.temperature", 0), ("spec.generators.0.topP", 1)),
    (("spec.retries.disruptions", 0),),
    (("spec.retries.disruptions", 10_000),),
    (("spec.retries", {"failures": 0, "disruptions": None}),),
    (("spec.selection", GONE),),
    (("spec.selection", {"method": "majority"}),),
    (("spec.selection", {"method": "likelihood", "model": "solver"}),),
    (("spec.filters.difficulty", {"scorer": "passRate"}), ("spec.seedQuestions.answerColumn", GONE)),
    (("spec.filters.difficulty", {"scorer": "reward"}),),
    (("spec.filters.difficulty", GONE), ("spec.generators.0.difficulty", GONE), ("spec.generators.1.difficulty", None)),
    (("spec.generators.1.difficulty", {"minimum": 0.5, "maximum": 0.5}),),
    (("spec.preference.rewriter", {"model": "solver"}),),
    (("spec.models.unused", {"key": "models/unused"}),),
    (("spec.models.train", {"key": "models/train"}), ("spec.generators.1.model", "train")),
    (("spec.filters.contamination", {"benchmarks": []}),),
    (("spec.prompts", {"solvability": "{question}", "rewriteSolvability": "\u00fc {question}"}),),
    (("spec.storage", {"bucket": "b-1", "endpoint": "http://127.0.0.1:9000", "region": "eu-1", "prefix": None}),),
    (("spec.models.reward", {"path": "models/\u00e9 x"}),),
)  # fmt: skip

REUSE: Final = "Create a run of another name"

BAD_CHANGES: Final = (
    bad("spec.seed", 8, REUSE),
    bad("spec.seed", GONE, REUSE),
    bad("spec.storage.prefix", "runs/other", REUSE, field="spec.storage"),
    bad("spec.storage.credentialsSecret", GONE, REUSE, field="spec.storage"),
    bad("spec.seedQuestions.maxRows", 100, REUSE, field="spec.seedQuestions"),
    bad("spec.models.unused", {"key": "x"}, REUSE, field="spec.models"),
    bad("spec.models.writer.revision", "f" * 40, REUSE, field="spec.models"),
    bad("spec.generators.0.questions", 2000, REUSE, field="spec.generators"),
    bad("spec.generators.1.difficulty.minimum", 0.2, REUSE, field="spec.generators"),
    bad("spec.fineTuning.epochs", 2, REUSE, field="spec.fineTuning"),
    bad("spec.fineTuning", None, REUSE),
    bad("spec.preference.beta", 0.2, REUSE, field="spec.preference"),
    bad("spec.preference", GONE, REUSE),
    bad("spec.filters.duplicates", None, REUSE, field="spec.filters"),
    bad("spec.filters.difficulty.samples", 16, REUSE, field="spec.filters"),
    bad("spec.responses.candidates", 4, REUSE, field="spec.responses"),
    bad("spec.selection.minScore", GONE, REUSE, field="spec.selection"),
    bad("spec.prompts.response", "{question}", REUSE, field="spec.prompts"),
    bad("spec.gates.sample", 32, REUSE, field="spec.gates"),
    bad("spec.publish.license", "mit", REUSE, field="spec.publish"),
    bad("spec.compute.profile", "h100", REUSE, field="spec.compute"),
    bad("spec.compute.engine.dtype", "float16", REUSE, field="spec.compute"),
    bad(f"{_STAGES}.generate-questions.shards", 8, REUSE, field="spec.compute"),
    bad(f"{_STAGES}.publish-dataset", {"resources": {"memory": "1Gi"}}, REUSE, field="spec.compute"),
)  # fmt: skip

GOOD_CHANGES: Final[tuple[tuple[tuple[str, Any], ...], ...]] = (
    (),
    (("spec.suspend", True),),
    (("spec.cancel", True),),
    (("spec.budget.maxGpuHours", 1200),),
    (("spec.budget", GONE),),
    (("spec.retries.failures", 10), ("spec.retries.disruptions", 5)),
    (("spec.activeDeadlineSeconds", GONE), ("spec.ttlSecondsAfterFinished", 60)),
    (("metadata.labels", {"team": "data"}),),
    (("spec.domain", "math"), ("spec.seedQuestions.column", "question"), ("spec.storage.region", None)),
    (("spec.seedQuestions.path", None), ("spec.compute.engine.maxSequences", None)),
    (("spec.generators.0.topP", 0.99), ("spec.filters.contamination.ngram", 13)),
)  # fmt: skip
