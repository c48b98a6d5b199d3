"""The S3 server beside a cluster, at an address that pods reach."""

import json
from pathlib import Path
from typing import Final

from servers import s3

from . import processes
from .layout import Layout

NAME: Final = "s3"
_PORT: Final = 8333


def server(layout: Layout) -> s3.S3Server:
    """Return the server's address and keys."""
    return s3.configure(_folder(layout), address=layout.host_address, port=_PORT)


def prepare(layout: Layout, data: Path | None) -> None:
    """Make the server's folder; its data are in `data` if given, and then outlive the cluster."""
    _folder(layout).mkdir(exist_ok=True)
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
        (_folder(layout) / "data").symlink_to(data)


def start(layout: Layout) -> None:
    """Start the server, with the data and ports of an earlier start."""
    if not _command_file(layout).exists():
        _command_file(layout).write_text(json.dumps(s3.server_command(_folder(layout), server(layout))))
    processes.start(layout.folder, NAME, json.loads(_command_file(layout).read_text()))


def wait_until_ready(layout: Layout) -> None:
    """Wait until the bucket takes objects."""
    log = layout.folder / f"{NAME}.log"
    s3.wait_until_ready(server(layout), lambda: not processes.find(layout.folder, NAME), log)


def remove(layout: Layout) -> None:
    """Remove what a server that has ended left outside the cluster's folder."""
    if _command_file(layout).exists():
        s3.remove_sockets(json.loads(_command_file(layout).read_text()))


def _folder(layout: Layout) -> Path:
    return layout.folder / "object-store"


def _command_file(layout: Layout) -> Path:
    return _folder(layout) / "command.json"
