"""Where a server of the API listens: its command line options, and the socket that they name.

The standard library alone: the command line imports this for each of its commands.
"""

from __future__ import annotations

import argparse
import socket

BACKLOG = 2048


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a program that serves the API."""
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="take connections from this listening socket, which is open already")
    parser.add_argument("--log-level", default="info", help="uvicorn's own")
    parser.add_argument("--graceful-seconds", type=int, default=8, help="how long answers may still take after SIGTERM")


def listening_socket(given: argparse.Namespace) -> socket.socket:
    """Open the socket that a program's options name. Raises OSError for an address that cannot be had."""
    if given.fd is not None:
        return socket.socket(fileno=given.fd)
    family = socket.getaddrinfo(given.host, given.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((given.host, given.port), family=family, backlog=BACKLOG)
