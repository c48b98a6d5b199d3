"""Tiny Llama language models: their shape, their loss, and how they are saved."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tiny_world import corpus, training

_MAX_LENGTH = 512


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Return an untrained model of 0.9M parameters, in float32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=(len(tokenizer) + 7) // 8 * 8,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=_MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def load(folder: Path) -> LlamaForCausalLM:
    """Return a saved model in float32, ready to be trained."""
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    mix: corpus.Mix,
    schedule: training.Schedule,
) -> None:
    """Train a language model in place on a mix; only completions are learned."""

    def row(rng: random.Random) -> training.Row:
        return encode(tokenizer, corpus.example(rng, mix))

    training.train(model, row, next_token_loss(model), schedule, pad_id_of(tokenizer))


def encode(tokenizer: PreTrainedTokenizerFast, example: corpus.Example) -> training.Row:
    """Return an example's tokens, labelled where they belong to the completion."""
    prompt = ids_of(tokenizer, example.prompt)
    completion = ids_of(tokenizer, example.completion)
    return training.Row(prompt + completion, [training.IGNORED] * len(prompt) + completion)


def ids_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Return the token ids of a text, with nothing added."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def pad_id_of(tokenizer: PreTrainedTokenizerFast) -> int:
    """Return the id of the pad token, which every tokenizer of the tiny world has."""
    pad_id = tokenizer.pad_token_id
    assert isinstance(pad_id, int)
    return pad_id


def next_token_loss(model: LlamaForCausalLM) -> Callable[[training.Batch], torch.Tensor]:
    """Return the mean cross-entropy over the labelled tokens of a batch, as a function."""

    def loss(batch: training.Batch) -> torch.Tensor:
        hidden_btd = model.model(input_ids=batch.ids_bt).last_hidden_state[:, :-1]
        labels_bt = batch.labels_bt[:, 1:]
        labelled_bt = labels_bt != training.IGNORED
        logits_nv = model.lm_head(hidden_btd[labelled_bt])
        return torch.nn.functional.cross_entropy(logits_nv.float(), labels_bt[labelled_bt])

    return loss


def save(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a model in bfloat16, its tokenizer and its generation defaults."""
    model.to(torch.bfloat16)
    if isinstance(model, LlamaForCausalLM):
        model.generation_config = GenerationConfig(
            do_sample=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # transformers leaves the weights readable by their owner only; a pod may run as another user.
    (folder / "model.safetensors").chmod(0o644)
