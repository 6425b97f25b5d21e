"""Checks for ports of this machine."""

from __future__ import annotations

import contextlib
import random
import socket


def free_port() -> int:
    """A port that nobody has, below those that the system hands out: Temporal and clients take of these at any time."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def is_taken(port: int) -> bool:
    """Whether a process has this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
