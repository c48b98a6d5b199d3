"""A TCP proxy whose connections can be made silent: they stay open, and nothing comes through them any more."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class SilentProxy:
    """Passes bytes between clients and `target` (host and port); `silence` mutes every connection that is open now."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._mute: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return int(self._listener.getsockname()[1])

    def silence(self) -> int:
        """Mute the connections that are open; return how many there were. New ones are not affected."""
        with self._guard:
            self._mute |= self._open
            return len(self._open) // 2

    def serve(self) -> None:
        """Take connections until `close`."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                with self._guard:
                    self._open |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._pass_on, args=(source, sink))
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._guard:
                    muted = source in self._mute
                if not muted:
                    sink.sendall(data)
        with self._guard:
            self._open -= {source, sink}
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            ends = list(self._open)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()


@contextlib.contextmanager
def running_silent_proxy(target: tuple[str, int]) -> Iterator[SilentProxy]:
    """Run a proxy in front of `target` until the block ends."""
    proxy = SilentProxy(target)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
