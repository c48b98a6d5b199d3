"""What every object store must do, and what only the one behind S3 can get wrong."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fake_clock import FakeClock
from scalequest_jobs import ports
from scalequest_jobs.stores import atomic, folder, memory, minio
from servers import proxy, s3

MIB = 1024 * 1024
ODD_KEYS = [
    "a",
    "shard=0003/chunk=000017/6f3c@pod+x-1_2/rows.jsonl.zst",
    "-leading-dash",
    "..two-dots",
    "dots.../x",
    "@+=._-",
    "deep/" * 60 + "end",
    "long/" + "n" * 255,
]
BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "a/../b",
    "./a",
    "a b",
    "a\nb",
    "a\\b",
    "a~b",
    "caf\u00e9",
    "a" * 256,
    "a/" * 600,
]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3Server]:
    with s3.running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def settings(s3_server: s3.S3Server) -> minio.S3Settings:
    """Return settings with a prefix of its own and short waits."""
    return minio.S3Settings(
        endpoint=s3_server.endpoint,
        bucket=s3_server.bucket,
        prefix=f"test-{uuid.uuid4().hex}",
        region=s3_server.region,
        access_key_file=s3_server.access_key_file,
        secret_key_file=s3_server.secret_key_file,
        backoff_seconds=0.001,
    )


@pytest.fixture(params=["memory", "folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ports.ArtifactStore]:
    match request.param:
        case "memory":
            yield memory.MemoryStore()
        case "folder":
            yield folder.FolderStore(tmp_path / "store" / "made-on-demand")
        case _:
            with s3_store(request.getfixturevalue("settings")) as opened:
                yield opened


@contextlib.contextmanager
def s3_store(settings: minio.S3Settings, **changes: Any) -> Iterator[minio.MinioStore]:
    """Open a store with a clock that does not wait, closed at the end."""
    changed = dataclasses.replace(settings, **changes)
    with contextlib.closing(
        minio.MinioStore(changed, clock=FakeClock(), draw=random.Random(7).random)
    ) as store:
        yield store


# --- All stores --------------------------------------------------------------------------------


def test_what_was_written_is_read_back(store: ports.ArtifactStore) -> None:
    store.put("a/b", b"one\r\n\x00two")
    assert store.get("a/b") == b"one\r\n\x00two"
    assert store.size("a/b") == 9


def test_writing_the_same_object_again_changes_nothing(store: ports.ArtifactStore) -> None:
    store.put("a", b"same")
    store.put("a", b"same")
    assert store.get("a") == b"same"
    assert store.keys("") == ["a"]


def test_a_later_write_replaces_the_whole_object(store: ports.ArtifactStore) -> None:
    store.put("a", b"a long content")
    store.put("a", b"short")
    assert store.get("a") == b"short"
    assert store.size("a") == 5


def test_an_empty_object_exists(store: ports.ArtifactStore, tmp_path: Path) -> None:
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert store.size("empty") == 0
    store.download("empty", tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""
    store.upload("empty-too", tmp_path / "empty")
    assert store.keys("") == ["empty", "empty-too"]


@pytest.mark.parametrize("operation", ["get", "size", "download"])
def test_a_missing_key_is_named(store: ports.ArtifactStore, operation: str, tmp_path: Path) -> None:
    arguments = [tmp_path / "target"] if operation == "download" else []
    with pytest.raises(ports.ObjectMissingError, match="no object 'not/there' in ") as caught:
        getattr(store, operation)("not/there", *arguments)
    assert store.describe() in str(caught.value)
    assert list(tmp_path.rglob("target*")) == []


@pytest.mark.parametrize("size", [1, MIB, 20 * MIB, 33 * MIB + 1])
def test_a_file_comes_back_with_the_same_digest(
    store: ports.ArtifactStore, size: int, tmp_path: Path
) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "source").write_bytes(data)
    store.upload("model/weights", tmp_path / "source")
    store.download("model/weights", tmp_path / "new-folder" / "target")
    assert store.size("model/weights") == size
    assert _sha256(tmp_path / "new-folder" / "target") == hashlib.sha256(data).hexdigest()
    assert [path.name for path in (tmp_path / "new-folder").iterdir()] == ["target"]


def test_a_large_object_may_be_written_from_memory(store: ports.ArtifactStore) -> None:
    data = random.Random(3).randbytes(17 * MIB)
    store.put("large", data)
    assert store.get("large") == data


def test_a_download_replaces_an_older_file(store: ports.ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old and longer")
    store.put("a", b"new")
    store.download("a", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_uploading_a_file_that_does_not_exist_names_it(store: ports.ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ports.BadInputError, match="no-such-file"):
        store.upload("a", tmp_path / "no-such-file")
    assert store.keys("") == []


@pytest.mark.parametrize("key", ODD_KEYS)
def test_every_legal_key_works(store: ports.ArtifactStore, key: str) -> None:
    store.put(key, key.encode())
    assert store.get(key) == key.encode()
    assert store.keys("") == [key]
    assert store.keys(key) == [key]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_an_illegal_key_is_refused(store: ports.ArtifactStore, key: str, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"x")
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, b""),
        lambda: store.get(key),
        lambda: store.size(key),
        lambda: store.upload(key, target),
        lambda: store.download(key, target),
    ]
    for call in calls:
        with pytest.raises(ports.BadParametersError, match=r"^key "):
            call()
    assert target.read_bytes() == b"x"
    assert store.keys("") == []


def test_a_prefix_may_end_inside_a_name(store: ports.ArtifactStore) -> None:
    for key in ["runs/1/a", "runs/10/a", "runs/2/a", "run", "runs/1.json"]:
        store.put(key, b"")
    assert store.keys("runs/1") == ["runs/1.json", "runs/1/a", "runs/10/a"]
    assert store.keys("runs/1/") == ["runs/1/a"]
    assert store.keys("runs") == ["runs/1.json", "runs/1/a", "runs/10/a", "runs/2/a"]
    assert store.keys("") == ["run", "runs/1.json", "runs/1/a", "runs/10/a", "runs/2/a"]
    assert store.keys("runs/3/") == []
    assert store.keys("run/nothing-below-an-object") == []


@pytest.mark.parametrize("prefix", ["/", "../", "a//", "a b", "/a"])
def test_an_illegal_prefix_is_refused(store: ports.ArtifactStore, prefix: str) -> None:
    with pytest.raises(ports.BadParametersError, match=r"^key "):
        store.keys(prefix)


def test_keys_beyond_the_first_thousand_are_listed(store: ports.ArtifactStore) -> None:
    expected = [f"many/{number:05d}" for number in range(1005)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), reversed(expected)))
    assert store.keys("many/") == expected


def test_concurrent_writers_of_distinct_keys_do_not_disturb_each_other(store: ports.ArtifactStore) -> None:
    contents = {f"w/{writer}/{number}": os.urandom(2000) for writer in range(8) for number in range(10)}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: store.put(*item), contents.items()))
        read = dict(zip(contents, pool.map(store.get, contents), strict=True))
    assert read == contents


def test_concurrent_writers_of_one_key_leave_one_whole_content(store: ports.ArtifactStore) -> None:
    contents = [bytes([writer]) * 300_000 for writer in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda data: store.put("one", data), contents))
    assert store.get("one") in contents
    assert store.keys("") == ["one"]


# --- Folder ------------------------------------------------------------------------------------

_CRASH = """
import os, pathlib, sys
from scalequest_jobs.stores import folder
pathlib.Path.replace = lambda *_: os._exit(9)  # the machine stops between write and rename
folder.FolderStore(pathlib.Path(sys.argv[1])).put("a/key", b"half a life")
"""


def test_a_crash_before_the_rename_leaves_nothing_visible(tmp_path: Path) -> None:
    store = folder.FolderStore(tmp_path)
    crash = [sys.executable, "-c", _CRASH, str(tmp_path)]
    assert subprocess.run(crash, check=False).returncode == 9
    assert [path.read_bytes() for path in (tmp_path / "a").iterdir()] == [b"half a life"]
    assert store.keys("") == []
    with pytest.raises(ports.ObjectMissingError):
        store.get("a/key")


def test_a_crash_leaves_the_earlier_object_as_it_was(tmp_path: Path) -> None:
    store = folder.FolderStore(tmp_path)
    store.put("a/key", b"earlier")
    subprocess.run([sys.executable, "-c", _CRASH, str(tmp_path)], check=False)
    assert store.get("a/key") == b"earlier"
    assert store.keys("") == ["a/key"]


def test_a_file_is_not_visible_while_it_is_written(tmp_path: Path) -> None:
    with atomic.writing(tmp_path / "target") as file:
        file.write(b"x" * MIB)
        file.flush()
        assert not (tmp_path / "target").exists()
        assert folder.FolderStore(tmp_path).keys("") == []
    assert (tmp_path / "target").stat().st_size == MIB


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic.writing(tmp_path / "target"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_a_folder_and_a_file_is_refused(tmp_path: Path) -> None:
    store = folder.FolderStore(tmp_path)
    store.put("a", b"")
    with pytest.raises(ports.BadInputError, match="used for a file and for a folder"):
        store.put("a/b", b"")
    with pytest.raises(ports.ObjectMissingError):
        store.get("a/b")


# --- S3 ----------------------------------------------------------------------------------------


@pytest.fixture
def faulty(s3_server: s3.S3Server) -> Iterator[proxy.FaultyProxy]:
    with proxy.running_proxy(s3_server.endpoint) as running:
        yield running


@pytest.mark.s3
def test_stores_with_different_prefixes_do_not_see_each_other(settings: minio.S3Settings) -> None:
    with (
        s3_store(settings, prefix="p/one") as one,
        s3_store(settings, prefix="p/one-more") as more,
        s3_store(settings, prefix="p/") as both,
    ):
        one.put("a", b"1")
        more.put("a", b"2")
        assert (one.get("a"), one.keys("")) == (b"1", ["a"])
        assert both.keys("") == ["one-more/a", "one/a"]


@pytest.mark.s3
def test_wrong_credentials_are_a_wrong_setting_and_stay_secret(
    settings: minio.S3Settings, tmp_path: Path
) -> None:
    wrong = tmp_path / "secret-key"
    wrong.write_text("wrong-secret-value")
    with s3_store(settings, secret_key_file=wrong) as store:
        for call in (
            lambda: store.put("a", b""),
            lambda: store.get("a"),
            lambda: store.size("a"),
            lambda: store.keys(""),
        ):
            with pytest.raises(
                ports.BadParametersError, match=r"SignatureDoesNotMatch.*check the access key"
            ) as caught:
                call()
            assert "wrong-secret-value" not in str(caught.value)
            assert s3.ACCESS_KEY not in str(caught.value)
        assert "wrong-secret-value" not in repr(store) + repr(store.__dict__)


@pytest.mark.s3
def test_rotated_credentials_are_used_at_once(settings: minio.S3Settings, tmp_path: Path) -> None:
    rotating = tmp_path / "secret-key"
    rotating.write_text("not yet valid")
    with s3_store(settings, secret_key_file=rotating) as store:
        with pytest.raises(ports.BadParametersError):
            store.put("a", b"")
        rotating.write_text(settings.secret_key_file.read_text() + "\n")
        store.put("a", b"now")
        assert store.get("a") == b"now"


@pytest.mark.s3
def test_a_request_signed_with_credentials_that_were_just_rotated_is_signed_anew(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, tmp_path: Path
) -> None:
    rotating = tmp_path / "secret-key"
    rotating.write_text("about to be replaced")
    faulty.faults.append(proxy.Fault(kind="status", status=403, code="InvalidAccessKeyId"))
    faulty.on_fault = lambda: rotating.write_text(settings.secret_key_file.read_text())
    with s3_store(settings, endpoint=faulty.address, secret_key_file=rotating) as store:
        store.put("a", b"data")
        assert store.get("a") == b"data"


@pytest.mark.s3
def test_a_missing_bucket_is_named(settings: minio.S3Settings) -> None:
    with s3_store(settings, bucket="no-such-bucket") as store:
        for call in (lambda: store.get("a"), lambda: store.size("a"), lambda: store.keys("")):
            with pytest.raises(ports.BadParametersError, match="create bucket 'no-such-bucket'"):
                call()
        with pytest.raises(ports.BadParametersError, match="'no-such-bucket', and check that it exists"):
            store.put("a", b"")


def _dead(tmp_path: Path, **changes: Any) -> contextlib.AbstractContextManager[minio.MinioStore]:
    for name in ("access-key", "secret-key"):
        (tmp_path / name).write_text("x")
    settings = minio.S3Settings(
        endpoint=f"http://127.0.0.1:{s3.free_port()}",
        bucket="bucket",
        access_key_file=tmp_path / "access-key",
        secret_key_file=tmp_path / "secret-key",
        backoff_seconds=0.001,
    )
    return s3_store(settings, **changes)


def test_a_dead_server_is_given_up_after_the_retries(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (17 * MIB))
    with _dead(tmp_path, retries=2) as store:
        calls: list[Callable[[], object]] = [
            lambda: store.put("a", b""),
            lambda: store.get("a"),
            lambda: store.size("a"),
            lambda: store.keys(""),
            lambda: store.upload("a", tmp_path / "file"),
            lambda: store.download("a", tmp_path / "target"),
        ]
        for call in calls:
            with pytest.raises(ports.TryAgainError, match="gave no answer after 2 retries"):
                call()
    assert not (tmp_path / "target").exists()


def test_a_silent_server_is_given_up_in_bounded_time(tmp_path: Path) -> None:
    with (
        proxy.running_silence() as address,
        _dead(tmp_path, endpoint=address, read_timeout_seconds=0.05, retries=1) as store,
        pytest.raises(ports.TryAgainError, match="gave no answer after 1 retries"),
    ):
        store.get("a")


def test_missing_credentials_name_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(ports.BadParametersError, match=r"S3 access key: file .*/nowhere cannot be read"),
        _dead(tmp_path, access_key_file=tmp_path / "nowhere"),
    ):
        pass


@pytest.mark.parametrize(
    "endpoint", ["ftp://host:1", "http://host/path", "http://user:pass@host", "http://", ""]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(endpoint: str, tmp_path: Path) -> None:
    with (
        pytest.raises(ports.BadParametersError, match=r"storage\.endpoint") as caught,
        _dead(tmp_path, endpoint=endpoint),
    ):
        pass
    assert "pass" not in str(caught.value)


def test_tls_is_used_unless_the_address_says_otherwise(tmp_path: Path) -> None:
    with proxy.running_silence() as address:
        plain = address.removeprefix("http://")
        (tmp_path / "ca.pem").write_text("not a certificate")
        with (
            pytest.raises(ports.BadParametersError, match="expected certificates in PEM form"),
            _dead(tmp_path, endpoint=plain, ca_file=tmp_path / "ca.pem"),
        ):
            pass


@pytest.mark.s3
def test_tls_to_a_server_without_it_is_a_wrong_setting(settings: minio.S3Settings) -> None:
    tls = settings.endpoint.replace("http://", "https://")
    with (
        s3_store(settings, endpoint=tls, retries=1) as store,
        pytest.raises(ports.BadParametersError, match=r"TLS failed: .*use http://"),
    ):
        store.get("a")


@pytest.mark.s3
@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")]
)
def test_a_busy_server_is_asked_again(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, status: int, code: str
) -> None:
    with s3_store(settings, endpoint=faulty.address) as store:
        for call in (
            lambda: store.put("a", b"data"),
            lambda: store.get("a"),
            lambda: store.keys(""),
            lambda: store.size("a"),
        ):
            faulty.faults.extend([proxy.Fault(kind="status", status=status, code=code)] * 3)
            call()
        assert store.get("a") == b"data"


@pytest.mark.s3
def test_a_server_that_stays_busy_is_given_up(settings: minio.S3Settings, faulty: proxy.FaultyProxy) -> None:
    faulty.faults.extend([proxy.Fault(kind="status")] * 100)
    with (
        s3_store(settings, endpoint=faulty.address, retries=2) as store,
        pytest.raises(ports.TryAgainError, match="SlowDown"),
    ):
        store.put("a", b"")


@pytest.mark.s3
@pytest.mark.parametrize(
    "code", ["BadDigest", "RequestTimeout", "IncompleteBody", "XAmzContentSHA256Mismatch"]
)
def test_a_request_damaged_on_the_way_is_signed_and_sent_anew(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, code: str
) -> None:
    faulty.faults.extend([proxy.Fault(kind="status", status=400, code=code)] * 2)
    with s3_store(settings, endpoint=faulty.address) as store:
        store.put("a", b"data")
        assert store.get("a") == b"data"


@pytest.mark.s3
def test_a_flipped_bit_on_the_way_is_refused_by_the_server(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy
) -> None:
    faulty.faults.append(proxy.Fault(kind="corrupt", method="PUT"))
    with s3_store(settings, endpoint=faulty.address) as store:
        store.put("a", b"data")
        assert store.get("a") == b"data"
    assert [method for method, _ in faulty.seen].count("PUT") == 2


@pytest.mark.s3
def test_a_write_whose_answer_is_lost_is_repeated(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy
) -> None:
    faulty.faults.extend([proxy.Fault(kind="lost", method="PUT")] * 2)
    with s3_store(settings, endpoint=faulty.address) as store:
        store.put("a", b"data")
        assert store.get("a") == b"data"


@pytest.mark.s3
@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_download_that_breaks_off_goes_on_from_there(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, kind: Any, tmp_path: Path
) -> None:
    data = random.Random(1).randbytes(3 * MIB)
    with s3_store(settings, endpoint=faulty.address) as store:
        store.put("a", data)
        faulty.faults.extend(
            [proxy.Fault(kind=kind, method="GET", after=MIB), proxy.Fault(kind=kind, method="GET")]
        )
        store.download("a", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == data
        faulty.faults.append(proxy.Fault(kind=kind, method="GET", after=5))
        assert store.get("a") == data


@pytest.mark.s3
def test_a_body_that_always_breaks_off_is_never_taken_for_the_object(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, tmp_path: Path
) -> None:
    with s3_store(settings, endpoint=faulty.address) as store:
        store.put("a", b"0123456789")
        faulty.faults.extend([proxy.Fault(kind="cut", method="GET", after=0)] * 50)
        with pytest.raises(ports.TryAgainError, match="broke off after 0 bytes"):
            store.download("a", tmp_path / "target")
        with pytest.raises(ports.TryAgainError, match="broke off after 0 bytes"):
            store.get("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_a_server_that_heeds_no_ranges_never_makes_a_download_longer(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, tmp_path: Path
) -> None:
    data = random.Random(1).randbytes(3 * MIB)
    faulty.faults.extend(
        [proxy.Fault(kind="cut", method="GET", after=2 * MIB), proxy.Fault(kind="whole", method="GET")]
    )
    with s3_store(settings, endpoint=faulty.address) as store:
        store.put("a", data)
        store.download("a", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data


@pytest.mark.s3
def test_an_object_replaced_during_a_download_is_not_mixed(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, tmp_path: Path
) -> None:
    old, new = random.Random(1).randbytes(3 * MIB), random.Random(2).randbytes(3 * MIB)
    with s3_store(settings, endpoint=faulty.address) as store, s3_store(settings) as other:
        other.put("a", old)
        faulty.on_fault = lambda: other.put("a", new)
        faulty.faults.append(proxy.Fault(kind="cut", method="GET", after=2 * MIB))
        with pytest.raises(ports.TryAgainError, match="PreconditionFailed"):
            store.download("a", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_a_part_that_fails_does_not_fail_a_large_upload(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, tmp_path: Path
) -> None:
    data = random.Random(5).randbytes(40 * MIB)
    (tmp_path / "source").write_bytes(data)
    faulty.faults.extend([proxy.Fault(kind="status", method="PUT"), proxy.Fault(kind="lost", method="PUT")])
    faulty.faults.append(proxy.Fault(kind="status", method="POST", status=500, code="InternalError"))
    with s3_store(settings, endpoint=faulty.address) as store:
        store.upload("large", tmp_path / "source")
        store.download("large", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data


@pytest.mark.s3
@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        ("RequestTimeTooSkewed", 403, "clock of the worker's node"),
        ("AccessDenied", 403, "allow this access key"),
        ("InvalidAccessKeyId", 403, "check the access key in"),
        ("PermanentRedirect", 301, "set storage.region"),
        ("AuthorizationHeaderMalformed", 400, "set storage.region"),
        ("MethodNotAllowed", 405, "check that the address is an S3 server's"),
    ],
)
def test_a_wrong_setting_is_reported_at_once_with_its_fix(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy, code: str, status: int, advice: str
) -> None:
    faulty.faults.append(proxy.Fault(kind="status", status=status, code=code))
    with (
        s3_store(settings, endpoint=faulty.address) as store,
        pytest.raises(ports.BadParametersError, match=f"{code}.*{advice}"),
    ):
        store.get("a")
    assert len(faulty.seen) == 1


@pytest.mark.s3
def test_an_address_that_is_no_s3_server_is_a_wrong_setting(
    settings: minio.S3Settings, faulty: proxy.FaultyProxy
) -> None:
    html = (("Content-Type", "text/html"),)
    faulty.faults.append(proxy.Fault(kind="status", status=404, headers=html))
    with (
        s3_store(settings, endpoint=faulty.address) as store,
        pytest.raises(ports.BadParametersError, match="check that the address is an S3 server's"),
    ):
        store.get("a")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
