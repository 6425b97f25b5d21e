"""Checks for ports of this machine."""

from __future__ import annotations

import contextlib
import os
import random
import socket

_given: set[int] = set()


def free_port() -> int:
    """A free port below those that the system hands out, which Temporal and clients may take at any time.

    A server binds its port some seconds later. So a process is given each port once, until it has had half of them, and
    processes that run side by side, as those of the test suite, have ranges of their own in `FREE_PORTS`.
    """
    first, end = map(int, os.environ.get("FREE_PORTS", "20000-32000").split("-"))
    if len(_given) >= (end - first) // 2:
        _given.clear()
    while True:
        port = random.randrange(first, end)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            _given.add(port)
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
