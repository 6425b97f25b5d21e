"""Following one response's events: from the log, live; and from Temporal where the log has nothing to say.

Bytes pass unparsed. The iterator ends behind the terminal event, and never without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios
import time
from collections.abc import AsyncGenerator
from typing import Any, Protocol

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from temporalio.service import RPCError

from api.app_state import AppState
from api.obfuscation import obfuscated
from open_responses.io.event_log import encode
from open_responses.io.log_reader import PAGE, is_terminal, peek, read_log
from open_responses.io.redis import RedisDown
from open_responses.json_types import JsonObject
from open_responses.payloads import Ending, StartResponse, final_resource
from open_responses.replay import terminal_events, whole_stream

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 1.0
# The log is looked at each time; Temporal, which costs more, once the silence has lasted.
_ASK_TEMPORAL_SECONDS = 5.0
_SHOW_READER_SECONDS = 10.0
_LOOKS_PER_PATIENCE = 8


class Follower:
    """One client's view of one response, from event `next_sequence` on.

    A reader that is slow holds a page of events at most: what it has no room for, it reads from the log later.
    """

    def __init__(self, state: AppState, start: StartResponse, next_sequence: int = 0) -> None:
        self._state = state
        self._start = start
        self._id = start.response_id
        self._next = next_sequence
        self._seen_at = 0.0

    async def events(self, queue: asyncio.Queue[bytes]) -> AsyncGenerator[bytes | None, None]:
        """Encoded events in order, without gap or repeat; None for each second of silence."""
        heard = asked = time.monotonic()
        batch = await self._missed()
        while True:
            for event in batch:
                self._show_reader()
                yield event
                if is_terminal(event):
                    return
            self._show_reader()
            batch = await (self._missed() if len(batch) >= PAGE else self._next_batch(queue))
            now = time.monotonic()
            if batch:
                heard = now
            elif now - max(heard, asked) > _ASK_TEMPORAL_SECONDS:
                asked = now
                batch = await self._from_temporal()
            if not batch:
                yield None

    def _show_reader(self) -> None:
        """What is not to be stored is erased when nobody reads it any more."""
        now = time.monotonic()
        if not self._start.request.is_stored and now - self._seen_at > _SHOW_READER_SECONDS:
            self._seen_at = now
            self._state.eraser.keys.touch(self._id)

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
        """A page of what the log has from our next event on. A log that starts behind it is being restored: wait."""
        with contextlib.suppress(*RedisDown):
            page = await read_log(self._state.redis, self._id, self._next)
            if page and peek(page[0])[1] == self._next:
                self._next = peek(page[-1])[1] + 1
                return page
        return []

    async def _from_temporal(self) -> list[bytes]:
        """The rest of the stream, if the response has ended and the log does not know it."""
        try:
            outcome = await self._state.records.outcome(self._id)
        except RPCError as error:
            log.info("temporal_away", response_id=self._id, reason=str(error))
            return []
        if outcome == "running":
            return []
        if outcome == "gone":
            return [encode(event, self._next + i) for i, event in enumerate(self._taken_away())]
        events = list(self.replayed(outcome.response, outcome.trace))
        self._next += len(events)
        return events

    def _taken_away(self) -> list[JsonObject]:
        """The end of a stream whose response was deleted, or ended from outside, while somebody read it."""
        message = "The response was deleted, or ended from outside, before this stream reached its end."
        return terminal_events(final_resource(self._start, Ending(status="failed", error_message=message), [], None, 0))

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
        self._waits_since: float | None = None

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
                _abort(receive)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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
                # It returns at once while the server's buffer has room, and waits for the client when that is full.
                self._waits_since = last = time.monotonic()
                await send({"type": "http.response.body", "body": body, "more_body": True})
                self._waits_since = None
        self._waits_since = time.monotonic()
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})

    async def _stuck(self, receive: Receive) -> None:
        """Returns when the client has taken nothing for too long. One that takes little at a time is waited for."""
        transport = _transport(receive)
        left, moved_at = -1, time.monotonic()
        while True:
            await asyncio.sleep(self._patience / _LOOKS_PER_PATIENCE)
            now = time.monotonic()
            size = _unread(transport)
            if self._waits_since is None or size != left:
                left, moved_at = size, now
            elif now - max(moved_at, self._waits_since) >= self._patience:
                return


class _Transport(Protocol):
    def get_write_buffer_size(self) -> int: ...
    def get_extra_info(self, name: str) -> Any: ...
    def abort(self) -> None: ...


def _transport(receive: Receive) -> _Transport | None:
    """uvicorn's, behind a request: ASGI has no word for how much of an answer is still unread."""
    transport: _Transport | None = getattr(getattr(receive, "__self__", None), "transport", None)
    return transport


def _unread(transport: _Transport | None) -> int:
    """Bytes on their way to the client: in our buffer, and in the system's, which may hold megabytes more."""
    if transport is None:
        return 0
    size = transport.get_write_buffer_size()
    with contextlib.suppress(OSError, AttributeError):
        waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        size += int.from_bytes(waiting, sys.byteorder)
    return size


def _abort(receive: Receive) -> None:
    """uvicorn closes a connection once its buffer is empty, which a client that reads nothing never lets happen."""
    transport = _transport(receive)
    if transport is not None:
        transport.abort()
    else:
        log.warning("slow_client_not_closed", receive=type(getattr(receive, "__self__", receive)).__name__)


def frame(event: bytes) -> bytes:
    """One event as SSE: the `event:` field equals the body's type."""
    return b"event: " + event[9 : event.index(b'"', 9)] + b"\ndata: " + event + b"\n\n"


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def response_in(terminal: bytes) -> bytes:
    """The response resource inside a terminal event."""
    return orjson.dumps(orjson.loads(terminal)["response"])
