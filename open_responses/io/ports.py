"""Checks for ports of this machine."""

from __future__ import annotations

import socket


def is_taken(port: int) -> bool:
    """Whether a process has this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
