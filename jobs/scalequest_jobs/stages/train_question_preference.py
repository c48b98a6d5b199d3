"""Question Preference Optimization (QPO): DPO on pairs of a rewritten question and its original."""

from scalequest_jobs import ports
from scalequest_jobs.contract.run import Preference, Spec
from scalequest_jobs.contract.stage import MODEL, Node, Parameters, Role, Stage, node_name
from scalequest_jobs.contract.training import PreferenceTraining
from scalequest_jobs.execution.context import StageContext
from scalequest_jobs.question_models import training
from scalequest_jobs.question_models.training import GateParameters
from scalequest_jobs.stages import build_preference_pairs, import_questions, sample_preference_questions

NAME = "train-question-preference"


class QpoParameters(Parameters):
    """How to train, and how many questions to measure afterwards."""

    training: PreferenceTraining
    gate: GateParameters


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each generator."""
    if spec.preference is None:
        return ()
    preference = spec.preference
    return tuple(
        Node(
            name=node_name(NAME, generator.name),
            stage=NAME,
            generator=generator.name,
            parameters=QpoParameters(
                training=_training(preference), gate=training.gate_parameters(spec, generator)
            ),
            inputs={
                "seeds": import_questions.SEEDS,
                "before": node_name(sample_preference_questions.NAME, generator.name),
                "pairs": node_name(build_preference_pairs.NAME, generator.name),
                "model": training.fine_tuned(spec, generator),
            },
        )
        for generator in spec.generators
    )


def _training(preference: Preference) -> PreferenceTraining:
    fields = PreferenceTraining.model_fields
    return PreferenceTraining(**{name: getattr(preference, name) for name in fields})


def run(context: StageContext[QpoParameters]) -> None:
    """Train with the pre-query prefix as prompt of every pair (paper 2.3)."""
    pairs = context.table("pairs").to_pylist()
    before = context.table("before").column("text").to_pylist()

    def build(material: training.Material, split: str) -> list[ports.PreferenceExample]:
        examples = []
        for pair in (pair for pair in pairs if pair["split"] == split):
            chosen = material.encode(pair["pair_id"], pair["chosen"])
            rejected = material.encode(pair["pair_id"], pair["rejected"]) if chosen else None
            if chosen and rejected:
                examples.append(
                    ports.PreferenceExample(
                        prompt_ids=material.form.prefix_ids, chosen_ids=chosen, rejected_ids=rejected
                    )
                )
        return examples

    training.train(
        context,
        objective=ports.Objective.DPO,
        parameters=context.parameters.training,
        gate=context.parameters.gate,
        rows_in=len(pairs),
        examples=lambda material: build(material, "train"),
        evaluation=lambda material: build(material, "eval"),
        seeds=context.table("seeds").column("question").to_pylist(),
        before=before,
        beta=context.parameters.training.beta,
    )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.TRAIN,
    output=MODEL,
    parameters=QpoParameters,
    nodes=nodes,
    run=run,
    source="2.3: Question Preference Optimization",
)
