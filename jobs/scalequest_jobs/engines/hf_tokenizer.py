"""A model's tokenizer and chat template through transformers."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from scalequest_jobs import ports
from scalequest_jobs.engines import model_folder


class HfTokenizer:
    """`ports.Tokenizer` of a model folder; no network, no code from the folder."""

    def __init__(self, model: Path) -> None:
        """Load tokenizer.json or its older forms.

        Raises:
            BadInputError: the folder has no tokenizer that loads without running its own code.
        """
        from transformers import AutoTokenizer

        self._model = model
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                str(model), trust_remote_code=False, local_files_only=True
            )
        except Exception as error:
            # The library raises OSError, ValueError, KeyError, ImportError and the Rust side's bare Exception.
            raise ports.BadInputError(
                f"{model} has no usable tokenizer ({error}); expected tokenizer.json and tokenizer_config.json"
            ) from error

    def encode(self, text: str) -> list[int]:
        """Return the ids of text; the text of a special token ("<|im_end|>") becomes its id."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without special tokens, spaces as they were generated."""
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def render(self, messages: Sequence[ports.Message], *, generation_prompt: bool) -> str:
        """Return the conversation through the chat template, special tokens as text.

        Raises:
            BadInputError: the model has no chat template, or the template refuses the conversation.
        """
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise ports.BadInputError(
                f"{self._model} has no chat template (chat_template.jinja, or chat_template in "
                "tokenizer_config.json); use an instruct model or add its template to the folder"
            )
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text: str = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=generation_prompt
            )
        except TemplateError as error:
            roles = ", ".join(message.role for message in messages)
            raise ports.BadInputError(
                f"the chat template of {self._model} refused a conversation of roles {roles}: {error}"
            ) from error
        return text

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens, those added to the vocabulary included."""
        added = self._tokenizer.added_tokens_decoder.items()
        return frozenset(self._tokenizer.all_special_ids) | {at for at, token in added if token.special}

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """The tokenizer's EOS, then those of generation_config.json and config.json, each once."""
        own = self._tokenizer.eos_token_id
        ids = [] if own is None else [int(own)]
        return tuple(dict.fromkeys([*ids, *model_folder.eos_ids(self._model)]))
