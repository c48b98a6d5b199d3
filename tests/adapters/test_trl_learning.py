"""What the real trainer learns, from exactly which tokens, and what it writes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from scalequest_jobs import ports
from tiny_llama import (
    BOS,
    EOS,
    EXAMPLES,
    PAD,
    VOCABULARY,
    make_model,
    preference_examples,
    regression_examples,
    reward_examples,
    settings,
    sft_examples,
    sft_job,
    train,
    weights,
    with_stop_token_as_padding,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "llama")


def test_fine_tuning_lowers_the_loss(model: Path, tmp_path: Path) -> None:
    result = train(
        sft_job(
            model, tmp_path / "out", settings=settings(epochs=4, dtype="auto"), evaluation=sft_examples(16, 1)
        )
    )

    assert result.history[-1]["loss"] < 0.7 * result.history[0]["loss"]
    assert result.metrics["eval_loss"] < 0.7 * result.history[0]["loss"]
    assert result.history[-1]["loss"] < result.metrics["train_loss"] < result.history[0]["loss"]
    assert {"grad_norm", "learning_rate", "mean_token_accuracy"} <= result.metrics.keys()
    assert result.identity["dtype"] == "bfloat16"
    assert result.identity["trl"].startswith("1.")


def test_preference_training_raises_the_chosen_margin(model: Path, tmp_path: Path) -> None:
    job = sft_job(
        model,
        tmp_path / "out",
        objective=ports.Objective.DPO,
        examples=preference_examples(64),
        evaluation=preference_examples(16, 1),
        settings=settings(epochs=2, learning_rate=3e-3),
    )
    result = train(job)

    assert result.history[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert result.history[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert result.metrics["rewards/margins"] > 0.5
    assert result.metrics["eval_rewards/accuracies"] > 0.8
    assert {"logps/chosen", "logps/rejected", "rewards/accuracies"} <= result.metrics.keys()


def head_values(folder: Path, rows: list[tuple[int, ...]]) -> list[float]:
    """Score rows one by one: no padding is involved."""
    head = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return [head(torch.tensor([row])).logits.item() for row in rows]


def test_a_regression_head_learns_its_labels(model: Path, tmp_path: Path) -> None:
    job = sft_job(
        model,
        tmp_path / "out",
        objective=ports.Objective.REGRESSION,
        examples=regression_examples(192),
        settings=settings(epochs=6, learning_rate=3e-3),
    )
    result = train(job)

    fresh = regression_examples(40, seed=1)
    values = head_values(tmp_path / "out", [example.token_ids for example in fresh])
    errors = [(value - example.label) ** 2 for value, example in zip(values, fresh, strict=True)]
    assert sum(errors) / len(errors) < 0.05
    assert result.metrics["loss"] < 0.1
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert config["problem_type"] == "regression"
    assert len(config["id2label"]) == 1
    assert config["pad_token_id"] == PAD


def test_a_reward_head_ranks_chosen_above_rejected(model: Path, tmp_path: Path) -> None:
    job = sft_job(
        model,
        tmp_path / "out",
        objective=ports.Objective.REWARD,
        examples=reward_examples(64),
        settings=settings(epochs=2, learning_rate=3e-3),
    )
    result = train(job)

    fresh = reward_examples(30, seed=1)
    chosen = head_values(tmp_path / "out", [pair.chosen_ids for pair in fresh])
    rejected = head_values(tmp_path / "out", [pair.rejected_ids for pair in fresh])
    assert sum(high > low for high, low in zip(chosen, rejected, strict=True)) >= 28
    assert result.metrics["accuracy"] > 0.9


@pytest.mark.parametrize("objective", list(ports.Objective))
def test_adapters_are_merged_into_a_plain_model(
    objective: ports.Objective, model: Path, tmp_path: Path
) -> None:
    job = sft_job(
        model,
        tmp_path / "out",
        objective=objective,
        examples=EXAMPLES[objective](32),
        settings=settings(lora=ports.Lora(rank=4, alpha=8), learning_rate=1e-2),
    )
    train(job)

    before, after = weights(model), weights(tmp_path / "out")
    assert after.keys() - before.keys() <= {"score.weight"}
    assert not list((tmp_path / "out").glob("adapter*"))
    changed = [
        name for name, value in before.items() if name in after and not torch.equal(value, after[name])
    ]
    assert len(changed) == 14  # seven linear layers in each of two blocks
    assert "model.embed_tokens.weight" not in changed


def test_only_completion_tokens_are_learnt_and_none_is_added(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scalequest_jobs.engines import trl_objectives

    seen: list[tuple[list[int], list[int]]] = []
    original = trl_objectives.SftTrainer.compute_loss

    def spy(self: Any, network: Any, inputs: Any, **kwargs: Any) -> Any:
        rows = zip(inputs["input_ids"], inputs["labels"], inputs["attention_mask"], strict=True)
        for ids, labels, mask in rows:
            length = int(mask.sum())
            seen.append((ids[:length].tolist(), [label for label in labels.tolist() if label != -100]))
        return original(self, network, inputs, **kwargs)

    monkeypatch.setattr(trl_objectives.SftTrainer, "compute_loss", spy)
    examples = sft_examples(16)
    train(sft_job(model, tmp_path / "out", examples=examples))

    expected = [([*row.prompt_ids, *row.completion_ids], list(row.completion_ids)) for row in examples]
    assert sorted(seen) == sorted(expected)


def test_preference_pairs_reach_the_loss_with_exactly_their_tokens(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scalequest_jobs.engines import trl_objectives

    seen: list[tuple[list[int], list[int]]] = []
    original = trl_objectives.DpoTrainer.compute_loss

    def spy(self: Any, network: Any, inputs: Any, **kwargs: Any) -> Any:
        rows = zip(inputs["input_ids"], inputs["completion_mask"], inputs["attention_mask"], strict=True)
        for ids, learnt, mask in rows:
            length = int(mask.sum())
            seen.append((ids[:length].tolist(), ids[learnt.bool()].tolist()))
        return original(self, network, inputs, **kwargs)

    monkeypatch.setattr(trl_objectives.DpoTrainer, "compute_loss", spy)
    pairs = preference_examples(16)
    train(sft_job(model, tmp_path / "out", objective=ports.Objective.DPO, examples=pairs))

    sides = [(pair.prompt_ids, side) for pair in pairs for side in (pair.chosen_ids, pair.rejected_ids)]
    assert sorted(seen) == sorted(([*prompt, *side], list(side)) for prompt, side in sides)


def test_packing_cuts_and_loses_no_example(model: Path, tmp_path: Path) -> None:
    from scalequest_jobs.engines import trl_callbacks, trl_devices, trl_models, trl_objectives

    examples = sft_examples(64)
    job = sft_job(model, tmp_path / "out", examples=examples, settings=settings(packing=True))
    made = trl_objectives.make(
        job,
        trl_models.describe(model),
        trl_devices.find(),
        tmp_path,
        trl_callbacks.Conductor(job, tmp_path, {}),
    )

    packed = []
    for row in made.train_dataset:
        ids, labels = iter(row["input_ids"]), iter(row["labels"])
        packed += [
            ([next(ids) for _ in range(n)], [next(labels) for _ in range(n)]) for n in row["seq_lengths"]
        ]
    assert len(made.train_dataset) < len(examples) / 2
    assert sorted(packed) == sorted(
        ([*one.prompt_ids, *one.completion_ids], [-100] * len(one.prompt_ids) + list(one.completion_ids))
        for one in examples
    )


@pytest.mark.parametrize("objective", [ports.Objective.SFT, ports.Objective.REGRESSION])
def test_accumulation_gives_the_same_weights_as_one_large_batch(
    objective: ports.Objective, model: Path, tmp_path: Path
) -> None:
    examples = sft_examples(32) if objective is ports.Objective.SFT else regression_examples(32)
    results = []
    for device_batch in (8, 2):
        output = tmp_path / f"out-{device_batch}"
        job = sft_job(
            model,
            output,
            objective=objective,
            examples=examples,
            settings=settings(device_batch_size=device_batch),
        )
        results.append(train(job))

    assert results[0].steps == results[1].steps == 4
    for whole, split in zip(results[0].history, results[1].history, strict=True):
        assert split["loss"] == pytest.approx(whole["loss"], rel=1e-3)
        assert split["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-2)
    first, second = weights(tmp_path / "out-8"), weights(tmp_path / "out-2")
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-3, atol=1e-4)


def test_padding_with_the_stop_token_changes_nothing_for_a_language_model(
    model: Path, tmp_path: Path
) -> None:
    same_pad = with_stop_token_as_padding(model, tmp_path / "same-pad")
    turns = tuple(
        ports.SftExample(prompt_ids=(BOS, 5, EOS, *one.prompt_ids), completion_ids=one.completion_ids)
        for one in sft_examples(32)
    )
    train(sft_job(model, tmp_path / "own", examples=turns))
    train(sft_job(same_pad, tmp_path / "shared", examples=turns))

    own, shared = weights(tmp_path / "own"), weights(tmp_path / "shared")
    assert all(torch.equal(value, shared[name]) for name, value in own.items())


@pytest.mark.parametrize(
    ("objective", "examples"),
    [
        (ports.Objective.REGRESSION, regression_examples(24)),
        (ports.Objective.REWARD, reward_examples(24)),
    ],
    ids=["regression", "reward"],
)
def test_a_head_that_cannot_pad_with_its_own_token_learns_the_same(
    objective: ports.Objective, examples: Any, model: Path, tmp_path: Path
) -> None:
    same_pad = with_stop_token_as_padding(model, tmp_path / "same-pad")
    train(sft_job(model, tmp_path / "own", objective=objective, examples=examples))
    train(sft_job(same_pad, tmp_path / "other", objective=objective, examples=examples))

    padding = json.loads((tmp_path / "other" / "config.json").read_text())["pad_token_id"]
    assert padding not in {EOS, BOS}
    assert padding < VOCABULARY
    own, other = weights(tmp_path / "own"), weights(tmp_path / "other")
    assert all(torch.equal(value, other[name]) for name, value in own.items())


def test_a_bfloat16_model_stays_bfloat16_on_disk(tmp_path: Path) -> None:
    small = make_model(tmp_path / "small", dtype="bfloat16")
    train(sft_job(small, tmp_path / "out", examples=sft_examples(8)))

    assert {value.dtype for value in weights(tmp_path / "out").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_training_changes_weights_and_nothing_else(model: Path, tmp_path: Path) -> None:
    train(sft_job(model, tmp_path / "out", examples=sft_examples(8)))

    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (model / name).read_bytes()
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == json.loads(
        (model / "config.json").read_text()
    )
