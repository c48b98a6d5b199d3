"""Library warnings that mean wrong data or a wrong loss end training, and the libraries really say them."""

import contextlib
import importlib.util
import itertools
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import datasets
import pytest
import safetensors.torch
import torch
import torch.utils.checkpoint
import transformers
import trl

from scalequest_jobs import ports
from scalequest_jobs.engines import trl_warnings
from tiny_llama import make_model, make_tokenizer, settings, sft_job, train

pytestmark = pytest.mark.engine

# What each rule is for: a message as it is said, the words of it that stand in the library, and where.
SAID = (
    (
        "The tokenized prompt is not a prefix of",
        "The tokenized prompt is not a prefix",
        "trl.trainer.sft_trainer",
    ),
    (
        "The tokenized prompt is not a prefix of",
        "The tokenized prompt is not a prefix",
        "trl.trainer.dpo_trainer",
    ),
    ("Updated tokens: {'eos_token_id': 2}.", "Updated tokens: {", "transformers.trainer_utils"),
    (
        "because pad token is same as eos token.",
        "is same as eos token",
        "transformers.generation.utils",
    ),
    (
        "`padding_free=True` is temporarily unavailable",
        "`padding_free=True` is temp",
        "trl.trainer.dpo_trainer",
    ),
    (
        "Token indices sequence length is longer than the specified maximum sequence length for this model (9 > 8)",
        "longer than the specified maximum sequence length",
        "transformers.tokenization_utils_base",
    ),
    (
        "There seems not to be a single sample in your epoch_iterator, stopping",
        "There seems not to be a single sample in your epoch_iterator",
        "transformers.trainer",
    ),
    (
        "None of the inputs have requires_grad=True.",
        "None of the inputs have requires_grad=True",
        "torch.utils.checkpoint",
    ),
    (
        "There were missing keys in the checkpoint model loaded: ['model.norm.weight'].",
        "There were missing keys in the checkpoint model loaded: {",
        "transformers.trainer",
    ),
    ("Found missing adapter keys while loading", "Found missing adapter keys", "peft.peft_model"),
    (
        "do not match the ones in the `trainer_state.json` within",
        "do not match the ones in the `trainer_state.json`",
        "transformers.trainer_utils",
    ),
)


@pytest.mark.parametrize(("message", "words", "module"), SAID)
def test_the_installed_libraries_still_say_it(message: str, words: str, module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert words in Path(spec.origin).read_text(encoding="utf-8")

    with pytest.raises(ports.StageError, match=re.escape(message)), trl_warnings.watch() as watcher:
        watcher.judge(message)


def test_every_rule_has_a_message() -> None:
    unused = [
        fatal.pattern
        for fatal in trl_warnings.FATAL
        if not any(re.search(fatal.pattern, message) for message, _, _ in SAID)
    ]
    assert unused == []


def test_a_tokenizer_that_ends_texts_otherwise_than_its_model_is_refused(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", eos_token_id=9)

    with pytest.raises(ports.BadInputError, match="EOS is not among the model's stop tokens"):
        train(sft_job(model, tmp_path / "out"))


def test_one_of_several_stop_tokens_is_enough(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", eos_token_id=[9, 2])

    train(sft_job(model, tmp_path / "out"))


def merge(folder: Path) -> None:
    """Let TRL tokenise text itself, whose first completion token joins the prompt's last."""
    trl.SFTTrainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(folder),
        args=trl.SFTConfig(str(folder / "unused"), use_cpu=True, report_to="none"),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["w3 w5"], "completion": ["0 w6"]}),
        processing_class=make_tokenizer(),
    )


def test_tokens_that_merge_across_the_prompt_are_refused_though_the_library_says_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "1")  # the library reports its use otherwise
    folder = make_model(tmp_path / "model")
    merge(folder)

    with pytest.raises(ports.BadInputError, match="tokens merged across the end"), trl_warnings.watch():
        merge(folder)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    saved: list[Path] = []
    steps = itertools.count(1)
    job: dict[str, Any] = {"settings": settings()}
    with pytest.raises(ports.StoppedError):
        train(
            sft_job(
                model,
                tmp_path / "out",
                should_stop=lambda: next(steps) >= 2,
                on_checkpoint=lambda folder, _step: saved.append(folder),
                **job,
            )
        )
    path = saved[0] / "model.safetensors"
    kept = {name: value for name, value in safetensors.torch.load_file(path).items() if "norm" not in name}
    safetensors.torch.save_file(kept, path, metadata={"format": "pt"})

    with pytest.raises(ports.BadInputError, match="the checkpoint lacks weights"):
        train(sft_job(model, tmp_path / "out", checkpoint=saved[0], **job))


def test_a_python_warning_raises_where_it_is_said() -> None:
    with trl_warnings.watch() as watcher:
        with pytest.raises(ports.BadParametersError, match="no gradient reaches"):
            torch.utils.checkpoint.checkpoint(torch.nn.Identity(), torch.zeros(1), use_reentrant=True)
        watcher.fatal = None


def test_a_fatal_warning_that_a_library_swallows_still_ends_the_run() -> None:
    def swallow() -> None:
        with trl_warnings.watch(), contextlib.suppress(ports.BadInputError):
            logging.getLogger("trl.trainer").warning("pad token is same as eos token")

    with pytest.raises(ports.BadInputError, match="padding cannot be told"):
        swallow()


def test_other_warnings_pass_and_loggers_are_given_back(caplog: pytest.LogCaptureFixture) -> None:
    before = list(logging.getLogger("transformers").handlers)
    with caplog.at_level(logging.INFO), trl_warnings.watch():
        warnings.warn("it may rain", UserWarning, stacklevel=1)
        logging.getLogger("peft.tuners").warning("or snow")

    assert [record.getMessage() for record in caplog.records] == ["it may rain", "or snow"]
    assert logging.getLogger("transformers").handlers == before
