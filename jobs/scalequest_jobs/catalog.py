"""STAGES: the one list of stages, in the order of the method."""

from scalequest_jobs.contract import graph
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Stage
from scalequest_jobs.stages import (
    build_preference_pairs,
    clean_questions,
    estimate_fail_rates,
    fetch_model,
    generate_questions,
    generate_responses,
    import_questions,
    judge_solvability,
    publish_dataset,
    rewrite_questions,
    sample_preference_questions,
    score_difficulty,
    score_responses,
    select_questions,
    select_responses,
    train_difficulty_scorer,
    train_question_generator,
    train_question_preference,
)

STAGES: tuple[Stage, ...] = (
    import_questions.STAGE,
    fetch_model.STAGE,
    train_question_generator.STAGE,
    sample_preference_questions.STAGE,
    rewrite_questions.STAGE,
    build_preference_pairs.STAGE,
    train_question_preference.STAGE,
    generate_questions.STAGE,
    clean_questions.STAGE,
    estimate_fail_rates.STAGE,
    train_difficulty_scorer.STAGE,
    score_difficulty.STAGE,
    judge_solvability.STAGE,
    select_questions.STAGE,
    generate_responses.STAGE,
    score_responses.STAGE,
    select_responses.STAGE,
    publish_dataset.STAGE,
)


def stage(name: str) -> Stage:
    """Return the stage of this name; KeyError names the known ones."""
    for known in STAGES:
        if known.name == name:
            return known
    raise KeyError(f"no stage {name!r}; the stages are {[known.name for known in STAGES]}")


def plan(spec: Spec) -> graph.Graph:
    """Return the stage graph of a run."""
    return graph.build(STAGES, spec)
