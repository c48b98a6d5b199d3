"""Library warnings that mean wrong data or a wrong loss, turned into errors."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import transformers.utils.logging
import trl.trainer.sft_trainer

from scalequest_jobs import ports

_log = logging.getLogger(__name__)

_LOGGERS = ("trl", "transformers", "accelerate", "peft", "datasets", "torch")


@dataclass(frozen=True, kw_only=True)
class Fatal:
    """A message that ends training: how it is recognised, who is to blame, and why it matters."""

    pattern: str
    error: type[ports.StageError]
    why: str


FATAL = (
    Fatal(
        pattern=r"tokenized prompt is not a prefix",
        error=ports.BadInputError,
        why="text was tokenised again and its tokens merged across the end of the prompt, so the model would learn "
        "another context than the one it is asked with; give token ids",
    ),
    Fatal(
        pattern=r"Updated tokens: \{.*'eos_token_id'",
        error=ports.BadInputError,
        why="the tokenizer's EOS is not among the model's stop tokens, so what is learnt as the end would not stop "
        "generation; mend eos_token_id in the model's generation_config.json or use its own tokenizer",
    ),
    Fatal(
        pattern=r"pad token is same as eos token",
        error=ports.BadInputError,
        why="padding cannot be told from the end of a text; give the tokenizer a padding token of its own",
    ),
    Fatal(
        pattern=r"padding_free=True` is temporarily unavailable",
        error=ports.BadParametersError,
        why="the batches would not be laid out as asked",
    ),
    Fatal(
        pattern=r"longer than the specified maximum sequence length",
        error=ports.BadInputError,
        why="a text does not fit the model's window",
    ),
    Fatal(
        pattern=r"There seems not to be a single sample in your epoch_iterator",
        error=ports.BadInputError,
        why="nothing would be learnt: no example reached the model",
    ),
    Fatal(
        pattern=r"None of the inputs have requires_grad=True",
        error=ports.BadParametersError,
        why="nothing would be learnt: no gradient reaches the weights",
    ),
    # A model that ties its output to its embedding saves one of the two, and only that is no loss.
    Fatal(
        pattern=r"missing keys in the checkpoint model loaded: \[(?!'lm_head\.weight'\]\.)",
        error=ports.BadInputError,
        why="the checkpoint lacks weights, so training would go on from other ones",
    ),
    Fatal(
        pattern=r"Found missing adapter keys",
        error=ports.BadInputError,
        why="the checkpoint lacks adapter weights, so training would go on from other ones",
    ),
    Fatal(
        pattern=r"do not match the ones in the `trainer_state\.json`",
        error=ports.BadInputError,
        why="the checkpoint was made with other settings",
    ),
)


class Watcher(logging.Handler):
    """Sees each message at once; raises on a fatal one where it is said, before GPU time is spent."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.fatal: ports.StageError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Judge a record of a library's logger."""
        self.judge(record.getMessage())

    def judge(self, message: str) -> None:
        """Raise the error of a fatal message; pass any other on to our own log."""
        for fatal in FATAL:
            if re.search(fatal.pattern, message, re.DOTALL):
                self.fatal = fatal.error(f"{fatal.why}. The library says: {message}")
                raise self.fatal
        _log.info("%s", message)

    def show(  # noqa: PLR0917
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Judge a warning of the `warnings` module; takes the place of `warnings.showwarning`."""
        del category, filename, lineno, file, line
        self.judge(str(message))


@contextmanager
def watch() -> Iterator[Watcher]:
    """Turn fatal warnings of the training libraries into errors while the block runs.

    Raises the matching error of `FATAL`, at the latest at the end of the block if a library caught
    it. Everything else that they say goes to this module's log at INFO, and nothing to stderr.
    """
    watcher = Watcher()
    _say_again()
    before = [_take_over(logging.getLogger(name), watcher) for name in _LOGGERS]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = watcher.show
            yield watcher
    finally:
        for logger, level, handlers, propagate in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate = propagate
    if watcher.fatal is not None:
        raise watcher.fatal


def _take_over(
    logger: logging.Logger, watcher: Watcher
) -> tuple[logging.Logger, int, list[logging.Handler], bool]:
    before = (logger, logger.level, list(logger.handlers), logger.propagate)
    logger.setLevel(logging.WARNING)
    logger.handlers[:] = [watcher]
    logger.propagate = False
    return before


def _say_again() -> None:
    """Forget which messages were said once: a second job in this process must hear them too."""
    once: tuple[Any, ...] = (
        transformers.utils.logging.warning_once,
        type(trl.trainer.sft_trainer.logger).warning_once,
    )
    for function in once:
        function.cache_clear()
