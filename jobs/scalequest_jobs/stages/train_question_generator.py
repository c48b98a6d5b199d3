"""Question Fine-Tuning (QFT): train a generator on the seed questions, without their solutions."""

from scalequest_jobs import ports
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import MODEL, Node, Parameters, Role, Stage, node_name
from scalequest_jobs.contract.training import FineTuning
from scalequest_jobs.execution.context import StageContext
from scalequest_jobs.question_models import training
from scalequest_jobs.question_models.training import GateParameters
from scalequest_jobs.stages import fetch_model, import_questions

NAME = "train-question-generator"


class QftParameters(Parameters):
    """How to train, and how many questions to measure afterwards."""

    training: FineTuning
    gate: GateParameters


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each generator."""
    if spec.fine_tuning is None:
        return ()
    return tuple(
        Node(
            name=node_name(NAME, generator.name),
            stage=NAME,
            generator=generator.name,
            parameters=QftParameters(
                training=spec.fine_tuning, gate=training.gate_parameters(spec, generator)
            ),
            inputs={"seeds": import_questions.SEEDS, "model": fetch_model.node_for(generator.model)},
        )
        for generator in spec.generators
    )


def run(context: StageContext[QftParameters]) -> None:
    """Train on pre-query prefix and question, with the loss on the question and its end of turn.

    The authors' code takes the loss over the template too (method notes A1); the prefix is the same
    in every example, so masking it changes nothing that is ever generated.
    """
    seeds = context.table("seeds").to_pylist()
    questions = [(row["seed_id"], row["question"]) for row in seeds]

    def examples(material: training.Material) -> list[ports.SftExample]:
        return [
            ports.SftExample(prompt_ids=material.form.prefix_ids, completion_ids=ids)
            for ids in material.encode_all(questions)
        ]

    training.train(
        context,
        objective=ports.Objective.SFT,
        parameters=context.parameters.training,
        gate=context.parameters.gate,
        rows_in=len(questions),
        examples=examples,
        seeds=[question for _, question in questions],
        packing=context.parameters.training.packing,
    )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.TRAIN,
    output=MODEL,
    parameters=QftParameters,
    nodes=nodes,
    run=run,
    source="2.2: Question Fine-Tuning",
)
