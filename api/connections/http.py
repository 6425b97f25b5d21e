"""uvicorn's HTTP connections, with bounds on what a client may send before its key is checked.

uvicorn with httptools keeps headers of any size, waits for them without a limit, and joins all pieces of a long header
again for each new piece.
"""

from __future__ import annotations

import asyncio

from api.connections.refused_connection import RefusedConnection
from api.connections.uvicorn_protocols import STATUS_LINE, HttpToolsProtocol

_REFUSAL = STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n"
# Colon, space, and the end of the line.
_BYTES_PER_HEADER = 4


class _HeadersTooLarge(Exception):
    pass


class BoundedHttp(HttpToolsProtocol):
    """For uvicorn's `http=`.

    Headers of more than `max_header_bytes`, trailers included, get a 431. A connection is closed if its headers are not
    complete `header_seconds` after it was opened, or after its next request began.
    """

    max_header_bytes = 64 * 1024
    header_seconds = 20.0

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _unparsed_bytes = 0
    _has_parsed = False
    _is_in_message = False
    _refused: RefusedConnection | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused is not None:
            self._refused.drop(len(data))
            return
        self._has_parsed = False
        super().data_received(data)
        if self._refused is not None or self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        # The parser calls back only when a header is complete.
        self._unparsed_bytes = 0 if self._has_parsed else self._unparsed_bytes + len(data)
        if self._unparsed_bytes > self.max_header_bytes:
            self._refuse()
        elif self._is_idle() and self._deadline is None and self.timeout_keep_alive_task is None:
            # uvicorn stops its keep-alive timer for any data: an empty line, or the rest of a body.
            if self._is_in_message:
                self._wait_for_headers()
            else:
                self._keep_alive()

    # --- callbacks of the parser

    def on_message_begin(self) -> None:
        self._header_bytes = 0
        self._is_in_message = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _BYTES_PER_HEADER)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._has_parsed = True
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._has_parsed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_parsed = True
        self._is_in_message = False
        self._stop_waiting()
        super().on_message_complete()

    # --- size

    def _count(self, size: int) -> None:
        """Raises through the parser; uvicorn then calls `send_400_response`."""
        self._header_bytes += size
        if self._header_bytes > self.max_header_bytes:
            raise _HeadersTooLarge

    def send_400_response(self, msg: str) -> None:
        if self._header_bytes > self.max_header_bytes:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _refuse(self) -> None:
        """Answer 431, and end the connection."""
        self._stop_waiting()
        self.transport.write(_REFUSAL)
        self._refused = RefusedConnection(self.transport, self.loop, "the request's headers are too large")

    # --- time

    def _is_idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._give_up)

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._is_idle():
            self.transport.close()
        else:
            # While it answers one request, uvicorn does not read the next.
            self._wait_for_headers()
