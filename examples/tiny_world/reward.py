"""The reward model: how likely a solution is right, as a raw logit at its last token."""

import copy
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

from tiny_world import chat, grammar, language, mistakes, noise, training, truth

NUM_NEW_LAYERS = 2
_SCORING_BATCH = 128


class Sample(NamedTuple):
    """A question of the world and a response to it."""

    question: str
    response: str


def new_model(start: Path) -> LlamaForSequenceClassification:
    """Return a saved solver, frozen, with NUM_NEW_LAYERS untrained layers and a score on top.

    A solver knows at each token which one comes next, but only in its last layer; the layers above
    compare that with what did come. Without them a model of this size does worse than chance as a
    chooser (measured: best of five 90 % where the first of five is right in 94 %).
    """
    solver = language.load(start)
    config = copy.deepcopy(solver.config)
    config.num_hidden_layers += NUM_NEW_LAYERS
    config.num_labels = 1
    model = LlamaForSequenceClassification(config)
    model.model.load_state_dict(solver.model.state_dict(), strict=False)
    old = [model.model.embed_tokens, *model.model.layers[:-NUM_NEW_LAYERS]]
    for module in old:
        module.requires_grad_(requires_grad=False)
    return model


def load(folder: Path) -> LlamaForSequenceClassification:
    """Return a saved reward model in float32, ready to score."""
    model: LlamaForSequenceClassification = LlamaForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model


def train(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    samples: Sequence[Sample],
    schedule: training.Schedule,
    share_made_up: float,
) -> None:
    """Train a reward model in place on models' own samples and on made-up mistakes.

    Right and wrong samples are drawn equally often: good solvers' mistakes are rare.
    """
    by_rightness = [
        [sample for sample in samples if truth.is_right(*sample) == is_right] for is_right in (False, True)
    ]

    def row(rng: random.Random) -> training.Row:
        if rng.random() < share_made_up:
            return labelled(tokenizer, made_up(rng))
        return labelled(tokenizer, rng.choice(rng.choice(by_rightness)))

    eos_id = tokenizer.eos_token_id
    assert isinstance(eos_id, int)
    loss = dense_loss(model, eos_id)
    training.train(model, row, loss, schedule, language.pad_id_of(tokenizer))


def made_up(rng: random.Random) -> Sample:
    """Return a random problem with a right solution or one with a mistake."""
    problem = noise.problem(rng, rng.choices((1, 2, 3, 4), (0.15, 0.35, 0.35, 0.15))[0])
    is_mistaken = rng.random() < 0.5
    response = mistakes.mistaken_solution(rng, problem) if is_mistaken else truth.solution(problem)
    return Sample(grammar.render(problem), response)


def labelled(tokenizer: PreTrainedTokenizerFast, sample: Sample) -> training.Row:
    """Return a sample's tokens, each token of the response labelled 1 while all is right so far.

    "Right so far" is the one true solution, token by token; the last label is the answer's.
    Labels at the end only teach a model of this size next to nothing.
    """
    problem = grammar.parse(sample.question)
    if problem is None:
        msg = f"not a question of the world: {sample.question!r}; sample from its own problems"
        raise ValueError(msg)
    gold = language.ids_of(tokenizer, truth.solution(problem) + chat.END)
    prompt = language.ids_of(tokenizer, chat.solve_prompt(sample.question))
    response = language.ids_of(tokenizer, sample.response + chat.END)
    labels: list[int] = []
    for index, token in enumerate(response):
        same = labels[-1:] != [0] and index < len(gold) and gold[index] == token
        labels.append(int(same))
    labels[-1] = int(truth.is_right(*sample))
    return training.Row(prompt + response, [training.IGNORED] * len(prompt) + labels)


def dense_loss(
    model: LlamaForSequenceClassification, eos_id: int
) -> Callable[[training.Batch], torch.Tensor]:
    """Return a loss: the mean cross-entropy over all labels plus that over the last ones."""

    def loss(batch: training.Batch) -> torch.Tensor:
        hidden_btd = model.model(input_ids=batch.ids_bt).last_hidden_state
        labelled_bt = batch.labels_bt != training.IGNORED
        logits_n = model.score(hidden_btd[labelled_bt]).float().squeeze(-1)
        targets_n = batch.labels_bt[labelled_bt].float()
        losses_n = torch.nn.functional.binary_cross_entropy_with_logits(logits_n, targets_n, reduction="none")
        return losses_n.mean() + losses_n[batch.ids_bt[labelled_bt] == eos_id].mean()

    return loss


def scores(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    samples: Sequence[Sample],
) -> list[float]:
    """Return the reward model's logit of each sample."""
    texts = [chat.solve_prompt(sample.question) + sample.response + chat.END for sample in samples]
    rows = [training.Row(ids, ids) for ids in (language.ids_of(tokenizer, one) for one in texts)]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    found = [0.0] * len(rows)
    model.eval()
    with torch.no_grad():
        for start in range(0, len(order), _SCORING_BATCH):
            chosen = order[start : start + _SCORING_BATCH]
            pad_id = language.pad_id_of(tokenizer)
            batch = training.padded([rows[index] for index in chosen], pad_id)
            mask_bt = (batch.ids_bt != pad_id).long()
            logits_b = model(input_ids=batch.ids_bt, attention_mask=mask_bt).logits[:, 0]
            for index, value in zip(chosen, logits_b.tolist(), strict=True):
                found[index] = value
    return found
