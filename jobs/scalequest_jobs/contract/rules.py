"""Rules across fields of the spec, each written twice: in Python, and in CEL for the API server.

The two give the same answer and the same message; a test holds both against the same specs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from scalequest_jobs.contract.filtering import FormatFilter, QuestionSampling
    from scalequest_jobs.contract.run import Generator, Prompts, Rewriter, Spec
    from scalequest_jobs.contract.sources import Benchmark, ModelSource, TextSource

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Place(Generic[Part]):
    """A part of the spec that a rule is about: its path in the schema, and where a spec has it."""

    path: str
    """`*` stands for the items of a list and the values of a map."""
    find: Callable[[Spec], Iterable[tuple[str, Part]]]


@dataclass(frozen=True, kw_only=True)
class Rule(Generic[Part]):
    """`holds(part)` must be true; `message` says what to do with `field` (of the part) otherwise.

    `cel` says the same as `holds`, with the part as `self`. `seen` and `cel_seen` are the value at
    fault, where the message is of more use with it.
    """

    at: Place[Part]
    field: str = ""
    message: str
    holds: Callable[[Part], bool]
    cel: str
    seen: Callable[[Part], str | None] = lambda _: None
    cel_seen: str = ""

    def problems(self, spec: Spec) -> list[str]:
        """Return a line for each part of a spec that breaks the rule."""
        return [self._problem(path, part) for path, part in self.at.find(spec) if not self.holds(part)]

    def _problem(self, path: str, part: Part) -> str:
        seen = self.seen(part)
        place = f"{path}.{self.field}" if self.field else path
        return f"{place}: {self.message}" + (f", not {seen}" if seen else "")


def _numbered(path: str, items: Iterable[Part]) -> list[tuple[str, Part]]:
    return [(f"{path}.{index}", item) for index, item in enumerate(items)]


def _samplings(spec: Spec) -> Iterable[tuple[str, QuestionSampling]]:
    for index, generator in enumerate(spec.generators):
        if generator.difficulty:
            yield f"spec.generators.{index}.difficulty", generator.difficulty


def _rewriters(spec: Spec) -> Iterable[tuple[str, Rewriter]]:
    return [("spec.preference.rewriter", spec.preference.rewriter)] if spec.preference else []


_BENCHMARKS: Final = "spec.filters.contamination.benchmarks"

_SPEC: Final[Place[Spec]] = Place(path="spec", find=lambda spec: [("spec", spec)])
_SEEDS: Final[Place[TextSource]] = Place(
    path="spec.seedQuestions", find=lambda spec: [("spec.seedQuestions", spec.seed_questions)]
)
_MODEL: Final[Place[ModelSource]] = Place(
    path="spec.models.*",
    find=lambda spec: [(f"spec.models.{name}", model) for name, model in spec.models.items()],
)
_GENERATORS: Final[Place[Sequence[Generator]]] = Place(
    path="spec.generators", find=lambda spec: [("spec.generators", spec.generators)]
)
_SAMPLING: Final[Place[QuestionSampling]] = Place(path="spec.generators.*.difficulty", find=_samplings)
_REWRITER: Final[Place[Rewriter]] = Place(path="spec.preference.rewriter", find=_rewriters)
_FORMAT: Final[Place[FormatFilter]] = Place(
    path="spec.filters.format", find=lambda spec: [("spec.filters.format", spec.filters.format)]
)
_BENCHMARK_LIST: Final[Place[Sequence[Benchmark]]] = Place(
    path=_BENCHMARKS, find=lambda spec: [(_BENCHMARKS, spec.filters.contamination.benchmarks)]
)
_BENCHMARK: Final[Place[Benchmark]] = Place(
    path=f"{_BENCHMARKS}.*",
    find=lambda spec: _numbered(_BENCHMARKS, spec.filters.contamination.benchmarks),
)
_PROMPTS: Final[Place[Prompts]] = Place(
    path="spec.prompts", find=lambda spec: [("spec.prompts", spec.prompts)]
)


def _known_model(field: str, model: Callable[[Spec], str | None], *, words: Sequence[str] = ()) -> Rule[Spec]:
    """Return the rule that a field names an entry of `models`, or one of a few words."""
    parts = field.split(".")
    given = [f"has(self.{'.'.join(parts[:end])})" for end in range(1, len(parts) + 1)]
    known = f"self.{field} in self.models" + (f" || self.{field} in {list(words)}" if words else "")
    return Rule(
        at=_SPEC,
        field=field,
        message="name an entry of spec.models" + "".join(f" or {word}" for word in words),
        holds=lambda spec: model(spec) in {None, *words, *spec.models},
        cel=f"!({' && '.join(given)}) || {known}",
        seen=model,
        cel_seen=f"self.{field}",
    )


def _has_scorer_inputs(spec: Spec) -> bool:
    difficulty = spec.filters.difficulty
    if difficulty is None or difficulty.scorer != "train":
        return True
    return None not in (difficulty.base, difficulty.solver, spec.seed_questions.answer_column)


def _are_distinct(parts: Sequence[Generator] | Sequence[Benchmark]) -> bool:
    return len({part.name for part in parts}) == len(parts)


_DISTINCT_CEL: Final = "self.all(one, self.exists_one(other, other.name == one.name))"

RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        at=_SEEDS,
        message="give exactly one of key (in the bucket) and path (on a volume)",
        holds=lambda source: (source.key is None) != (source.path is None),
        cel="has(self.key) != has(self.path)",
    ),
    Rule(
        at=_BENCHMARK,
        message="give exactly one of key (in the bucket) and path (on a volume)",
        holds=lambda source: (source.key is None) != (source.path is None),
        cel="has(self.key) != has(self.path)",
    ),
    Rule(
        at=_BENCHMARK_LIST,
        message="give each benchmark a name of its own",
        holds=_are_distinct,
        cel=_DISTINCT_CEL,
    ),
    Rule(
        at=_MODEL,
        message="give exactly one of hub, key (in the bucket) and path (on a volume)",
        holds=lambda model: [model.hub, model.key, model.path].count(None) == 2,
        cel="[has(self.hub), has(self.key), has(self.path)].exists_one(given, given)",
    ),
    Rule(
        at=_MODEL,
        message="give revision (a 40-digit commit) with hub, and only with hub",
        holds=lambda model: (model.hub is None) == (model.revision is None),
        cel="has(self.hub) == has(self.revision)",
    ),
    Rule(
        at=_SPEC,
        field="generators",
        message="name an entry of spec.models in each generator's model",
        holds=lambda spec: {generator.model for generator in spec.generators} <= set(spec.models),
        cel="self.generators.all(generator, generator.model in self.models)",
    ),
    _known_model("filters.solvability.model", lambda spec: spec.filters.solvability.model),
    _known_model(
        "filters.difficulty.base",
        lambda spec: spec.filters.difficulty.base if spec.filters.difficulty else None,
    ),
    _known_model(
        "filters.difficulty.solver",
        lambda spec: spec.filters.difficulty.solver if spec.filters.difficulty else None,
    ),
    _known_model(
        "filters.difficulty.scorer",
        lambda spec: spec.filters.difficulty.scorer if spec.filters.difficulty else None,
        words=("train", "passRate"),
    ),
    _known_model(
        "preference.rewriter.model", lambda spec: spec.preference.rewriter.model if spec.preference else None
    ),
    _known_model("responses.model", lambda spec: spec.responses.model),
    _known_model("selection.model", lambda spec: spec.selection.model),
    Rule(
        at=_GENERATORS,
        message="give each generator a name of its own",
        holds=_are_distinct,
        cel=_DISTINCT_CEL,
    ),
    Rule(
        at=_SPEC,
        field="generators",
        message="set filters.difficulty when a generator has difficulty: nothing would measure it",
        holds=lambda spec: bool(spec.filters.difficulty) or not any(g.difficulty for g in spec.generators),
        cel="has(self.filters.difficulty) || !self.generators.exists(g, has(g.difficulty))",
    ),
    Rule(
        at=_SAMPLING,
        field="bins",
        message="give bins, one of them above 0, with keep: histogram, and only with it",
        holds=lambda cut: (cut.keep == "histogram") == (sum(cut.bins) > 0),
        cel="(self.keep == 'histogram') == self.bins.exists(share, share > 0.0)",
    ),
    Rule(
        at=_SAMPLING,
        field="minimum",
        message="give a minimum that is at most the maximum",
        holds=lambda cut: cut.minimum <= cut.maximum,
        cel="self.minimum <= self.maximum",
    ),
    Rule(
        at=_REWRITER,
        message="give exactly one of endpoint and model",
        holds=lambda rewriter: (rewriter.endpoint is None) != (rewriter.model is None),
        cel="has(self.endpoint) != has(self.model)",
    ),
    Rule(
        at=_SPEC,
        field="filters.difficulty",
        message="with scorer: train, give base, solver and seedQuestions.answerColumn",
        holds=_has_scorer_inputs,
        cel="!has(self.filters.difficulty) || self.filters.difficulty.scorer != 'train' || "
        "has(self.filters.difficulty.base) && has(self.filters.difficulty.solver) && "
        "has(self.seedQuestions.answerColumn)",
    ),
    Rule(
        at=_SPEC,
        field="selection.model",
        message="give the scoring model with method reward, likelihood or majority-then-reward, and only with these",
        holds=lambda spec: (spec.selection.method == "majority") == (spec.selection.model is None),
        cel="(self.selection.method == 'majority') != has(self.selection.model)",
    ),
    Rule(
        at=_FORMAT,
        field="minTokens",
        message="give minTokens that is at most maxTokens",
        holds=lambda shape: shape.min_tokens <= shape.max_tokens,
        cel="self.minTokens <= self.maxTokens",
    ),
    Rule(
        at=_PROMPTS,
        message="put {question} into each template exactly where the question belongs",
        holds=lambda prompts: all("{question}" in text for text in prompts.model_dump().values() if text),
        cel="[?self.?response, ?self.?solvability, ?self.?rewriteSolvability, ?self.?rewriteDifficulty]"
        ".all(template, template.contains('{question}'))",
    ),
    Rule(
        at=_SPEC,
        field="student",
        message="leave it out: this version trains no student yet",
        holds=lambda spec: spec.student is None,
        cel="!has(self.student)",
    ),
)
