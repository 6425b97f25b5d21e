"""Events as server-sent events, to a client that may read slowly, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.openai_forms import OpenAIForms
from api.streaming.follower import LostAt
from api.streaming.obfuscation import obfuscated

SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """An ASGI answer that writes events as SSE (SSE-1, SSE-2) and stops when its client goes away, or is dropped
    (`api.connections.slow_readers`)."""

    def __init__(
        self,
        events: AsyncGenerator[bytes | None, None],
        *,
        keepalive_seconds: float,
        obfuscate: bool = True,
        forms: OpenAIForms | None = None,
    ) -> None:
        super().__init__()
        self._events = events
        self._keepalive = keepalive_seconds
        self._obfuscate = obfuscate
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        sending = asyncio.create_task(self._send_all(send))
        tasks = (sending, asyncio.create_task(_gone(receive)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        last = time.monotonic()
        end = b"data: [DONE]\n\n" if self._forms is None else b""
        try:
            async with contextlib.aclosing(self._events) as events:
                async for event in events:
                    if event is not None:
                        body = self._frame(obfuscated(event) if self._obfuscate else event)
                    elif time.monotonic() - last >= self._keepalive:
                        body = b": keep-alive\n\n"
                    else:
                        continue
                    last = time.monotonic()
                    await _write(send, body, more=True)
        except LostAt as lost:
            end = self._frame(lost.event()) + end
        await _write(send, end, more=False)

    def _frame(self, event: bytes) -> bytes:
        return frame(event if self._forms is None else self._forms.event(event))


def frame(event: bytes) -> bytes:
    """One event as SSE: the `event:` field equals the body's type."""
    return b"event: " + event[9 : event.index(b'"', 9)] + b"\ndata: " + event + b"\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, body: bytes, *, more: bool) -> None:
    """Returns at once while the server's buffer has room, and waits for the client when that is full."""
    await send({"type": "http.response.body", "body": body, "more_body": more})
