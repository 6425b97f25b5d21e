"""The metrics as text, and a small HTTP server that answers a Prometheus with them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from open_responses.io.metrics.definitions import APART, REGISTRY
from open_responses.io.metrics.text_format import text_of
from open_responses.private_addresses import is_forbidden_host

__all__ = ["CONTENT_TYPE_PLAIN_0_0_4", "SdkMetrics", "exposed", "serve_metrics"]

log = structlog.get_logger(__name__)

_PATH = "/metrics"
# The time for which a client that connects and sends nothing occupies a thread.
_PATIENCE_SECONDS = 5.0
_SDK_SECONDS = 1.0


def exposed() -> bytes:
    """This process's metrics, in Prometheus' text format."""
    texts = [text_of(collector) for collector in APART]
    texts += [family.text() for family in REGISTRY.families]
    return "".join(texts).encode()


def serve_metrics(
    host: str, ports: Sequence[int], *, before: Callable[[], None] | None = None, more: Callable[[], bytes] = bytes
) -> ThreadingHTTPServer | None:
    """Serve the metrics in threads of their own, which end with the process: a busy event loop answers as well.

    Args:
        host: The address. On a loopback address, a request that names a public host is refused.
        ports: The first of these that no other process has.
        before: Called before each answer.
        more: Further metrics, which follow ours. It may raise OSError: then they are left out.

    Returns:
        The server; None where no port can be used, which is logged and stops nothing.
    """
    is_here_only = host in ("localhost", "::1") or host.startswith("127.")

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_SECONDS
        server_version = "open_responses"
        sys_version = ""

        def do_GET(self) -> None:
            if is_here_only and not _is_near(self.headers.get("Host")):
                # DNS rebinding: the owner of a web page may point a domain name at this machine.
                self.send_error(403)
                return
            if self.path.partition("?")[0] != _PATH:
                self.send_error(404)
                return
            if before is not None:
                before()
            body = exposed()
            with contextlib.suppress(OSError):
                body += more()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing, because there is a scrape every few seconds."""

    reason = ""
    for port in ports:
        try:
            server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            reason = str(error)
        else:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
            return server
    log.error("metrics_not_served", host=host, ports=[*ports], reason=reason)
    return None


def _is_near(host: str | None) -> bool:
    """Whether a `Host` header has a name or an address of this machine or its network. A browser always sends one."""
    if host is None:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return "." not in name or is_forbidden_host(name)


class SdkMetrics:
    """Fetches the metrics of Temporal's SDK, which serves them at a port of the loopback address."""

    def __init__(self) -> None:
        self.port = 0

    def fetch(self) -> bytes:
        """Fetch them. Raises OSError if the SDK does not answer."""
        if not self.port:
            return b""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_SDK_SECONDS)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read()
        except HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
