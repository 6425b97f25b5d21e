"""`python -m api`: the application under uvicorn, with the bounds and times that it was tested with."""

from __future__ import annotations

import argparse

import uvicorn

from api.connections.http import BoundedHttp
from api.connections.websocket import BoundedSocket

# A message of a socket may be as long as a body.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# Longer than clients keep a connection that is idle: with uvicorn's 5 s, which are httpx's too, a request now and then
# meets a connection that is just being closed.
_KEEP_ALIVE_SECONDS = 75


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with an error where the port is taken or the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="take connections from this listening socket, which is open already")
    parser.add_argument("--log-level", default="info", help="uvicorn's own")
    parser.add_argument("--graceful-seconds", type=int, default=8, help="how long answers may still take after SIGTERM")
    given = parser.parse_args()
    uvicorn.run(
        "api.main:app",
        host=given.host,
        port=given.port,
        fd=given.fd,
        http=BoundedHttp,
        ws=BoundedSocket,
        ws_max_size=_MAX_MESSAGE_BYTES,
        # A few compressed bytes may become any number.
        ws_per_message_deflate=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=given.graceful_seconds,
        access_log=False,
        server_header=False,
        log_level=given.log_level,
    )


if __name__ == "__main__":
    main()
