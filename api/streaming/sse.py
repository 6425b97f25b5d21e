"""Events as server-sent events, to a client that may read slowly, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.streaming import transport
from api.streaming.follower import LostAt
from api.streaming.obfuscation import obfuscated

log = structlog.get_logger(__name__)

_LOOKS_PER_PATIENCE = 8


SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """An ASGI answer that writes events as SSE (SSE-1, SSE-2) and stops when its client goes away, or takes nothing
    for `slow_client_seconds`."""

    def __init__(
        self,
        events: AsyncGenerator[bytes | None, None],
        *,
        keepalive_seconds: float,
        slow_client_seconds: float,
        obfuscate: bool = True,
    ) -> None:
        super().__init__()
        self._events = events
        self._keepalive = keepalive_seconds
        self._patience = slow_client_seconds
        self._obfuscate = obfuscate
        self._written = 0
        self._is_writing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        sending = asyncio.create_task(self._send_all(send))
        stuck = asyncio.create_task(self._stuck(receive))
        tasks = (sending, asyncio.create_task(_gone(receive)), stuck)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            elif stuck.done():
                log.info("slow_client_dropped", seconds=self._patience)
                transport.abort(receive)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        last = time.monotonic()
        end = b"data: [DONE]\n\n"
        try:
            async with contextlib.aclosing(self._events) as events:
                async for event in events:
                    if event is not None:
                        body = frame(obfuscated(event) if self._obfuscate else event)
                    elif time.monotonic() - last >= self._keepalive:
                        body = b": keep-alive\n\n"
                    else:
                        continue
                    last = time.monotonic()
                    await self._write(send, body, more=True)
        except LostAt as lost:
            end = frame(lost.event()) + end
        await self._write(send, end, more=False)

    async def _write(self, send: Send, body: bytes, *, more: bool) -> None:
        """Returns at once while the server's buffer has room, and waits for the client when that is full."""
        self._written += len(body)
        self._is_writing = True
        await send({"type": "http.response.body", "body": body, "more_body": more})
        self._is_writing = False

    async def _stuck(self, receive: Receive) -> None:
        """Returns when the client has taken nothing of what waits for it for too long: it does not read, or it is gone
        and nobody said so. One that takes little at a time is waited for."""
        connection = transport.behind(receive)
        taken, moved_at = 0, time.monotonic()
        while True:
            await asyncio.sleep(self._patience / _LOOKS_PER_PATIENCE)
            now, unread = time.monotonic(), transport.unread(connection)
            if self._written - unread > taken or not (unread or self._is_writing):
                taken, moved_at = self._written - unread, now
            elif now - moved_at >= self._patience:
                return


def frame(event: bytes) -> bytes:
    """One event as SSE: the `event:` field equals the body's type."""
    return b"event: " + event[9 : event.index(b'"', 9)] + b"\ndata: " + event + b"\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
