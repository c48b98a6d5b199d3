"""Training a question generator and measuring what it writes afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pydantic

from scalequest_jobs import gates, ports
from scalequest_jobs.contract.run import Generator, Spec
from scalequest_jobs.contract.stage import node_name
from scalequest_jobs.contract.training import TrainingParameters
from scalequest_jobs.execution import models
from scalequest_jobs.execution.chunks import Outcome, Reject
from scalequest_jobs.execution.context import StageContext
from scalequest_jobs.question_models import format as question_format


class GateParameters(pydantic.BaseModel):
    """How the sample for the gate is drawn: as questions will be."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    sample: int
    temperature: float
    top_p: float
    max_tokens: int


def gate_parameters(spec: Spec, generator: Generator) -> GateParameters:
    """Return a generator's gate parameters."""
    return GateParameters(
        sample=spec.gates.sample,
        temperature=generator.temperature,
        top_p=generator.top_p,
        max_tokens=generator.max_tokens,
    )


def fine_tuned(spec: Spec, generator: Generator) -> str:
    """Return the node whose model writes questions for preference training."""
    if spec.fine_tuning is None:
        return node_name("fetch-model", generator.model)
    return node_name("train-question-generator", generator.name)


def final(spec: Spec, generator: Generator) -> str:
    """Return the node whose model writes the run's questions."""
    if spec.preference is None:
        return fine_tuned(spec, generator)
    return node_name("train-question-preference", generator.name)


@dataclass(kw_only=True)
class Material:
    """Turns questions into token ids and collects those that cannot be."""

    tokenizer: ports.Tokenizer
    form: question_format.QuestionFormat
    max_length: int
    generator: str
    rejects: dict[str, Reject] = field(default_factory=dict)

    def encode(self, record_id: str, question: str) -> tuple[int, ...] | None:
        """Return a question's ids with its end, or None after noting why it cannot be trained on."""
        ids = question_format.encode(self.tokenizer, self.form, question.strip())
        length = len(self.form.prefix_ids) + len(ids or ())
        if ids and length <= self.max_length:
            return ids
        reason = "too_long" if ids else "merges_with_template"
        self.rejects[record_id] = Reject(
            record_id=record_id,
            reason=reason,
            text=question,
            generator=self.generator,
            score=length if ids else None,
            limit=self.max_length if ids else None,
        )
        return None

    def encode_all(self, questions: Sequence[tuple[str, str]]) -> list[tuple[int, ...]]:
        """Return the ids of all questions that can be trained on."""
        return [ids for record_id, text in questions if (ids := self.encode(record_id, text))]


def train(
    context: StageContext[Any],
    *,
    objective: ports.Objective,
    parameters: TrainingParameters,
    gate: GateParameters,
    rows_in: int,
    examples: Callable[[Material], ports.Examples],
    seeds: Sequence[str],
    before: Sequence[str] | None = None,
    evaluation: Callable[[Material], ports.Examples] = lambda _material: (),
    packing: bool = False,
    beta: float = 0.1,
) -> None:
    """Train the input `model`, measure a sample, and commit weights, figures and rejects."""
    context.begin(rows_in)
    if context.log.is_committed(context.chunks[0]):
        return
    folder = context.model("model")
    tokenizer = context.engines.tokenizer(folder)
    form = question_format.load(folder, tokenizer)
    material = Material(
        tokenizer=tokenizer, form=form, max_length=parameters.max_length, generator=context.order.generator
    )
    output = context.scratch / "model"
    result = run_trainer(
        context,
        ports.TrainingJob(
            objective=objective,
            model=folder,
            output=output,
            examples=examples(material),
            evaluation=evaluation(material),
            settings=settings(parameters, context.seed("training"), packing=packing, beta=beta),
        ),
    )
    question_format.save(form, output)
    measured = _measure(context, output, form=form, gate=gate, seeds=seeds, before=before)
    context.commit_whole(
        Outcome(
            rows_in=rows_in,
            rows_out=rows_in - len(material.rejects),
            rejects=tuple(material.rejects.values()),
            files=models.folder_files(output),
            facts={**training_facts(result), "gate": measured},
        )
    )


def settings(
    parameters: TrainingParameters, seed: int, *, packing: bool = False, beta: float = 0.1
) -> ports.TrainingSettings:
    """Return the trainer's settings for a training part of the spec."""
    lora = parameters.adapters
    return ports.TrainingSettings(
        epochs=parameters.epochs,
        learning_rate=parameters.learning_rate,
        batch_size=parameters.batch_size,
        device_batch_size=parameters.device_batch_size,
        max_length=parameters.max_length,
        scheduler=parameters.scheduler,
        warmup_ratio=parameters.warmup_ratio,
        warmup_steps=parameters.warmup_steps,
        weight_decay=parameters.weight_decay,
        dtype=parameters.dtype,
        checkpoint_steps=parameters.checkpoint_steps,
        lora=ports.Lora(rank=lora.rank, alpha=lora.alpha) if lora else None,
        packing=packing,
        beta=beta,
        seed=seed % 2**32,
    )


def run_trainer(context: StageContext[Any], job: ports.TrainingJob) -> ports.TrainingResult:
    """Train with checkpoints in the store, going on from the newest one."""
    if not job.examples:
        raise ports.BadInputError(f"{context.order.node} has no example to train on; every row was rejected")
    checkpoint = context.checkpoints.restore(context.scratch / "restored")
    context.reporter.activity(f"going on from {checkpoint.name}" if checkpoint else "training")
    trainer = context.engines.trainer()
    context.engine.update(trainer.identity)
    return trainer.train(
        replace(
            job,
            checkpoint=checkpoint,
            on_checkpoint=context.checkpoints.save,
            on_progress=context.reporter.trained,
            should_stop=context.stop.is_set,
        )
    )


def training_facts(result: ports.TrainingResult) -> dict[str, Any]:
    """Return what training did, for the manifest."""
    return {
        "steps": result.steps,
        "examples": result.examples_used,
        "metrics": dict(result.metrics),
        "history": [dict(entry) for entry in result.history],
    }


def _measure(
    context: StageContext[Any],
    model: Path,
    *,
    form: question_format.QuestionFormat,
    gate: GateParameters,
    seeds: Sequence[str],
    before: Sequence[str] | None,
) -> dict[str, Any]:
    context.reporter.activity(f"measuring {gate.sample} questions of the trained model")
    sampler = context.engines.sampler(model)
    sampling = ports.Sampling(
        temperature=gate.temperature, top_p=gate.top_p, max_tokens=gate.max_tokens, stop_ids=form.stop_ids
    )
    requests = [
        ports.Request(
            chunk=0,
            index=index,
            prompt_ids=form.prefix_ids,
            sampling=sampling,
            seed=context.seed("gate", index),
            chunk_seed=context.seed("gate"),
        )
        for index in range(gate.sample)
    ]
    samples = []
    for completion in sampler.generate(requests):
        samples.append(completion.samples[0])
        context.check_stop()
    sampler.close()
    measured = gates.measure(
        [sample.text.strip() for sample in samples],
        [sample.finish_reason for sample in samples],
        [len(sample.token_ids) for sample in samples],
        seeds=seeds,
        before=before,
    )
    for warning in gates.warnings(measured):
        context.reporter.activity(f"gate: {warning}")
    return {**measured.to_json(), "warnings": gates.warnings(measured)}
