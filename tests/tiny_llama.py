"""A random two-layer Llama with its tokenizer, examples that it can learn, and jobs over them."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
import tokenizers
import torch
import transformers

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_trainer

VOCABULARY = 200
PAD, BOS, EOS = 0, 1, 2
WINDOW = 64
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}


def make_model(folder: Path, **changes: Any) -> Path:
    """Write a random Llama; its tokenizer has a BOS of its own that nobody asked to be added."""
    torch.set_num_threads(1)  # OpenMP threads that share cores with other processes double the time
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": WINDOW,
        "tie_word_embeddings": True,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "initializer_range": 0.2,
    }
    config = transformers.LlamaConfig(**{**settings, **changes})
    network = transformers.LlamaForCausalLM(config)
    network.to(config.dtype or torch.float32).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def make_tokenizer(pad: str | None = "<pad>") -> Any:
    words = ["<pad>", "<bos>", "<eos>", *(f"w{index}" for index in range(3, VOCABULARY - 4))]
    vocabulary = {word: index for index, word in enumerate(words)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w3"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    plain.post_processor = tokenizers.processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<bos>", eos_token="<eos>", pad_token=pad
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    return tokenizer


def with_stop_token_as_padding(model: Path, folder: Path) -> Path:
    """Copy a model, as many are published: without a padding token of its own."""
    shutil.copytree(model, folder)
    make_tokenizer(pad="<eos>").save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**values, "pad_token_id": EOS}))
    return folder


def sft_examples(count: int, seed: int = 0) -> tuple[ports.SftExample, ...]:
    """Counting upwards from a random number, in different lengths: easy to learn."""
    rng = random.Random(seed)
    starts = [rng.randrange(10, 100) for _ in range(count)]
    return tuple(
        ports.SftExample(
            prompt_ids=(BOS, 5, start),
            completion_ids=(*range(start + 1, start + 1 + rng.randrange(4, 12)), EOS),
        )
        for start in starts
    )


def preference_examples(count: int, seed: int = 0) -> tuple[ports.PreferenceExample, ...]:
    rng = random.Random(seed)
    return tuple(
        ports.PreferenceExample(
            prompt_ids=(BOS, 5),
            chosen_ids=(*(rng.randrange(10, 60) for _ in range(rng.randrange(4, 10))), EOS),
            rejected_ids=(*(rng.randrange(100, 150) for _ in range(rng.randrange(4, 10))), EOS),
        )
        for _ in range(count)
    )


def regression_examples(count: int, seed: int = 0) -> tuple[ports.RegressionExample, ...]:
    rng = random.Random(seed)
    labels = [rng.choice((0.0, 1.0)) for _ in range(count)]
    return tuple(
        ports.RegressionExample(
            token_ids=(
                BOS,
                *(rng.randrange(10, 60) for _ in range(rng.randrange(2, 9))),
                70 + int(label),
                EOS,
            ),
            label=label,
        )
        for label in labels
    )


def reward_examples(count: int, seed: int = 0) -> tuple[ports.RewardExample, ...]:
    return tuple(
        ports.RewardExample(
            chosen_ids=pair.prompt_ids + pair.chosen_ids, rejected_ids=pair.prompt_ids + pair.rejected_ids
        )
        for pair in preference_examples(count, seed)
    )


def settings(**changes: Any) -> ports.TrainingSettings:
    defaults: dict[str, Any] = {
        "epochs": 1.0,
        "learning_rate": 1e-2,
        "batch_size": 8,
        "max_length": 32,
        "dtype": "float32",
    }
    return ports.TrainingSettings(**{**defaults, **changes})


def sft_job(model: Path, output: Path, **changes: Any) -> ports.TrainingJob:
    defaults: dict[str, Any] = {
        "objective": ports.Objective.SFT,
        "model": model,
        "output": output,
        "examples": sft_examples(64),
        "settings": settings(),
    }
    return ports.TrainingJob(**{**defaults, **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def train(job: ports.TrainingJob) -> ports.TrainingResult:
    return trl_trainer.TrlTrainer().train(job)


EXAMPLES: dict[ports.Objective, Any] = {
    ports.Objective.SFT: sft_examples,
    ports.Objective.DPO: preference_examples,
    ports.Objective.REGRESSION: regression_examples,
    ports.Objective.REWARD: reward_examples,
}
