"""Model files from a model hub, at a fixed commit, every file's digest computed on the way."""

import random
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from scalequest_jobs import http_exchange, hub_connection, hub_listing, ports, retry

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
HubFile = hub_connection.HubFile
HubLimits = hub_listing.HubLimits
is_model_file = hub_listing.is_model_file
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_READ_SECONDS: Final = 60.0
_NO_LIMITS_GIVEN: Final = HubLimits()
_PATIENCE: Final = retry.Backoff(retries=6)


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A model on a hub: `repository` as owner/name, `revision` a commit of 40 hex digits.

    `token_file` holds an access token; it is sent to the endpoint only, never to where that redirects.
    """

    repository: str
    revision: str
    endpoint: str = DEFAULT_ENDPOINT
    token_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class HubProgress:
    """How far a fetch is: finished files of all, and bytes of all that the hub declared."""

    files: int
    total_files: int
    size: int
    total_size: int


def paths(
    source: HubSource,
    *,
    limits: HubLimits = _NO_LIMITS_GIVEN,
    backoff: retry.Backoff = _PATIENCE,
    clock: retry.Clock = retry.SYSTEM_CLOCK,
    draw: Callable[[], float] = random.random,
) -> list[str]:
    """Return the paths of the files that `fetch` would fetch, sorted. Raises as `fetch` before its first file."""
    with _connected(source, retry.Retrier(backoff, clock=clock, draw=draw), clock) as hub:
        entries = hub_listing.wanted(hub.listing(), source.repository, source.revision, limits)
        return [entry.path for entry in entries]


def fetch(
    source: HubSource,
    into: Path,
    *,
    only: Collection[str] | None = None,
    on_progress: Callable[[HubProgress], None] = lambda _progress: None,
    limits: HubLimits = _NO_LIMITS_GIVEN,
    backoff: retry.Backoff = _PATIENCE,
    clock: retry.Clock = retry.SYSTEM_CLOCK,
    draw: Callable[[], float] = random.random,
) -> list[HubFile]:
    """Fetch a model's safetensors, JSON, text, tokenizer and template files; return them by path.

    Each file appears in `into` only when it is complete and has the size and digest that the hub
    declared. Everything else in the repository is left out, and so are paths that are not in `only`. A
    broken download goes on from where it broke off. `on_progress` is called for each piece of at most 1 MiB.

    Raises:
        BadParametersError: wrong repository, revision or endpoint, or no access.
        BadInputError: no safetensors weights, a dangerous path, a wrong digest, or more than `limits`.
        TryAgainError: the hub stays unreachable or busy, or the disk is full.
    """
    with _connected(source, retry.Retrier(backoff, clock=clock, draw=draw), clock) as hub:
        entries = hub_listing.wanted(hub.listing(), source.repository, source.revision, limits)
        chosen = [entry for entry in entries if only is None or entry.path in only]
        return _fetch_all(hub, chosen, into, on_progress, limits)


@contextmanager
def _connected(
    source: HubSource, retrier: retry.Retrier, clock: retry.Clock
) -> Iterator[hub_connection.Connection]:
    _check(source)
    timeout = httpx.Timeout(_READ_SECONDS, connect=http_exchange.CONNECT_SECONDS)
    with httpx.Client(timeout=timeout, follow_redirects=True) as client:
        yield hub_connection.Connection(
            client,
            endpoint=http_exchange.checked_url(source.endpoint, field="hub endpoint"),
            repository=source.repository,
            revision=source.revision,
            token_file=source.token_file,
            retrier=retrier,
            clock=clock,
        )


def _check(source: HubSource) -> None:
    if not _REPOSITORY.fullmatch(source.repository) or ".." in source.repository:
        raise ports.BadParametersError(
            f"hub repository {source.repository!r} is not one; expected owner/name, for example Qwen/Qwen2-Math-7B"
        )
    if not _COMMIT.fullmatch(source.revision):
        raise ports.BadParametersError(
            f"revision {source.revision!r} of {source.repository} is not a commit; expected 40 hex digits:"
            " a branch or tag can change"
        )


def _fetch_all(
    hub: hub_connection.Connection,
    entries: list[hub_listing.Entry],
    into: Path,
    on_progress: Callable[[HubProgress], None],
    limits: HubLimits,
) -> list[HubFile]:
    total_size = sum(entry.size or 0 for entry in entries)
    fetched: list[HubFile] = []
    finished_size = 0

    def report(size: int) -> None:
        on_progress(
            HubProgress(
                files=len(fetched),
                total_files=len(entries),
                size=finished_size + size,
                total_size=max(total_size, finished_size + size),
            )
        )

    for entry in entries:
        room = min(limits.file_bytes, limits.total_bytes - finished_size)
        file = hub.download(entry, into / entry.path, most_bytes=room, on_size=report)
        fetched.append(file)
        finished_size += file.size
        report(0)
    return fetched
