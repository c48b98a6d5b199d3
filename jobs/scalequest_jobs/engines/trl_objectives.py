"""The library trainer of each objective, fed with token ids and kept quiet."""

from pathlib import Path
from typing import Any, assert_never

import peft
import torch
import transformers
import trl
import trl.trainer.dpo_trainer
import trl.trainer.reward_trainer
import trl.trainer.sft_trainer

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_arguments, trl_datasets, trl_devices, trl_models


class _Quiet:
    """Leaves out what a batch job must not do: model cards in folders, and messages to the libraries' makers."""

    def create_model_card(self, *_args: Any, **_kwargs: Any) -> None:
        """Write no card."""

    def _send_telemetry(self) -> None:
        """Send nothing."""


class SftTrainer(_Quiet, trl.SFTTrainer):  # type: ignore[misc]  # the library has no types
    """TRL's; it takes `input_ids` and `labels` as they are."""


class DpoTrainer(_Quiet, trl.DPOTrainer):  # type: ignore[misc]
    """TRL's, on ids: its own preparation only knows text, and appends an EOS."""

    def _prepare_dataset(self, dataset: Any, *_args: Any) -> Any:
        return dataset


class RewardTrainer(_Quiet, trl.RewardTrainer):  # type: ignore[misc]
    """TRL's; it takes `chosen_ids` and `rejected_ids` as they are."""


class RegressionTrainer(transformers.Trainer):  # type: ignore[misc]
    """Mean squared error of a one-output head, averaged over the sequences of each device batch."""

    loss_is_scaled_for_ga = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Otherwise the loss of a causal model's head counts as scaled for accumulation, which it is not.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002  # the library's signature
        **_kwargs: Any,
    ) -> Any:
        """Return the float32 loss of `labels` (B,) against the logits (B, 1)."""
        outputs = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
        )
        values = outputs.logits.squeeze(-1).float()
        loss = torch.nn.functional.mse_loss(values, inputs["labels"].float())
        return (loss, outputs) if return_outputs else loss


class RegressionCollator:
    """Pads `input_ids` on the right with `pad_id`; returns `input_ids`, `attention_mask` (B, T), `labels` (B,)."""

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate a device batch."""
        rows = [torch.tensor(example["input_ids"]) for example in examples]
        pad = torch.nn.utils.rnn.pad_sequence
        return {
            "input_ids": pad(rows, batch_first=True, padding_value=self._pad_id),
            "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True),
            "labels": torch.tensor([example["labels"] for example in examples]),
        }


def make(
    job: ports.TrainingJob,
    described: trl_models.Description,
    device: trl_devices.Device,
    checkpoints: Path,
    callback: Any,
) -> Any:
    """Return the library trainer of a job, model loaded and, for DPO, reference scores computed."""
    arguments = trl_arguments.make(job, device, checkpoints)
    transformers.set_seed(arguments["seed"])
    pad_id = trl_models.pad_id(described, job.objective, trl_datasets.used_ids(job.examples))
    parts = {
        "model": trl_models.load(described, job, device, pad_id=pad_id),
        "train_dataset": trl_datasets.make(job.objective, job.examples),
        "eval_dataset": trl_datasets.make(job.objective, job.evaluation) if job.evaluation else None,
        "processing_class": described.tokenizer,
        "callbacks": [callback],
    }
    trainer = _make(job, arguments, parts, pad_id, device.processes)
    trainer.remove_callback(transformers.PrinterCallback)
    if job.objective in trl_models.HEADS:
        # With a tokenizer at hand the libraries set the model's padding token to the tokenizer's, here
        # and again when training starts; the pooling must follow the padding really used.
        trainer.processing_class = None
        trainer.model.config.get_text_config().pad_token_id = pad_id
    return trainer


def _make(
    job: ports.TrainingJob, arguments: dict[str, Any], parts: dict[str, Any], pad_id: int, processes: int
) -> Any:
    match job.objective:
        case ports.Objective.SFT:
            return _make_sft(job, arguments, parts, pad_id)
        case ports.Objective.DPO:
            return _make_dpo(job, arguments, parts, pad_id, processes)
        case ports.Objective.REWARD:
            return RewardTrainer(
                args=trl.RewardConfig(**arguments, max_length=None),
                data_collator=trl.trainer.reward_trainer.DataCollatorForPreference(pad_token_id=pad_id),
                peft_config=_adapters(job),
                **parts,
            )
        case ports.Objective.REGRESSION:
            return _make_regression(job, arguments, parts, pad_id)
        case _:
            assert_never(job.objective)


def _make_sft(job: ports.TrainingJob, arguments: dict[str, Any], parts: dict[str, Any], pad_id: int) -> Any:
    """Return the trainer; packed batches are laid out by TRL, others by its plain collator."""
    packing = job.settings.packing
    collator = trl.trainer.sft_trainer.DataCollatorForLanguageModeling(pad_token_id=pad_id)
    return SftTrainer(
        args=trl.SFTConfig(
            **arguments,
            max_length=job.settings.max_length if packing else None,
            packing=packing,
            packing_strategy="bfd",
            eval_packing=False if not packing else None,
            completion_only_loss=False,  # the labels say it already
        ),
        data_collator=None if packing else collator,
        peft_config=_adapters(job),
        **parts,
    )


def _make_dpo(
    job: ports.TrainingJob, arguments: dict[str, Any], parts: dict[str, Any], pad_id: int, processes: int
) -> Any:
    """Return the trainer; the reference's scores are computed beforehand, so that its weights can go.

    Not with several processes: the library leaves the scores in a file that only the first one finds,
    so there every process keeps the reference.
    """
    return DpoTrainer(
        args=trl.DPOConfig(
            **arguments, max_length=None, beta=job.settings.beta, precompute_ref_log_probs=processes == 1
        ),
        data_collator=trl.trainer.dpo_trainer.DataCollatorForPreference(pad_token_id=pad_id),
        peft_config=_adapters(job),
        **parts,
    )


def _make_regression(
    job: ports.TrainingJob, arguments: dict[str, Any], parts: dict[str, Any], pad_id: int
) -> Any:
    adapters = _adapters(job)
    if adapters is not None:
        parts["model"] = peft.get_peft_model(parts["model"], adapters)
        parts["model"].enable_input_require_grads()
    return RegressionTrainer(
        args=transformers.TrainingArguments(**arguments),
        data_collator=RegressionCollator(pad_id),
        **parts,
    )


def _adapters(job: ports.TrainingJob) -> Any:
    """Return the configuration of low-rank adapters on all linear layers; a head is trained in full."""
    lora = job.settings.lora
    if lora is None:
        return None
    is_head = job.objective in trl_models.HEADS
    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules="all-linear",
        task_type="SEQ_CLS" if is_head else "CAUSAL_LM",
        modules_to_save=["score"] if is_head else None,
    )
