"""Events as server-sent events, to a client that may read slowly, or not at all."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.body_sends import body_send
from api.forms import Forms
from api.streaming.batches import Batch, NextBatch
from api.streaming.follower import LostAt
from api.streaming.obfuscation import obfuscated
from open_responses.io.background import end_tasks
from open_responses.io.log.reader import is_terminal

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
        next_batch: NextBatch,
        *,
        keepalive_seconds: float,
        obfuscate: bool = True,
        forms: Forms | None = None,
    ) -> None:
        super().__init__()
        self._next_batch = next_batch
        self._keepalive = keepalive_seconds
        self._obfuscate = obfuscate
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        sending = asyncio.create_task(self._send_all(body_send(scope, send)))
        tasks = (sending, asyncio.create_task(_gone(receive)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await end_tasks(tasks)

    async def _send_all(self, send: Send) -> None:
        last = time.monotonic()
        end = b"data: [DONE]\n\n" if self._forms is None or self._forms.ends_with_done else b""
        try:
            while (batch := await self._next_batch()) is not None:
                if batch and is_terminal(batch[-1]):
                    # There is nothing behind it to wait for.
                    end = self._frames(batch) + end
                    continue
                if batch:
                    body = self._frames(batch)
                elif time.monotonic() - last >= self._keepalive:
                    body = b": keep-alive\n\n"
                else:
                    continue
                last = time.monotonic()
                # Returns at once while the server's buffer has room, and waits for the client when that is full.
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except LostAt as lost:
            end = self._frame(lost.event()) + end
        await send({"type": "http.response.body", "body": end, "more_body": False})

    def _frames(self, batch: Batch) -> bytes:
        """One piece of the body, and so one write, for events that are sent together."""
        padded = map(obfuscated, batch) if self._obfuscate else batch
        return b"".join(map(frame if self._forms is None else self._frame, padded))

    def _frame(self, event: bytes) -> bytes:
        return frame(event if self._forms is None else self._forms.event(event))


def frame(event: bytes) -> bytes:
    """One event as SSE: the `event:` field equals the body's type."""
    return b"event: %b\ndata: %b\n\n" % (event[9 : event.index(b'"', 9)], event)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
