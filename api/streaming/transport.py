"""What ASGI has no word for: how much of an answer is still unread, and how a connection is cut."""

from __future__ import annotations

import contextlib
import fcntl
import sys
import termios
from typing import Any, Protocol

from starlette.types import Receive


class Transport(Protocol):
    def get_write_buffer_size(self) -> int: ...
    def get_extra_info(self, name: str) -> Any: ...

    def abort(self) -> None:
        """uvicorn closes a connection once its buffer is empty, which a client that reads nothing never lets happen."""


def behind(receive: Receive) -> Transport | None:
    """uvicorn's, behind a request: ASGI has no word for how much of an answer is still unread."""
    transport: Transport | None = getattr(getattr(receive, "__self__", None), "transport", None)
    return transport


def unread(transport: Transport) -> int:
    """Bytes on their way to the client: in our buffer, and in the system's, which may hold megabytes more."""
    size = transport.get_write_buffer_size()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        size += int.from_bytes(waiting, sys.byteorder)
    return size
