"""What requests cost, and the limit that they must not pass. Integer micro-USD throughout."""

import threading
from dataclasses import dataclass
from typing import Final

from scalequest_jobs import ports

_MILLION: Final = 1_000_000
_TOKENS_PER_MESSAGE: Final = 16
"""Role, turn markers and the reply's opening; OpenAI's cookbook counts 3 to 4 a message, we more."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Micro-USD per million tokens."""

    prompt: int
    completion: int

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return the price of a request in micro-USD, rounded up."""
        return -(-(prompt_tokens * self.prompt + completion_tokens * self.completion) // _MILLION)

    def worst_case(self, request: ports.ChatRequest) -> int:
        """Return the most that a request can cost: a token is at least one byte of UTF-8."""
        prompt_bytes = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
        overhead = _TOKENS_PER_MESSAGE * (len(request.messages) + 1)
        return self.cost(prompt_bytes + overhead, request.max_tokens)


class Ledger:
    """What was spent and what is reserved for requests on their way. Thread-safe; limit 0 is none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reserved = 0
        self._spent = 0
        self._guard = threading.Lock()

    @property
    def spent(self) -> int:
        """What was spent so far."""
        return self._spent

    def reserve(self, amount: int) -> bool:
        """Set an amount aside, or say that it could pass the limit."""
        with self._guard:
            if self._limit and self._spent + self._reserved + amount > self._limit:
                return False
            self._reserved += amount
            return True

    def settle(self, reserved: int, spent: int) -> None:
        """Turn a reservation into what was really spent."""
        with self._guard:
            self._reserved -= reserved
            self._spent += spent

    def refusal(self, amount: int) -> ports.SpendLimitError:
        """Return the error for a request of at most `amount` that has no room."""
        return ports.SpendLimitError(
            f"the endpoint's spend limit of {self._limit} micro-USD is reached: {self._spent} are spent"
            f" and the next request may cost {amount}; raise maxCostUsd to go on"
        )


class Bill:
    """The cost of one request over all its attempts, each reserved at its worst case before it is sent.

    An attempt whose answer was lost after sending may have been charged for: it counts as the worst case.
    """

    def __init__(self, ledger: Ledger, worst_case: int) -> None:
        """Start with an amount of `worst_case` that the caller has reserved in the ledger."""
        self._ledger = ledger
        self._worst_case = worst_case
        self._is_reserved = True
        self.total = 0

    def begin(self) -> None:
        """Reserve the next attempt. Raises SpendLimitError."""
        if not self._is_reserved and not self._ledger.reserve(self._worst_case):
            raise self._ledger.refusal(self._worst_case)
        self._is_reserved = True

    def pay(self, amount: int | None) -> None:
        """Count an attempt's cost; None is an unknown one."""
        charged = self._worst_case if amount is None else amount
        self._ledger.settle(self._worst_case, charged)
        self._is_reserved = False
        self.total += charged

    def close(self) -> None:
        """Give back what is still reserved."""
        if self._is_reserved:
            self._ledger.settle(self._worst_case, 0)
            self._is_reserved = False
