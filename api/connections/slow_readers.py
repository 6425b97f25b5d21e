"""Drops clients that read nothing of their answers for a time, over HTTP and over a WebSocket.

The server keeps an answer in memory until the client has read it, and closes no connection before that. Without the
limit, clients that do not read decide how much memory the process uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.body_sends import body_send, replace_body_send
from api.connections.uvicorn_protocols import Transport, protocol_behind, transport_behind

log = structlog.get_logger(__name__)

_LOOKS_PER_PATIENCE = 8


class SlowReaders:
    """An ASGI layer over every HTTP answer, streams included, and every WebSocket.

    A connection is dropped when its client has read nothing for `seconds`, or `socket_seconds` of a WebSocket, and
    there is something to read. The application gets an `http.disconnect` or a `websocket.disconnect`.
    """

    def __init__(self, app: ASGIApp, *, seconds: float, socket_seconds: float) -> None:
        self._app = app
        self._seconds = {"http": seconds, "websocket": socket_seconds}
        self._readers: dict[Transport, _Reader] = {}
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seconds = self._seconds.get(scope["type"])
        if seconds is None:
            await self._app(scope, receive, send)
            return
        connection = transport_behind(receive)
        if connection is None:
            self._warn(receive)
            await self._app(scope, receive, send)
            return
        reader = self._readers.get(connection)
        if reader is None:
            reader = self._readers[connection] = _Reader(connection, seconds, self._readers)
        replace_body_send(scope, reader.counting(body_send(scope, send)))
        with reader.answering():
            await self._app(scope, receive, reader.counting(send))

    def _warn(self, receive: Receive) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("slow_clients_not_dropped", server=type(protocol_behind(receive)).__name__)


class _Reader:
    """The client of one connection, from the start of an answer until the client has read all answers.

    A connection has several answers one after the other, and the next may start before the client has read the last.
    What a WebSocket sends from its handshake to its close is one answer here.
    """

    def __init__(self, connection: Transport, seconds: float, readers: dict[Transport, _Reader]) -> None:
        self._connection = connection
        self._seconds = seconds
        self._readers = readers
        self._loop = asyncio.get_running_loop()
        self._written = 0
        self._taken = -_unread(connection)
        self._answers = self._writing = 0
        self._moved_at = self._loop.time()
        self._next_look = self._look_later()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Wraps the making of one answer."""
        self._answers += 1
        try:
            yield
        finally:
            self._answers -= 1
            if self._is_done():
                self._forget()

    def counting(self, send: Send) -> Callable[[Message], Awaitable[None]]:
        """Counts the bytes that go to `send`, which waits for the client when the server's buffer is full."""

        async def counted(message: Message) -> None:
            body = message.get("body")
            self._written += _size(message) if body is None else len(body)
            self._writing += 1
            try:
                await send(message)
            finally:
                self._writing -= 1

        return counted

    def _look_later(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._seconds / _LOOKS_PER_PATIENCE, self._look)

    def _look(self) -> None:
        """Drop the client if it has read nothing since `_moved_at`: it does not read, or its connection is dead.

        A client that reads slowly is kept.
        """
        if self._is_done():
            self._forget()
            return
        now, unread = self._loop.time(), _unread(self._connection)
        if self._written - unread > self._taken or not (unread or self._writing):
            self._taken, self._moved_at = self._written - unread, now
        elif now - self._moved_at >= self._seconds:
            log.info("slow_client_dropped", seconds=self._seconds)
            self._connection.abort()
            self._forget()
            return
        self._next_look = self._look_later()

    def _is_done(self) -> bool:
        """Whether no answer is in this process's memory. Data in the system's buffers is not counted."""
        return not self._answers and not self._connection.get_write_buffer_size()

    def _forget(self) -> None:
        self._next_look.cancel()
        if self._readers.get(self._connection) is self:
            del self._readers[self._connection]


def _size(message: Message) -> int:
    """Bytes of an answer's body or of a WebSocket's message, without what frames them."""
    text = message.get("text")
    if text is not None:
        return len(text) if text.isascii() else len(text.encode())
    return len(message.get("bytes") or message.get("body") or b"")


def _unread(transport: Transport) -> int:
    """Bytes on their way to the client: in our buffer, and in the system's, which may hold megabytes more."""
    size = transport.get_write_buffer_size()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        size += int.from_bytes(waiting, sys.byteorder)
    return size
