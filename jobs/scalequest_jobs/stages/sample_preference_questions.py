"""Write the questions that will be rewritten for preference training."""

from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Parameters, Role, Stage, node_name
from scalequest_jobs.execution.context import StageContext
from scalequest_jobs.question_models import sampling, training

NAME = "sample-preference-questions"


class SampleParameters(Parameters):
    """How many questions, and how they are drawn."""

    questions: int
    temperature: float
    top_p: float
    max_tokens: int


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each generator."""
    if spec.preference is None:
        return ()
    return tuple(
        Node(
            name=node_name(NAME, generator.name),
            stage=NAME,
            generator=generator.name,
            parameters=SampleParameters(
                questions=spec.preference.questions,
                temperature=generator.temperature,
                top_p=generator.top_p,
                max_tokens=generator.max_tokens,
            ),
            inputs={"model": training.fine_tuned(spec, generator)},
        )
        for generator in spec.generators
    )


def run(context: StageContext[SampleParameters]) -> None:
    """Write the questions."""
    parameters = context.parameters
    sampling.write_questions(
        context,
        count=parameters.questions,
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        max_tokens=parameters.max_tokens,
    )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.GENERATE,
    output="raw-questions",
    parameters=SampleParameters,
    nodes=nodes,
    run=run,
    source="2.3: 10,000 questions of each fine-tuned model",
    chunk_rows=2_000,
)
