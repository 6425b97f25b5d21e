"""Following one response's events: from the log, live; and from Temporal where the log has nothing to say.

Bytes pass unparsed. The iterator ends behind the terminal event, and never without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from temporalio.service import RPCError

from api.app_state import AppState
from api.obfuscation import obfuscated
from open_responses.io.event_log import encode
from open_responses.io.log_reader import is_terminal, peek, read_log
from open_responses.io.redis import RedisDown
from open_responses.payloads import StartResponse
from open_responses.replay import whole_stream

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 1.0
# The log is looked at each time; Temporal, which costs more, once the silence has lasted.
_ASK_TEMPORAL_SECONDS = 5.0


class Follower:
    """One client's view of one response, from event `next_sequence` on."""

    def __init__(self, state: AppState, start: StartResponse, next_sequence: int = 0) -> None:
        self._state = state
        self._start = start
        self._id = start.response_id
        self._next = next_sequence

    async def events(self, queue: asyncio.Queue[bytes]) -> AsyncGenerator[bytes | None, None]:
        """Encoded events in order, without gap or repeat; None for each second of silence."""
        heard = asked = time.monotonic()
        for event in await self._missed():
            yield event
            if is_terminal(event):
                return
        while True:
            batch = await self._next_batch(queue)
            now = time.monotonic()
            if batch:
                heard = now
            elif now - max(heard, asked) > _ASK_TEMPORAL_SECONDS:
                asked = now
                batch = await self._from_temporal()
            if not batch:
                yield None
            for event in batch:
                yield event
                if is_terminal(event):
                    return

    async def _next_batch(self, queue: asyncio.Queue[bytes]) -> list[bytes]:
        try:
            async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                event = await queue.get()
        except TimeoutError:
            return await self._missed()
        _, sequence = peek(event)
        if sequence < self._next:
            return []
        if sequence > self._next:
            return await self._missed()
        self._next = sequence + 1
        return [event]

    async def _missed(self) -> list[bytes]:
        """What the log has from our next event on. A log that starts behind it is being restored: wait."""
        events: list[bytes] = []
        with contextlib.suppress(*RedisDown):
            while page := await read_log(self._state.redis, self._id, self._next):
                if peek(page[0])[1] != self._next:
                    break
                events += page
                self._next = peek(page[-1])[1] + 1
        return events

    async def _from_temporal(self) -> list[bytes]:
        """The rest of the stream, if the response has ended and the log does not know it."""
        try:
            finished = await self._state.records.finished(self._id)
        except RPCError as error:
            log.info("temporal_away", response_id=self._id, reason=str(error))
            return []
        if finished is None:
            return []
        events = list(self.replayed(finished.response, finished.trace))
        self._next += len(events)
        return events

    def replayed(self, response: dict[str, object], trace: list[list[object]]) -> list[bytes]:
        """The events from ours on, rebuilt from what was stored."""
        return [
            encode(event, event.pop("sequence_number"))
            for event in whole_stream(self._start.initial(), response, trace)
            if event["sequence_number"] >= self._next
        ]


SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """An ASGI answer that writes events as SSE (SSE-1, SSE-2) and stops when its client goes away."""

    def __init__(
        self, events: AsyncGenerator[bytes | None, None], *, keepalive_seconds: float, obfuscate: bool = True
    ) -> None:
        super().__init__()
        self._events = events
        self._keepalive = keepalive_seconds
        self._obfuscate = obfuscate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        last = time.monotonic()
        async with contextlib.aclosing(self._events) as events:
            async for event in events:
                if event is not None:
                    body = frame(obfuscated(event) if self._obfuscate else event)
                elif time.monotonic() - last >= self._keepalive:
                    body = b": keep-alive\n\n"
                else:
                    continue
                last = time.monotonic()
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


def frame(event: bytes) -> bytes:
    """One event as SSE: the `event:` field equals the body's type."""
    return b"event: " + event[9 : event.index(b'"', 9)] + b"\ndata: " + event + b"\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def response_in(terminal: bytes) -> bytes:
    """The response resource inside a terminal event."""
    return orjson.dumps(orjson.loads(terminal)["response"])
