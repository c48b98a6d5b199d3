"""What the model hub's client does with a well-behaved hub, and with one that is not."""

import hashlib
import json
import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_clock import FakeClock
from scalequest_jobs import hub, ports, retry
from servers import hub as hub_server
from servers.hub import COMMIT, REPOSITORY, Fault

MIB = 1024 * 1024
WEIGHTS = random.Random(1).randbytes(3 * MIB + 17)
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "generation_config.json": b"{}",
    "tokenizer.json": b"{}" * 1000,
    "tokenizer.model": b"\x00sentencepiece",
    "chat_template.jinja": b"{{ messages }}",
    "vocab/merges.txt": b"a b\n",
    "empty.txt": b"",
    "model.safetensors.index.json": b"{}",
    "model.safetensors": WEIGHTS,
}
OTHER = {
    ".gitattributes": b"*",
    "README.md": b"# Model",
    "modeling_custom.py": b"import os",
    "original/weights.pth": b"x",
}


@pytest.fixture
def hubs() -> Iterator[hub_server.Hubs]:
    with hub_server.running_hub() as running:
        running.hub.files.update(MODEL | OTHER)
        running.hub.large.update({"model.safetensors", "tokenizer.json"})
        yield running


def fetch(hubs: hub_server.Hubs, into: Path, **options: Any) -> list[hub.HubFile]:
    source = hub.HubSource(
        repository=options.pop("repository", REPOSITORY),
        revision=options.pop("revision", COMMIT),
        endpoint=options.pop("endpoint", hubs.hub.address),
        token_file=options.pop("token_file", None),
    )
    options.setdefault("backoff", retry.Backoff(retries=3))
    options.setdefault("clock", FakeClock())
    return hub.fetch(source, into, **options)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def asked_for(server: hub_server.Hub, name: str) -> list[dict[str, str]]:
    """Return the headers of each request for a file."""
    return [headers for path, headers in server.requests if path.endswith(f"/{name}")]


# --- A hub as it should be ---------------------------------------------------------------------


def test_a_models_files_are_fetched_and_nothing_else(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    fetched = fetch(hubs, tmp_path)
    assert files_in(tmp_path) == MODEL
    assert fetched == [
        hub.HubFile(path=name, size=len(MODEL[name]), sha256=hashlib.sha256(MODEL[name]).hexdigest())
        for name in sorted(MODEL)
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("chat_template.jinja", True),
        ("spiece.model", True),
        ("pytorch_model.bin", False),
        ("modeling_llama.py", False),
        ("model.gguf", False),
        ("README.md", False),
        ("json", False),
    ],
)
def test_model_files_are_known_by_their_suffix(path: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert hub.is_model_file(path) is expected


def test_progress_ends_at_the_declared_size(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    heard: list[hub.HubProgress] = []
    fetch(hubs, tmp_path, on_progress=heard.append)
    total = sum(map(len, MODEL.values()))
    assert heard[-1] == hub.HubProgress(
        files=len(MODEL), total_files=len(MODEL), size=total, total_size=total
    )
    assert [progress.size for progress in heard] == sorted(progress.size for progress in heard)
    assert {progress.total_size for progress in heard} == {total}


def test_a_token_goes_to_the_hub_and_never_to_another_host(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.token = "hf_secret"
    (tmp_path / "token").write_text("hf_secret\n")
    fetch(hubs, tmp_path / "model", token_file=tmp_path / "token")
    assert all(headers["Authorization"] == "Bearer hf_secret" for _, headers in hubs.hub.requests)
    assert len(asked_for(hubs.cdn, "model.safetensors")) == 1
    assert not [path for path, headers in hubs.cdn.requests if "hf_secret" in str(headers) + path]


def test_a_listing_without_sizes_and_digests_is_enough(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    for name in MODEL:
        hubs.hub.declared[name] = {"size": None, "blobId": None, "lfs": None}
    fetch(hubs, tmp_path)
    assert files_in(tmp_path) == MODEL


# --- A hub that stumbles -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_download_that_breaks_off_goes_on_from_there(
    hubs: hub_server.Hubs, tmp_path: Path, kind: Any
) -> None:
    hubs.cdn.faults["model.safetensors"] = deque([Fault(kind=kind, after=2 * MIB)])
    fetch(hubs, tmp_path)
    assert files_in(tmp_path)["model.safetensors"] == WEIGHTS
    ranges = [headers.get("Range") for headers in asked_for(hubs.cdn, "model.safetensors")]
    assert ranges[0] is None
    # A reset may take received bytes with it; an ordinary close may not.
    assert ranges[1:] == [f"bytes={2 * MIB}-"] or kind == "reset"


def test_a_download_may_break_off_more_often_than_there_are_retries_if_it_moves_on(
    hubs: hub_server.Hubs, tmp_path: Path
) -> None:
    big = random.Random(2).randbytes(9 * MIB)
    hubs.hub.files["model.safetensors"] = big
    hubs.cdn.faults["model.safetensors"] = deque([Fault(kind="cut", after=MIB)] * 8)
    fetch(hubs, tmp_path, backoff=retry.Backoff(retries=1))
    assert files_in(tmp_path)["model.safetensors"] == big


@pytest.mark.parametrize(
    "second", [Fault(kind="whole"), Fault(kind="shifted"), Fault(kind="status", status=416)]
)
def test_a_range_that_is_not_heeded_never_mixes_bytes(
    hubs: hub_server.Hubs, tmp_path: Path, second: Fault
) -> None:
    hubs.hub.declared["model.safetensors"] = {"size": None, "lfs": None, "blobId": None}
    hubs.cdn.faults["model.safetensors"] = deque([Fault(kind="cut", after=MIB), second])
    fetch(hubs, tmp_path)
    assert files_in(tmp_path)["model.safetensors"] == WEIGHTS


def test_a_range_that_does_not_exist_starts_the_file_over(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    faults = [Fault(kind="cut", after=MIB), Fault(kind="status", status=416)]
    hubs.cdn.faults["model.safetensors"] = deque(faults)
    fetch(hubs, tmp_path)
    ranges = [headers.get("Range") for headers in asked_for(hubs.cdn, "model.safetensors")]
    assert ranges == [None, f"bytes={MIB}-", None]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_body_that_always_breaks_off_is_never_taken_for_the_file(
    hubs: hub_server.Hubs, tmp_path: Path, name: str, kind: Any
) -> None:
    faults = deque([Fault(kind=kind, after=5)] * 50)
    hubs.hub.faults[name] = hubs.cdn.faults[name] = faults
    with pytest.raises(ports.TryAgainError, match=f"{REPOSITORY}: {name}.*the last"):
        fetch(hubs, tmp_path)
    assert name not in files_in(tmp_path)
    assert not [path for path in files_in(tmp_path) if path.startswith("~")]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("name", ["listing", "config.json", "model.safetensors"])
def test_a_busy_hub_is_asked_again(hubs: hub_server.Hubs, tmp_path: Path, name: str, status: int) -> None:
    hubs.hub.faults[name] = hubs.cdn.faults[name] = deque([Fault(kind="status", status=status)] * 3)
    fetch(hubs, tmp_path)
    assert files_in(tmp_path) == MODEL


def test_retry_after_is_heeded(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    clock = FakeClock()
    hubs.hub.faults["listing"] = deque([Fault(kind="status", status=429, headers={"Retry-After": "40"})])
    fetch(hubs, tmp_path, clock=clock, draw=lambda: 0.0)
    assert clock.slept == [40]


def test_a_hub_that_stays_busy_is_given_up(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.faults["listing"] = deque([Fault(kind="status", status=503)] * 50)
    with pytest.raises(ports.TryAgainError, match="HTTP 503: by the script"):
        fetch(hubs, tmp_path)
    assert len(hubs.hub.requests) == 4


def test_an_unreachable_hub_is_given_up(tmp_path: Path) -> None:
    with hub_server.running_hub() as gone:
        pass
    with pytest.raises(ports.TryAgainError, match="ConnectError"):
        fetch(gone, tmp_path)


def test_a_signed_address_that_expired_is_asked_for_anew(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.cdn.faults["model.safetensors"] = deque([Fault(kind="status", status=403)])
    fetch(hubs, tmp_path)
    assert len(asked_for(hubs.hub, "model.safetensors")) == 2


# --- A hub that is not to be believed ----------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_wrong_content_is_fetched_once_more_and_then_refused(
    hubs: hub_server.Hubs, tmp_path: Path, name: str
) -> None:
    hubs.hub.faults[name] = hubs.cdn.faults[name] = deque([Fault(kind="wrong")] * 2)
    with pytest.raises(ports.BadInputError, match=f"{name}: its .*, the hub declares .*, twice"):
        fetch(hubs, tmp_path)
    assert name not in files_in(tmp_path)
    assert len(asked_for(hubs.hub, name)) == 2


def test_a_content_that_is_right_the_second_time_is_taken(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.cdn.faults["model.safetensors"] = deque([Fault(kind="wrong")])
    fetch(hubs, tmp_path)
    assert files_in(tmp_path) == MODEL


def test_a_file_of_another_size_than_declared_is_refused(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.declared["config.json"] = {"size": 1000, "blobId": None}
    with pytest.raises(ports.BadInputError, match="23 bytes were received, the hub declares 1000, twice"):
        fetch(hubs, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../config.json",
        "a/../../config.json",
        "/etc/config.json",
        "a//b.json",
        "a\\..\\b.json",
        "\x00.json",
        "a b.txt",
    ],
)
def test_a_path_that_could_leave_the_folder_is_refused(
    hubs: hub_server.Hubs, tmp_path: Path, name: str
) -> None:
    hubs.hub.files[name] = b"{}"
    with pytest.raises(ports.BadInputError, match="a path that is not safe to write"):
        fetch(hubs, tmp_path / "model")
    assert files_in(tmp_path) == {}


def test_a_path_that_is_listed_twice_is_refused(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.declared["config.json"] = {"rfilename": "tokenizer.json"}
    with pytest.raises(ports.BadInputError, match=r"lists 'tokenizer\.json' twice"):
        fetch(hubs, tmp_path)


def test_weights_that_are_pickles_are_refused_with_the_reason(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    del hubs.hub.files["model.safetensors"]
    hubs.hub.files["pytorch_model.bin"] = b"x"
    with pytest.raises(
        ports.BadInputError, match=r"only as pickles \(.*pytorch_model\.bin\), which run code"
    ):
        fetch(hubs, tmp_path)
    assert files_in(tmp_path) == {}


def test_a_repository_without_weights_is_refused(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    for name in ("model.safetensors", "original/weights.pth"):
        del hubs.hub.files[name]
    with pytest.raises(ports.BadInputError, match="has no weights; expected"):
        fetch(hubs, tmp_path)


@pytest.mark.parametrize(
    "limits",
    [hub.HubLimits(file_bytes=MIB), hub.HubLimits(total_bytes=3 * MIB), hub.HubLimits(file_count=8)],
)
def test_what_is_declared_too_large_is_refused_before_any_download(
    hubs: hub_server.Hubs, tmp_path: Path, limits: hub.HubLimits
) -> None:
    with pytest.raises(ports.BadInputError, match="are allowed"):
        fetch(hubs, tmp_path, limits=limits)
    assert len(hubs.hub.requests) == 1


def test_a_huge_declared_size_is_refused_by_default(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.declared["model.safetensors"] = {"lfs": {"sha256": "0" * 64, "size": 10**15, "pointerSize": 1}}
    with pytest.raises(ports.BadInputError, match="has 1000000000000000 bytes; at most"):
        fetch(hubs, tmp_path)


def test_a_file_that_turns_out_too_large_is_cut_off(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.declared["model.safetensors"] = {"size": None, "lfs": None, "blobId": None}
    with pytest.raises(ports.BadInputError, match=f"longer than the {MIB} bytes allowed"):
        fetch(hubs, tmp_path, limits=hub.HubLimits(file_bytes=MIB))
    assert "model.safetensors" not in files_in(tmp_path)


def test_an_endless_redirect_is_refused(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.cdn = hubs.hub.address
    with pytest.raises(ports.BadInputError, match="redirects without end"):
        fetch(hubs, tmp_path)


@pytest.mark.parametrize("listing", [b"[]", b"{}", b'{"siblings": {}}'])
def test_an_answer_that_is_no_listing_is_refused(
    hubs: hub_server.Hubs, tmp_path: Path, listing: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs.hub, "listing", lambda: json.loads(listing))
    with pytest.raises(ports.BadInputError, match="no `siblings`"):
        fetch(hubs, tmp_path)


# --- Wrong settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12], COMMIT.upper(), ""])
def test_a_revision_that_can_change_is_refused(hubs: hub_server.Hubs, tmp_path: Path, revision: str) -> None:
    with pytest.raises(ports.BadParametersError, match="expected 40 hex digits"):
        fetch(hubs, tmp_path, revision=revision)
    assert hubs.hub.requests == []


def test_a_hub_that_lists_another_commit_is_refused(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    hubs.hub.listed_commit = "f" * 40
    with pytest.raises(ports.BadParametersError, match=f"asked for commit {COMMIT}, the hub lists 'ffff"):
        fetch(hubs, tmp_path)


@pytest.mark.parametrize(
    "repository", ["model", "a/b/c", "../model", "owner/..", "owner/mo del", "owner/model?x"]
)
def test_a_name_that_is_no_repository_is_refused(
    hubs: hub_server.Hubs, tmp_path: Path, repository: str
) -> None:
    with pytest.raises(ports.BadParametersError, match="expected owner/name"):
        fetch(hubs, tmp_path, repository=repository)


@pytest.mark.parametrize(("content", "status"), [(None, 401), ("hf_wrong", 403)])
def test_a_gated_model_names_repository_and_token_file_but_not_the_token(
    hubs: hub_server.Hubs, tmp_path: Path, content: str | None, status: int
) -> None:
    hubs.hub.token = "hf_right"
    token_file = tmp_path / "token" if content else None
    if token_file and content:
        token_file.write_text(content)
    with pytest.raises(ports.BadParametersError, match=f"HTTP {status}.*gated, private or missing") as caught:
        fetch(hubs, tmp_path / "model", token_file=token_file)
    assert REPOSITORY in str(caught.value)
    assert f"token file: {token_file or 'none'}" in str(caught.value)
    assert "hf_" not in str(caught.value)


def test_a_missing_repository_is_named(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    with pytest.raises(ports.BadParametersError, match=r"owner/other.*check the repository's name"):
        fetch(hubs, tmp_path, repository="owner/other")


def test_a_missing_token_file_is_named(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    with pytest.raises(ports.BadParametersError, match=r"hub token: file .*nowhere"):
        fetch(hubs, tmp_path, token_file=tmp_path / "nowhere")


def test_a_full_or_forbidden_disk_is_told_apart_from_the_hub(hubs: hub_server.Hubs, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file where a folder should be")
    with pytest.raises(ports.BadInputError, match="used for a file and for a folder"):
        fetch(hubs, tmp_path / "model")
