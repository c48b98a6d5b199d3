"""Rules across fields of the spec. Each has one message, the same here and at the API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scalequest_jobs.contract.run import Spec
    from scalequest_jobs.contract.sources import ModelSource, TextSource


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`holds(spec)` must be true; `path` and `message` name the field and the fix otherwise."""

    path: str
    message: str
    holds: Callable[[Spec], bool]


def _one_place(source: TextSource) -> bool:
    return (source.key is None) != (source.path is None)


def _one_model_place(source: ModelSource) -> bool:
    return [source.hub, source.key, source.path].count(None) == 2


def _model_references(spec: Spec) -> Iterator[str | None]:
    yield from (generator.model for generator in spec.generators)
    yield from (spec.filters.solvability.model, spec.responses.model, spec.selection.model)
    if spec.preference:
        yield spec.preference.rewriter.model
    if spec.student:
        yield spec.student.model
    if (difficulty := spec.filters.difficulty) is not None:
        yield from (difficulty.base, difficulty.solver)
        yield None if difficulty.scorer in ("train", "passRate") else difficulty.scorer


def _scorer_is_complete(spec: Spec) -> bool:
    difficulty = spec.filters.difficulty
    if difficulty is None or difficulty.scorer != "train":
        return True
    return None not in (difficulty.base, difficulty.solver, spec.seed_questions.answer_column)


def _histograms_are_complete(spec: Spec) -> bool:
    cuts = [generator.difficulty for generator in spec.generators if generator.difficulty]
    return all((cut.keep == "histogram") == (sum(cut.bins) > 0) for cut in cuts)


def _names_are_unique(names: list[str]) -> bool:
    return len(names) == len(set(names))


RULES: tuple[Rule, ...] = (
    Rule(
        path="spec.seedQuestions",
        message="give exactly one of key (in the bucket) and path (on a volume)",
        holds=lambda spec: _one_place(spec.seed_questions),
    ),
    Rule(
        path="spec.filters.contamination.benchmarks",
        message="give each benchmark exactly one of key and path, and a name of its own",
        holds=lambda spec: (
            all(_one_place(source) for source in spec.filters.contamination.benchmarks)
            and _names_are_unique([source.name for source in spec.filters.contamination.benchmarks])
        ),
    ),
    Rule(
        path="spec.models",
        message="give each model exactly one of hub, key and path",
        holds=lambda spec: all(_one_model_place(source) for source in spec.models.values()),
    ),
    Rule(
        path="spec.models",
        message="give revision (a 40-digit commit) with hub, and only with hub",
        holds=lambda spec: all((m.hub is None) == (m.revision is None) for m in spec.models.values()),
    ),
    Rule(
        path="spec.models",
        message="add every model that generators, filters, preference, responses, selection and student name",
        holds=lambda spec: set(filter(None, _model_references(spec))) <= set(spec.models),
    ),
    Rule(
        path="spec.generators",
        message="give each generator a name of its own",
        holds=lambda spec: _names_are_unique([generator.name for generator in spec.generators]),
    ),
    Rule(
        path="spec.generators",
        message="set filters.difficulty when a generator has difficulty: nothing would measure it",
        holds=lambda spec: (
            spec.filters.difficulty is not None
            or not any(generator.difficulty for generator in spec.generators)
        ),
    ),
    Rule(
        path="spec.generators",
        message="give difficulty.bins, one of them above 0, with keep: histogram, and only with it",
        holds=_histograms_are_complete,
    ),
    Rule(
        path="spec.generators",
        message="give difficulty a minimum that is at most its maximum",
        holds=lambda spec: all(
            g.difficulty is None or g.difficulty.minimum <= g.difficulty.maximum for g in spec.generators
        ),
    ),
    Rule(
        path="spec.preference.rewriter",
        message="give exactly one of endpoint and model",
        holds=lambda spec: (
            spec.preference is None
            or (spec.preference.rewriter.endpoint is None) != (spec.preference.rewriter.model is None)
        ),
    ),
    Rule(
        path="spec.filters.difficulty",
        message="with scorer: train, give base, solver and seedQuestions.answerColumn",
        holds=_scorer_is_complete,
    ),
    Rule(
        path="spec.selection.model",
        message="give the scoring model with method reward, likelihood or majority-then-reward, and only with these",
        holds=lambda spec: (spec.selection.method == "majority") == (spec.selection.model is None),
    ),
    Rule(
        path="spec.filters.format",
        message="give minTokens that is at most maxTokens",
        holds=lambda spec: spec.filters.format.min_tokens <= spec.filters.format.max_tokens,
    ),
    Rule(
        path="spec.prompts",
        message="put {question} into each template exactly where the question belongs",
        holds=lambda spec: all(
            "{question}" in template for template in spec.prompts.model_dump().values() if template
        ),
    ),
    Rule(
        path="spec.student",
        message="leave it out: this version trains no student yet",
        holds=lambda spec: spec.student is None,
    ),
)
