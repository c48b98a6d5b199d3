"""Random models of a few thousand weights, as model folders, for the suites of the engines."""

import json
import shutil
from pathlib import Path

BOS, EOS, END, START = "<s>", "<|endoftext|>", "<|im_end|>", "<|im_start|>"
POSITIONS = 512
"""Enough for prompts that span several blocks of a prefix cache, 128 tokens each on a CPU."""

_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def causal(root: Path) -> Path:
    """Return the folder of a Llama that writes text, made on first use."""
    return _made(root / "causal", "LlamaForCausalLM", seed=1)


def other_causal(root: Path) -> Path:
    """Return the folder of a second Llama with other weights."""
    return _made(root / "other-causal", "LlamaForCausalLM", seed=2)


def head(root: Path) -> Path:
    """Return the folder of a Llama with a one-output head."""
    return _made(root / "head", "LlamaForSequenceClassification", seed=3)


def altered(source: Path, target: Path, **config: object) -> Path:
    """Return a copy of a model folder with other values in config.json."""
    shutil.copytree(source, target)
    path = target / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return target


def _made(folder: Path, architecture: str, *, seed: int) -> Path:
    import torch
    import transformers

    if folder.is_dir():
        return folder
    tokenizer = _tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=POSITIONS,
        initializer_range=0.3,  # spread out, so that greedy text varies and scores differ
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
        num_labels=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, architecture)(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ends = {"eos_token_id": [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END)]}
    (folder / "generation_config.json").write_text(json.dumps(ends | {"temperature": 0.01, "top_k": 1}))
    return folder


def _tokenizer():  # type: ignore[no-untyped-def] # noqa: ANN202
    import tokenizers
    import transformers

    core = tokenizers.Tokenizer(tokenizers.models.BPE())
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[EOS, BOS, START, END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(
        ["Tom has two apples and buys seven more.", "How many does he have now?"] * 9, trainer
    )
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=BOS, eos_token=EOS, pad_token=EOS
    )
    wrapped.chat_template = _TEMPLATE
    return wrapped
