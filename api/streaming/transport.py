"""What ASGI has no word for: how much of an answer is still unread, and how a connection is cut."""

from __future__ import annotations

import contextlib
import fcntl
import sys
import termios
from typing import Any, Protocol

import structlog
from starlette.types import Receive

log = structlog.get_logger(__name__)


class Transport(Protocol):
    def get_write_buffer_size(self) -> int: ...
    def get_extra_info(self, name: str) -> Any: ...
    def abort(self) -> None: ...


def behind(receive: Receive) -> Transport | None:
    """uvicorn's, behind a request: ASGI has no word for how much of an answer is still unread."""
    transport: Transport | None = getattr(getattr(receive, "__self__", None), "transport", None)
    return transport


def unread(transport: Transport | None) -> int:
    """Bytes on their way to the client: in our buffer, and in the system's, which may hold megabytes more."""
    if transport is None:
        return 0
    size = transport.get_write_buffer_size()
    with contextlib.suppress(OSError, AttributeError):
        waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        size += int.from_bytes(waiting, sys.byteorder)
    return size


def abort(receive: Receive) -> None:
    """uvicorn closes a connection once its buffer is empty, which a client that reads nothing never lets happen."""
    transport = behind(receive)
    if transport is not None:
        transport.abort()
    else:
        log.warning("slow_client_not_closed", receive=type(getattr(receive, "__self__", receive)).__name__)
