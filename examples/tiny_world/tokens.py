"""The tokenizer that all models of the tiny world share."""

import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tiny_world import chat, corpus, noise

_NUM_TEXTS = 12_000
_VOCABULARY = 640
# Digits stay single, so that a number is read and written figure by figure.
_PIECES = r" ?[0-9]| ?[A-Za-z]+| ?[^\sA-Za-z0-9]|\s+"
_MIX = corpus.Mix(solve=1, judge=1, web=1, facts=0, corner=noise.Web(operation_weights=(1, 1, 1, 1)))


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on the world, with its chat template.

    It has no bos token, and its pad token differs from the end of a turn: a loss that masks
    padding must not mask the token that ends a question.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[chat.PAD, chat.START, chat.END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(seed), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=chat.END,
        pad_token=chat.PAD,
        additional_special_tokens=[chat.START],
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = chat.TEMPLATE
    return tokenizer


def _texts(seed: int) -> list[str]:
    rng = random.Random(seed)
    texts = ["".join(corpus.example(rng, _MIX)) for _ in range(_NUM_TEXTS)]
    for special in (chat.START, chat.END):
        texts = [text.replace(special, "\n") for text in texts]
    return texts
