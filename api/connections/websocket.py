"""uvicorn's WebSocket connections, with a bound on what waits for a client that reads nothing.

uvicorn answers each ping, and keeps the answers for who does not read them; and it closes a connection once its buffer
is empty, which such a client never lets happen.
"""

from __future__ import annotations

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class BoundedSocket(WebSocketsSansIOProtocol):
    """For uvicorn's `ws=`. Reads nothing from a client whose buffer is full. A connection that is over (no pong came,
    or nobody serves it any more) is cut `last_seconds` later, if it has not ended by then."""

    last_seconds = 30.0

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        if not self.writable.is_set() and not self.transport.is_closing():
            # uvicorn reads again when a message was taken.
            self.transport.pause_reading()
        return message

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_later()

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self._cut_later()

    def _cut_later(self) -> None:
        self.loop.call_later(self.last_seconds, self.transport.abort)
