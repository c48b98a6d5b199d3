"""What may be edited once a run exists: nothing that its results or its pods at work depend on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scalequest_jobs.contract.run import Spec

EDITABLE: Final = frozenset(
    {"suspend", "cancel", "budget", "retries", "active_deadline_seconds", "ttl_seconds_after_finished"}
)
"""Fields of the spec that change no result. Not `compute`: its dtype changes results, and shards and chunks say
who does which rows while workers are at it."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`holds(old, new)` must be true of every change of a spec; `cel` says the same."""

    field: str
    message: str
    holds: Callable[[Spec, Spec], bool]
    cel: str


def _fixed(name: str) -> Rule:
    alias = Spec.model_fields[name].alias or name
    return Rule(
        field=alias,
        message=f"{alias} cannot be changed once the run exists: its results depend on it. Create a run of another "
        "name with the new value; it takes over every finished stage that the change does not touch",
        holds=lambda old, new: bool(getattr(old, name) == getattr(new, name)),
        cel=f"has(self.{alias}) == has(oldSelf.{alias}) && (!has(self.{alias}) || self.{alias} == oldSelf.{alias})",
    )


RULES: Final = (
    *(_fixed(name) for name in Spec.model_fields if name not in EDITABLE),
    Rule(
        field="cancel",
        message="cancel cannot be taken back. Create a run of another name; it takes over every finished stage",
        holds=lambda old, new: new.cancel or not old.cancel,
        cel="self.cancel || !oldSelf.cancel",
    ),
)


def problems(old: Spec, new: Spec) -> list[str]:
    """Return a line for each change that is refused."""
    return [f"spec.{rule.field}: {rule.message}" for rule in RULES if not rule.holds(old, new)]
