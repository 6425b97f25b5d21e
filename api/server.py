"""The options of uvicorn: the bounds and times that the application was tested with."""

from __future__ import annotations

import argparse
from typing import Any

from api.connections.http import BoundedHttp
from api.connections.websocket import BoundedSocket
from open_responses.io.listening import BACKLOG

# A message of a socket may be as long as a body.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# Longer than clients keep a connection that is idle: with uvicorn's 5 s, which are httpx's too, a request now and then
# meets a connection that is just being closed.
_KEEP_ALIVE_SECONDS = 75


def uvicorn_options(given: argparse.Namespace) -> dict[str, Any]:
    """Make uvicorn's options of a program's."""
    return {
        "host": given.host,
        "port": given.port,
        "fd": given.fd,
        "http": BoundedHttp,
        "ws": BoundedSocket,
        "ws_max_size": _MAX_MESSAGE_BYTES,
        # A few compressed bytes may become any number.
        "ws_per_message_deflate": False,
        "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": given.graceful_seconds,
        "backlog": BACKLOG,
        "access_log": False,
        "server_header": False,
        "log_level": given.log_level,
    }
