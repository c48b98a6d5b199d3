"""Question generation: the trained generator writes the run's questions."""

from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import Node, Role, Stage, node_name
from scalequest_jobs.question_models import training
from scalequest_jobs.stages import sample_preference_questions
from scalequest_jobs.stages.sample_preference_questions import SampleParameters

NAME = "generate-questions"


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node for each generator."""
    return tuple(
        Node(
            name=node_name(NAME, generator.name),
            stage=NAME,
            generator=generator.name,
            parameters=SampleParameters(
                questions=generator.questions,
                temperature=generator.temperature,
                top_p=generator.top_p,
                max_tokens=generator.max_tokens,
            ),
            inputs={"model": training.final(spec, generator)},
        )
        for generator in spec.generators
    )


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.GENERATE,
    output="raw-questions",
    parameters=SampleParameters,
    nodes=nodes,
    run=sample_preference_questions.run,
    source="2.1: a million questions of each generator",
    sharded=True,
    chunk_rows=2_000,
)
