"""`/healthz` and `/readyz`.

A standby serves them too, so they cannot be kopf's: that starts only with the lease, and says 200 through every outage.
"""

import http.server
import threading
from collections.abc import Callable


class ProbeServer:
    """Answers probes on a port: 200 when a check returns nothing, 503 with its words otherwise."""

    def __init__(self, port: int, *, healthy: Callable[[], str], ready: Callable[[], str]) -> None:
        checks = {"/healthz": healthy, "/readyz": ready}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                check = checks.get(self.path.partition("?")[0])
                words = "no such probe: /healthz and /readyz are served" if check is None else check()
                body = (words or "ok").encode()
                self.send_response(404 if check is None else 503 if words else 200)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Leave probes out of the log."""

        # All addresses: the kubelet probes the pod's own.
        self._server = http.server.ThreadingHTTPServer(("", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)

    @property
    def port(self) -> int:
        """Return the port that is listened on."""
        return self._server.server_address[1]

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End, and free the port."""
        self._server.shutdown()
        self._server.server_close()
