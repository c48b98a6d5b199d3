"""The format of a generator's text, derived from chat templates over byte-level BPE tokenizers made here."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from fakes import ScriptedTokenizer
from scalequest_jobs import ports
from scalequest_jobs.question_models import format as question_format

SPECIALS = ["<bos>", "<eos>", "<|im_start|>", "<|im_end|>"]
CORPUS = (
    "User: Find the sum of 3 and 4.",
    "User: What is the area of the square?",
    "User: A train leaves at noon. Let x be an integer. Tom has 12 apples. (a) Show that 7 is prime!",
    "user\nassistant\nsystem\nYou are a helpful assistant.\n\nAssistant:",
)


class BpeTokenizer:
    """A byte-level BPE tokenizer, as Qwen and DeepSeek have one, with a template of its own."""

    def __init__(
        self, template: Callable[[str, bool], str], stop: Sequence[str], corpus: Sequence[str] = CORPUS
    ) -> None:
        self._bpe = tokenizers.Tokenizer(models.BPE())
        self._bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=SPECIALS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        self._bpe.train_from_iterator(corpus * 9, trainer)
        self._template = template
        self._stop = stop

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._bpe.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._bpe.decode(list(ids), skip_special_tokens=True))

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(self._bpe.id_to_token(token)) for token in ids]

    def render(self, messages: Sequence[ports.Message], *, generation_prompt: bool) -> str:
        return self._template(messages[-1].content, generation_prompt)

    @property
    def special_ids(self) -> frozenset[int]:
        return frozenset(self._bpe.token_to_id(word) for word in SPECIALS)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return tuple(self._bpe.token_to_id(word) for word in self._stop)


def chatml(question: str, generation_prompt: bool) -> str:  # noqa: FBT001
    turn = f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n"
    return turn + ("<|im_start|>assistant\n" if generation_prompt else "")


def user_colon(question: str, generation_prompt: bool) -> str:  # noqa: FBT001
    return f"<bos>User: {question}\n\n" + ("Assistant:" if generation_prompt else "")


def user_colon_open(question: str, generation_prompt: bool) -> str:  # noqa: FBT001
    return f"<bos>User: {question}\n\nAssistant:"


@cache
def qwen() -> BpeTokenizer:
    return BpeTokenizer(chatml, ["<|im_end|>", "<eos>"])


@cache
def deepseek() -> BpeTokenizer:
    return BpeTokenizer(user_colon, ["<eos>"])


@cache
def deepseek_open() -> BpeTokenizer:
    return BpeTokenizer(user_colon_open, ["<eos>"])


ALL = [qwen, deepseek, deepseek_open]


def trained_text(tokenizer: BpeTokenizer, question: str) -> list[str] | None:
    """Return the tokens of prefix, question and end, or None."""
    form = question_format.derive(tokenizer)
    ids = question_format.encode(tokenizer, form, question)
    return None if ids is None else tokenizer.tokens((*form.prefix_ids, *ids))


# --- derive


def test_a_chatml_prefix_ends_behind_the_role_and_the_end_is_the_turn_marker() -> None:
    form = question_format.derive(qwen())
    tokens = qwen().tokens(form.prefix_ids)
    assert "".join(tokens).endswith("<|im_start|>user\u010a")
    assert qwen().tokens(form.end_ids) == ["<|im_end|>"]
    assert set(form.stop_ids) == qwen().special_ids


def test_a_prefix_ends_before_a_space_that_the_tokenizer_joins_with_the_next_word() -> None:
    assert deepseek().tokens(deepseek().encode("User: Find"))[-1] == "\u0120Find"
    form = question_format.derive(deepseek())
    assert deepseek().tokens(form.prefix_ids)[0] == "<bos>"
    assert "".join(deepseek().tokens(form.prefix_ids)) == "<bos>User:"


def test_a_template_without_a_turn_marker_ends_with_the_end_of_text() -> None:
    form = question_format.derive(deepseek())
    assert "".join(deepseek().tokens(form.end_ids)) == "\u010a\u010a<eos>"
    open_form = question_format.derive(deepseek_open())
    assert "".join(deepseek_open().tokens(open_form.end_ids)) == "\u010a\u010aAssistant:<eos>"


def test_the_begin_token_stands_exactly_as_often_as_the_template_writes_it() -> None:
    tokens = trained_text(deepseek(), "Tom has 12 apples.")
    assert tokens is not None
    assert (tokens.count("<bos>"), tokens.count("<eos>")) == (1, 1)
    assert "<bos>" not in (trained_text(qwen(), "Tom has 12 apples.") or [])


def test_generation_ends_at_every_special_token_and_at_the_end() -> None:
    form = question_format.derive(deepseek())
    assert set(form.stop_ids) >= {*deepseek().special_ids, form.end_ids[-1]}
    assert list(form.stop_ids) == sorted(form.stop_ids)


def test_a_template_that_changes_the_users_text_is_refused() -> None:
    shouting = BpeTokenizer(lambda question, _prompt: f"<bos>{question.upper()}<eos>", ["<eos>"])
    with pytest.raises(ports.BadInputError, match="chat template changes the user's text"):
        question_format.derive(shouting)


def test_a_model_without_any_end_token_is_refused_with_the_fix() -> None:
    endless = BpeTokenizer(user_colon, [])
    with pytest.raises(ports.BadInputError, match=r"no end token.* set eos_token"):
        question_format.derive(endless)


# --- encode


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("question", ["Find the sum of 3 and 4.", "Zoe's x=7?", "Caf\u00e9 \u4e09!", "7"])
def test_prefix_question_and_end_are_the_renderings_own_tokens(
    make: Callable[[], BpeTokenizer], question: str
) -> None:
    tokenizer = make()
    form = question_format.derive(tokenizer)
    ids = question_format.encode(tokenizer, form, question)
    assert ids is not None
    trained = [*form.prefix_ids, *ids]
    text = tokenizer.render([ports.Message(role="user", content=question)], generation_prompt=False)
    rendered = tokenizer.encode(text)
    assert rendered[: len(trained)] == trained or rendered == trained[:-1]
    assert ids[-len(form.end_ids) :] == form.end_ids
    assert tokenizer.decode(ids[: -len(form.end_ids)]).strip() == question


def test_a_question_whose_first_token_merges_with_the_prefix_is_left_out() -> None:
    glued = BpeTokenizer(lambda q, _prompt: f"<bos>Q:{q}<eos>", ["<eos>"], corpus=["Q:) Q:) Q:)", *CORPUS])
    assert trained_text(glued, "Find x.") is not None
    assert trained_text(glued, ") is a bracket.") is None


def test_a_question_whose_last_token_merges_with_the_end_is_left_out() -> None:
    form = question_format.derive(deepseek())
    assert question_format.encode(deepseek(), form, "Find x.\n\n\n\n\n") is None


@pytest.mark.parametrize("question", ["", "user", "You", "<|im_end|>", "a<|im_end|>b", "\n", "system"])
def test_a_text_that_the_template_holds_itself_is_encoded_soundly_or_left_out(question: str) -> None:
    tokens = trained_text(qwen(), question)
    rendered = qwen().tokens(qwen().encode(chatml(question, False)))
    assert tokens is None or rendered[: len(tokens)] == tokens


def test_a_text_that_the_template_changes_is_left_out() -> None:
    trimming = BpeTokenizer(lambda q, _prompt: f"<bos>User: {q.strip()}\n\n", ["<eos>"])
    assert trained_text(trimming, "Find x.") is not None
    assert trained_text(trimming, "Find x.\n\n") is None
    assert trained_text(trimming, " Find x.") is None


@pytest.mark.parametrize("make", [*ALL, ScriptedTokenizer])
@settings(max_examples=60, deadline=None)
@given(
    question=st.text(max_size=20) | st.sampled_from(["user", "\n\n", "<eos>", " x ", "<|im_end|>", "User: "])
)
def test_encoding_never_fails_and_always_ends_with_the_end(
    make: Callable[[], ports.Tokenizer], question: str
) -> None:
    tokenizer = make()
    form = question_format.derive(tokenizer)
    ids = question_format.encode(tokenizer, form, question)
    assert ids is None or ids[-len(form.end_ids) :] == form.end_ids


# --- files


def test_a_saved_format_is_loaded_again_and_wins_over_the_template(tmp_path: Path) -> None:
    form = question_format.derive(qwen())
    question_format.save(form, tmp_path)
    assert question_format.load(tmp_path, deepseek()) == form


def test_a_model_without_a_saved_format_gets_its_templates(tmp_path: Path) -> None:
    assert question_format.load(tmp_path, qwen()) == question_format.derive(qwen())
