"""The reward model: how likely a solution is right, as a raw logit at its last token."""

import copy
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

from tiny_world import chat, grammar, language, mistakes, noise, training, truth

NUM_COMPARING_LAYERS = 2
_SCORING_BATCH = 128
_SHARE_REPLACED = 0.15
_NUM_FOR_REPLACEMENTS = 200


class Sample(NamedTuple):
    """A question of the world and a response to it."""

    question: str
    response: str


class Source:
    """An endless source of samples: models' own and made-up ones, right and wrong equally often."""

    def __init__(self, own: Sequence[Sample], share_made_up: float) -> None:
        """Sort the models' own samples; a good solver's mistakes are rare, so they are drawn apart."""
        self._right = [sample for sample in own if truth.is_right(*sample)]
        self._wrong = [sample for sample in own if not truth.is_right(*sample)]
        self._share_made_up = share_made_up

    def draw(self, rng: random.Random) -> Sample:
        """Return one sample."""
        if rng.random() < self._share_made_up:
            return made_up(rng)
        return rng.choice(rng.choice((self._right, self._wrong)))


def new_model(solver: LlamaForCausalLM, seed: int) -> LlamaForSequenceClassification:
    """Return a solver's layers, frozen, with untrained ones and a score on top.

    A solver knows at each token which one comes next, but only in its last layer. The layers above
    compare that with what did come, and the last one, which does nothing at first, gathers what they
    found. Without them a model of this size is no better than chance as a chooser.
    """
    torch.manual_seed(seed)
    config = copy.deepcopy(solver.config)
    config.num_hidden_layers += NUM_COMPARING_LAYERS + 1
    config.num_labels = 1
    model = LlamaForSequenceClassification(config)
    model.model.load_state_dict(solver.model.state_dict(), strict=False)
    for module in (model.model.embed_tokens, *model.model.layers[: solver.config.num_hidden_layers]):
        module.requires_grad_(requires_grad=False)
    last = model.model.layers[-1]
    for projection in (last.self_attn.o_proj, last.mlp.down_proj):
        torch.nn.init.zeros_(projection.weight)
    return model


def load(folder: Path) -> LlamaForSequenceClassification:
    """Return a saved reward model in float32, ready to score."""
    model: LlamaForSequenceClassification = LlamaForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return model


def train_surprise(
    model: LlamaForSequenceClassification,
    solver: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    source: Source,
    schedule: training.Schedule,
) -> None:
    """Teach a reward model in place to tell which tokens its solver would not have written.

    Some tokens are replaced at random, as in ELECTRA. Trained on rightness from the start, the new
    layers do not come to compare at all (loss 1.04 of 1.39 after 800 steps).
    """
    rng = random.Random(schedule.seed)
    known = [" " + made_up(rng).response for _ in range(_NUM_FOR_REPLACEMENTS)]
    replacements = sorted({token for text in known for token in language.ids_of(tokenizer, text)})

    def row(rng: random.Random) -> training.Row:
        sample = source.draw(rng)
        prompt = language.ids_of(tokenizer, chat.solve_prompt(sample.question))
        response = [
            rng.choice(replacements) if rng.random() < _SHARE_REPLACED else token
            for token in language.ids_of(tokenizer, sample.response + chat.END)
        ]
        return training.Row(prompt + response, [training.IGNORED] * len(prompt) + response)

    last = model.model.layers[-1]
    last.requires_grad_(requires_grad=False)
    pad_id = language.pad_id_of(tokenizer)
    training.train(model, row, surprise_loss(model, solver), schedule, pad_id)
    last.requires_grad_(requires_grad=True)


def train_rightness(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    source: Source,
    schedule: training.Schedule,
) -> None:
    """Teach a reward model in place whether solutions are right, token by token and at the end."""
    eos_id = tokenizer.eos_token_id
    assert isinstance(eos_id, int)

    def row(rng: random.Random) -> training.Row:
        return labelled(tokenizer, source.draw(rng))

    training.train(model, row, dense_loss(model, eos_id), schedule, language.pad_id_of(tokenizer))


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


def surprise_loss(
    model: LlamaForSequenceClassification, solver: LlamaForCausalLM
) -> Callable[[training.Batch], torch.Tensor]:
    """Return a loss: the mean cross-entropy of "the solver's likeliest token" over the labelled ones."""

    def loss(batch: training.Batch) -> torch.Tensor:
        with torch.no_grad():
            likeliest_bt = solver(input_ids=batch.ids_bt).logits[:, :-1].argmax(-1)
        hidden_btd = model.model(input_ids=batch.ids_bt).last_hidden_state[:, 1:]
        labelled_bt = batch.labels_bt[:, 1:] != training.IGNORED
        targets_bt = (likeliest_bt == batch.ids_bt[:, 1:]).float()
        logits_n = model.score(hidden_btd[labelled_bt]).float().squeeze(-1)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits_n, targets_bt[labelled_bt])

    return loss


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
