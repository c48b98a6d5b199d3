"""What the real trainer refuses, and in which words."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from scalequest_jobs import ports
from tiny_llama import BOS, VOCABULARY, make_model, settings, sft_examples, sft_job, train, weights

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "llama")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": settings(packing=True)}, "packing needs FlashAttention.*set packing: false"),
        (
            {"objective": ports.Objective.DPO},
            "example 0 is a SftExample, objective dpo takes PreferenceExample",
        ),
    ],
    ids=["packing", "kind"],
)
def test_settings_that_cannot_work_are_refused(
    changes: dict[str, Any], message: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ports.BadParametersError, match=message):
        train(sft_job(model, tmp_path / "out", **changes))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (ports.SftExample(prompt_ids=(BOS,), completion_ids=()), "example 1 has nothing to learn"),
        (ports.SftExample(prompt_ids=(BOS,), completion_ids=(VOCABULARY,)), r"token id outside 0\.\.199"),
    ],
    ids=["empty", "vocabulary"],
)
def test_examples_that_cannot_be_learnt_are_refused(
    example: ports.SftExample, message: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ports.BadInputError, match=message):
        train(sft_job(model, tmp_path / "out", examples=(*sft_examples(1), example)))


def test_a_model_that_lacks_weights_is_refused(model: Path, tmp_path: Path) -> None:
    broken = make_model(tmp_path / "broken")
    kept = {name: value for name, value in weights(broken).items() if "layers.1.mlp.up_proj" not in name}
    safetensors.torch.save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(
        ports.BadInputError, match=r"1 weights are missing, the first is model\.layers\.1\.mlp"
    ):
        train(sft_job(broken, tmp_path / "out"))


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    strange = make_model(tmp_path / "strange")
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps({**config, "model_type": "perceptron-9000"}))

    with pytest.raises(ports.BadInputError, match=r"strange: the model cannot be read.*perceptron-9000"):
        train(sft_job(strange, tmp_path / "out"))


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    poisoned = make_model(tmp_path / "poisoned")
    values = weights(poisoned)
    values["model.norm.weight"].fill_(float("nan"))
    safetensors.torch.save_file(values, poisoned / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ports.BadParametersError, match="loss became nan at step 1 of 8; lower learningRate"):
        train(sft_job(poisoned, tmp_path / "out"))


def test_a_full_device_is_worth_another_try(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scalequest_jobs.engines import trl_objectives

    def full(*_args: Any, **_kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(trl_objectives.SftTrainer, "compute_loss", full)
    with pytest.raises(ports.TryAgainError, match=r"ran out of memory.*lower deviceBatchSize"):
        train(sft_job(model, tmp_path / "out"))
