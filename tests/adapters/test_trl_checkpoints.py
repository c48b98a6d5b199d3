"""Checkpoints of the real trainer: a resumed run is the same run."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_callbacks
from tiny_llama import EXAMPLES, make_model, settings, sft_examples, sft_job, train, weights

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "llama")


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        (ports.Objective.SFT, {}),
        (ports.Objective.SFT, {"lora": ports.Lora(rank=4, alpha=8)}),
        (ports.Objective.DPO, {"learning_rate": 3e-3}),
        (ports.Objective.REGRESSION, {"device_batch_size": 3}),
    ],
    ids=["sft", "sft-adapters", "dpo", "regression-accumulated"],
)
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    objective: ports.Objective,
    changes: dict[str, Any],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trl_callbacks, "_LOGS", 2)
    whole = sft_job(
        model,
        tmp_path / "whole",
        objective=objective,
        examples=EXAMPLES[objective](36),
        settings=settings(epochs=2, batch_size=6, warmup_ratio=0.1, **changes),
    )
    expected = train(whole)
    saved: list[Path] = []
    steps = itertools.count(1)
    with pytest.raises(ports.StoppedError):
        train(
            dataclasses.replace(
                whole,
                output=tmp_path / "stopped",
                should_stop=lambda: next(steps) >= 8,
                on_checkpoint=lambda folder, _step: saved.append(folder),
            )
        )
    resumed = train(dataclasses.replace(whole, output=tmp_path / "resumed", checkpoint=saved[-1]))

    first, second = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    for name, value in first.items():
        torch.testing.assert_close(value, second[name])
    assert [line["step"] for line in expected.history] == [1, 6, 12]
    assert [line["step"] for line in resumed.history] == [1, 6, 8, 12]
    assert resumed.metrics["train_loss"] == pytest.approx(expected.metrics["train_loss"])


def test_a_checkpoint_of_other_examples_is_refused(model: Path, tmp_path: Path) -> None:
    saved: list[Path] = []
    with pytest.raises(ports.StoppedError):
        train(
            sft_job(
                model,
                tmp_path / "out",
                should_stop=lambda: True,
                on_checkpoint=lambda folder, _step: saved.append(folder),
            )
        )

    with pytest.raises(ports.BadInputError, match="of another job, it differs in examples"):
        train(sft_job(model, tmp_path / "two", checkpoint=saved[0], examples=sft_examples(64, seed=9)))
    (saved[0] / "optimizer.pt").unlink()
    with pytest.raises(ports.BadInputError, match=r"lacks optimizer\.pt"):
        train(sft_job(model, tmp_path / "two", checkpoint=saved[0]))
