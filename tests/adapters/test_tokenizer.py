"""The suite of `ports.Tokenizer`, and what only a real tokenizer can get wrong."""

import shutil
from pathlib import Path

import pytest

from adapters import tiny_models
from fakes import ScriptedTokenizer
from scalequest_jobs import ports
from scalequest_jobs.engines import hf_tokenizer

TURNS = (
    ports.Message(role="system", content="Be brief."),
    ports.Message(role="user", content="Tom has 3 apples."),
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.causal(tmp_path_factory.getbasetemp() / "tiny-models")


@pytest.fixture(params=["scripted", pytest.param("transformers", marks=pytest.mark.engine)])
def tokenizer(request: pytest.FixtureRequest) -> ports.Tokenizer:
    if request.param == "scripted":
        return ScriptedTokenizer()
    return hf_tokenizer.HfTokenizer(request.getfixturevalue("model"))


@pytest.mark.parametrize("text", ["", "Tom has 3 apples.", "  two  spaces , kept .\n", "caf\u00e9 \u4e09"])
def test_decoding_encoded_text_returns_the_text(tokenizer: ports.Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_encoding_adds_no_special_token(tokenizer: ports.Tokenizer) -> None:
    assert not tokenizer.special_ids.intersection(tokenizer.encode("Tom has 3 apples."))


def test_the_text_of_a_special_token_is_encoded_as_its_one_id(tokenizer: ports.Tokenizer) -> None:
    (end,) = tokenizer.encode("<|im_end|>")
    assert end in tokenizer.special_ids
    assert end in tokenizer.stop_ids


def test_decoding_leaves_special_tokens_out(tokenizer: ports.Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("one<|im_end|>two")) == "onetwo"


def test_a_rendered_conversation_ends_where_the_answer_begins(tokenizer: ports.Tokenizer) -> None:
    rendered = tokenizer.render(TURNS, generation_prompt=True)
    assert rendered == tokenizer.render(TURNS, generation_prompt=False) + "<|im_start|>assistant\n"
    assert rendered.index("Be brief.") < rendered.index("Tom has 3 apples.")


def test_stop_ids_are_special_and_each_stands_once(tokenizer: ports.Tokenizer) -> None:
    assert tokenizer.special_ids.issuperset(tokenizer.stop_ids)
    assert len(set(tokenizer.stop_ids)) == len(tokenizer.stop_ids)


@pytest.mark.engine
def test_stop_ids_hold_the_tokenizer_end_first_and_then_the_generation_config(model: Path) -> None:
    tokenizer = hf_tokenizer.HfTokenizer(model)
    assert list(tokenizer.stop_ids) == tokenizer.encode("<|endoftext|><|im_end|>")


@pytest.mark.engine
def test_special_ids_hold_the_begin_token_too(model: Path) -> None:
    tokenizer = hf_tokenizer.HfTokenizer(model)
    assert tokenizer.special_ids.issuperset(tokenizer.encode("<s><|im_start|>"))


@pytest.mark.engine
def test_a_model_without_chat_template_is_bad_input_that_names_the_folder(
    model: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(model, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ports.BadInputError, match=r"bare has no chat template .* use an instruct model"):
        hf_tokenizer.HfTokenizer(bare).render(TURNS, generation_prompt=True)


@pytest.mark.engine
def test_a_conversation_that_the_template_refuses_is_bad_input(model: Path, tmp_path: Path) -> None:
    strict = shutil.copytree(model, tmp_path / "strict")
    (strict / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    with pytest.raises(ports.BadInputError, match="roles system, user: no system role"):
        hf_tokenizer.HfTokenizer(strict).render(TURNS, generation_prompt=True)


@pytest.mark.engine
@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_folder_without_a_usable_tokenizer_is_bad_input(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ports.BadInputError, match="has no usable tokenizer"):
        hf_tokenizer.HfTokenizer(tmp_path)
