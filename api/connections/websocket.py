"""uvicorn's WebSocket connections, with bounds on the memory and time that one client may take.

uvicorn answers each ping, and keeps the pongs for a client that does not read. It closes a connection once its buffer
is empty, which never happens with such a client. It parses all received data at once, which takes seconds for a
megabyte of small frames. It waits for the rest of a message without a limit.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from starlette.types import Receive
from websockets.frames import CloseCode, Frame

from api.connections.refused_connection import RefusedConnection
from api.connections.uvicorn_protocols import ASGIReceiveEvent, WebSocketsSansIOProtocol, protocol_behind
from open_responses.errors import OpenResponsesError

# A frame of 6 bytes takes 15 to 20 microseconds. Data with few frames is parsed in larger pieces.
_SMALLEST_PIECE = 2 * 1024
_LARGEST_PIECE = 16 * 1024
_FEW_FRAMES = 4


class Meter(Protocol):
    """Counts the bytes of unfinished messages against a limit."""

    def add(self, size: int) -> None:
        """Count `size` more bytes. Raises OpenResponsesError if there is no room for them."""

    def release(self) -> None: ...


class BoundedSocket(WebSocketsSansIOProtocol):
    """For uvicorn's `ws=`. Reads nothing from a client whose own buffer is full of unread answers.

    A connection that is over (no pong arrived, or its handler has returned) is cut after `last_seconds`, if it has not
    ended by then. A client may send `frames_at_once`, and then `frames_per_second`; frames of a KiB or more are not
    counted. A client that sends more is closed with 1008. So is one whose unfinished message gets less than
    `window_bytes`, and not its end, in `window_seconds`. `meter` counts unfinished messages; if it has no room for
    more, the connection is closed with 1013.
    """

    last_seconds = 30.0
    frames_at_once = 500.0
    frames_per_second = 50.0
    window_seconds = 20.0
    window_bytes = 160 * 1024

    meter: Meter | None = None
    _piece = _SMALLEST_PIECE
    _frames = 0
    _is_refused = False
    _refused: RefusedConnection | None = None
    _unfinished_bytes = 0
    _seen_bytes = 0
    _window: asyncio.TimerHandle | None = None
    _next_parse: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._unparsed = bytearray()
        self._frames_left, self._frames_at = self.frames_at_once, self.loop.time()
        super().connection_made(transport)

    # --- reading, a few KiB in each iteration of the event loop

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            if self._refused is not None:
                self._refused.drop(len(data))
            return
        self._unparsed += data
        if self._next_parse is None:
            self._parse()

    def _parse(self) -> None:
        self._next_parse = None
        unparsed = self._unparsed
        if unparsed and self._may_parse():
            piece = bytes(unparsed[: self._piece])
            del unparsed[: self._piece]
            self._frames = 0
            super().data_received(piece)
            self._account_for(len(piece))
        self._set_reading()

    def _may_parse(self) -> bool:
        """False while a message waits for the application, or while the client does not read."""
        return not self._is_refused and not self.read_paused and self.writable.is_set() and not self._is_over()

    def _is_over(self) -> bool:
        return self.disconnected or self.transport.is_closing()

    def _set_reading(self) -> None:
        if self._is_over():
            return
        if self._unparsed or self.read_paused or not self.writable.is_set():
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
        if self._unparsed and self._next_parse is None and self._may_parse():
            # After the callbacks of other connections.
            self._next_parse = self.loop.call_soon(self._parse)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._set_reading()

    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        # uvicorn resumes reading when the application takes a message.
        self._set_reading()
        return message

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self._next_parse, self._window):
            if waiting is not None:
                waiting.cancel()
        self._finished()
        super().connection_lost(exc)

    # --- received frames

    def handle_ping(self) -> None:
        self._frames += 1
        super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        self._frames += 1
        super().handle_pong(event)

    def handle_text(self, event: Frame) -> None:
        self._frames += 1
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._frames += 1
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        self._frames += 1
        super().handle_cont(event)

    def _account_for(self, size: int) -> None:
        self._piece = _SMALLEST_PIECE if self._frames > _FEW_FRAMES else min(2 * self._piece, _LARGEST_PIECE)
        if self._is_over() or self.close_sent:
            return
        now = self.loop.time()
        earned = (now - self._frames_at) * self.frames_per_second + size / 1024
        self._frames_left = min(self._frames_left + earned, self.frames_at_once) - self._frames
        self._frames_at = now
        if self._frames_left < 0:
            self._refuse(CloseCode.POLICY_VIOLATION, "too many small frames")
        elif self.frames or self.conn.reader.buffer:
            self._unfinished(size)
        else:
            self._finished()

    # --- a message that has begun

    def _unfinished(self, size: int) -> None:
        self._unfinished_bytes += size
        if self._window is None:
            self._seen_bytes = 0
            self._window = self.loop.call_later(self.window_seconds, self._look)
        if self.meter is None:
            return
        try:
            self.meter.add(size)
        except OpenResponsesError:
            self._refuse(CloseCode.TRY_AGAIN_LATER, "too much is being received")

    def _look(self) -> None:
        self._window = None
        if (
            not self.read_paused
            and self.writable.is_set()
            and self._unfinished_bytes - self._seen_bytes < self.window_bytes
        ):
            self._refuse(CloseCode.POLICY_VIOLATION, "the message came too slowly")
            return
        self._seen_bytes = self._unfinished_bytes
        self._window = self.loop.call_later(self.window_seconds, self._look)

    def _finished(self) -> None:
        self._unfinished_bytes = self._seen_bytes = 0
        if self._window is not None:
            self._window.cancel()
            self._window = None
        if self.meter is not None:
            self.meter.release()

    # --- ends

    def _refuse(self, code: CloseCode, reason: str) -> None:
        """Close with `code`, and end the connection."""
        self._is_refused = True
        self._finished()
        self._unparsed.clear()
        if not self.handshake_complete:
            self.transport.abort()
            return
        self.frames = []
        self.conn.reader.buffer.clear()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        if not self.close_sent:
            self.conn.send_close(code, reason)
            self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.stop_keepalive()
        # Answers that the application still sends are discarded.
        self.disconnected = True
        self.writable.set()
        self.transport.resume_reading()
        self._refused = RefusedConnection(self.transport, self.loop, reason)
        self.close_timer = self._refused.abort

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_later()

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self._cut_later()

    def _cut_later(self) -> None:
        self.loop.call_later(self.last_seconds, self.transport.abort)


def count_messages(receive: Receive, meter: Meter) -> None:
    """Make the connection behind a WebSocket's `receive` count its unfinished messages in `meter`."""
    connection = protocol_behind(receive)
    if isinstance(connection, BoundedSocket):
        connection.meter = meter
