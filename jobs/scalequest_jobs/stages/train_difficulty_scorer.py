"""Train the difficulty scorer: a regression head on fail rates."""

from scalequest_jobs import ports
from scalequest_jobs.contract import fingerprint
from scalequest_jobs.contract.run import Spec
from scalequest_jobs.contract.stage import MODEL, Node, Parameters, Role, Stage
from scalequest_jobs.contract.training import ScorerTraining
from scalequest_jobs.execution import models
from scalequest_jobs.execution.chunks import Outcome, Reject
from scalequest_jobs.execution.context import StageContext
from scalequest_jobs.question_models import training
from scalequest_jobs.stages import estimate_fail_rates, fetch_model

NAME = "train-difficulty-scorer"

HELD_OUT_SHARE = 0.1


class ScorerParameters(Parameters):
    """How the head is trained."""

    training: ScorerTraining


def nodes(spec: Spec) -> tuple[Node, ...]:
    """Return one node when the run trains a difficulty scorer."""
    difficulty = spec.filters.difficulty
    if difficulty is None or difficulty.scorer != "train" or difficulty.base is None:
        return ()
    inputs = {"labels": estimate_fail_rates.NAME, "model": fetch_model.node_for(difficulty.base)}
    parameters = ScorerParameters(training=difficulty.training)
    return (Node(name=NAME, stage=NAME, parameters=parameters, inputs=inputs),)


def run(context: StageContext[ScorerParameters]) -> None:
    """Train with mean squared error on nine tenths of the labels; the rest measures it."""
    labels = context.table("labels").to_pylist()
    context.begin(len(labels))
    if context.log.is_committed(context.chunks[0]):
        return
    parameters = context.parameters.training
    tokenizer = context.engines.tokenizer(context.model("model"))
    train: list[ports.RegressionExample] = []
    held_out: list[ports.RegressionExample] = []
    rejects: list[Reject] = []
    for label in labels:
        ids = tuple(tokenizer.encode(label["question"]))
        if len(ids) > parameters.max_length:
            rejects.append(
                Reject(
                    record_id=label["seed_id"],
                    reason="too_long",
                    text=label["question"],
                    score=len(ids),
                    limit=parameters.max_length,
                )
            )
            continue
        example = ports.RegressionExample(token_ids=ids, label=label["fail_rate"])
        (held_out if is_held_out(label["seed_id"]) else train).append(example)
    output = context.scratch / "model"
    result = training.run_trainer(
        context,
        ports.TrainingJob(
            objective=ports.Objective.REGRESSION,
            model=context.model("model"),
            output=output,
            examples=train,
            evaluation=held_out,
            settings=training.settings(parameters, context.seed("training")),
        ),
    )
    context.commit_whole(
        Outcome(
            rows_in=len(labels),
            rows_out=len(labels) - len(rejects),
            rejects=rejects,
            files=models.folder_files(output),
            facts={
                **training.training_facts(result),
                "held_out": len(held_out),
                "held_out_label_variance": _variance([example.label for example in held_out]),
            },
        )
    )


def is_held_out(seed_id: str) -> bool:
    """Say whether a seed question measures the scorer instead of training it; the same in every run."""
    return int(fingerprint.digest(["held-out", seed_id])[:8], 16) < HELD_OUT_SHARE * 2**32


def _variance(values: list[float]) -> float:
    """Return the mean squared error of the best constant guess: what the head must beat."""
    mean = sum(values) / len(values) if values else 0.0
    return sum((value - mean) ** 2 for value in values) / len(values) if values else 0.0


STAGE = Stage(
    name=NAME,
    version=1,
    role=Role.TRAIN,
    output=MODEL,
    parameters=ScorerParameters,
    nodes=nodes,
    run=run,
    source="2.4: a base model with a regression head, mean squared error",
)
