"""The trainer: TRL for language models and reward heads, transformers for regression heads.

This module imports no heavy library until it is used, so that naming the trainer costs nothing.
"""

from collections.abc import Mapping

from scalequest_jobs import ports


class TrlTrainer:
    """Trains language models (SFT, DPO) and one-output heads (regression, reward); see `ports.Trainer`.

    All weights train unless `settings.lora` is given; adapters are merged, so the result is always
    a plain model. It is written in the type of the input model's config, heads included, with the
    files of tokenizer and generation copied byte by byte: training changes weights, nothing else.

    Compute type: `auto` is bfloat16 autocast where the device has it. Full training keeps float32
    weights under the autocast, because bfloat16 weights swallow updates as small as a preference
    stage's (5e-7): 16 bytes a parameter. With adapters the frozen weights keep their own type on a GPU.

    One process trains on one device; started by `torchrun`, every process takes its share of a batch.
    Device batches are padded and masked by length, never by token; packing is best-fit decreasing.

    Checkpoints lie beside the output in `<output>.checkpoints/checkpoint-<step>`: safetensors, plus
    optimiser, scheduler and random states as files of `torch.save`. They never enter the output; only
    folders of the same job are accepted, and they are read with `weights_only=True`, which runs no code.
    """

    @property
    def identity(self) -> Mapping[str, str]:
        """Return versions, device and the type that `dtype: auto` stands for on this machine."""
        from scalequest_jobs.engines import trl_devices

        device = trl_devices.find()
        return trl_devices.identity(device, trl_devices.compute_type(device, "auto"))

    def train(self, job: ports.TrainingJob) -> ports.TrainingResult:
        """Train and write the model.

        Raises BadParametersError for settings that cannot work here (packing without FlashAttention,
        a batch that does not divide over the devices, a loss that is no longer finite); BadInputError
        for a model, checkpoint or example that is unusable, too-long ones included, and for a library
        warning that means wrong data or a wrong loss; TryAgainError when the device runs out of
        memory; StoppedError when asked to stop, after a checkpoint.
        """
        from scalequest_jobs.engines import trl_run

        return trl_run.run(job)
