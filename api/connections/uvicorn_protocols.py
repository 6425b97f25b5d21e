"""uvicorn's protocol classes, and the way from an ASGI `receive` to the connection behind it: the only module that
uses what uvicorn and Starlette do not promise to keep.

What this prevents: an upgrade that moves one of these parts, and bounds on clients that are then silently gone.
`tests/unit/test_half_public_parts.py` checks each; `pyproject.toml` bounds the versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import uvicorn
from starlette.types import Receive
from starlette.websockets import WebSocket
from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

__all__ = [
    "STATUS_LINE",
    "ASGIReceiveEvent",
    "HttpToolsProtocol",
    "ServerWithoutSignals",
    "Transport",
    "WebSocketsSansIOProtocol",
    "protocol_behind",
    "receive_of",
    "transport_behind",
]


class Transport(Protocol):
    """Of a connection: what ASGI has no message for."""

    def get_write_buffer_size(self) -> int: ...
    def get_extra_info(self, name: str) -> Any: ...

    def abort(self) -> None:
        """uvicorn closes a connection once its buffer is empty, which a client that reads nothing never lets happen."""


class ServerWithoutSignals(uvicorn.Server):
    """uvicorn's server, which leaves signals to the process. It ends after `should_exit` was set."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def receive_of(websocket: WebSocket) -> Receive:
    """The `receive` that the server called the application with."""
    return websocket._receive


def protocol_behind(receive: Receive) -> object:
    """uvicorn's, of the connection (WebSocket) or of the request (HTTP); None behind another server."""
    return getattr(receive, "__self__", None)


def transport_behind(receive: Receive) -> Transport | None:
    """The connection's transport; None behind another server."""
    transport: Transport | None = getattr(protocol_behind(receive), "transport", None)
    return transport
