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
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Protocol

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from temporalio.service import RPCError

from api.app_state import AppState
from api.obfuscation import obfuscated
from api.sent_events import SentEvents
from open_responses.errors import StreamLost
from open_responses.io.event_log import encode
from open_responses.io.log_reader import PAGE, Origin, Published, is_terminal, peek, read_page
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
    `only_end`: whoever asks looks at the last event alone, and may be given others a second time.
    """

    def __init__(
        self, state: AppState, start: StartResponse, next_sequence: int = 0, *, only_end: bool = False
    ) -> None:
        self._state = state
        self._start = start
        self._id = start.response_id
        self._next = next_sequence
        self._only_end = only_end
        self._sent = SentEvents(next_sequence)
        self._origin = b""
        self._compared: int | None = None
        """Up to where a log that was begun anew agrees with what was sent; None where there is no doubt."""
        self._seen_at = 0.0

    async def events(self, queue: asyncio.Queue[Published]) -> AsyncGenerator[bytes | None, None]:
        """Encoded events in order, without gap or repeat; None for each second of silence.

        Raises StreamLost where what was sent is lost, and another answer has taken its place.
        """
        heard = asked = time.monotonic()
        batch = await self._missed()
        while True:
            for event in batch:
                self._show_reader()
                if not self._only_end:
                    self._sent.add(event)
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

    async def _next_batch(self, queue: asyncio.Queue[Published]) -> list[bytes]:
        try:
            async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                origin, event = await queue.get()
        except TimeoutError:
            return await self._missed()
        if origin != self._origin:
            self._meet(origin)
        _, sequence = peek(event)
        if self._compared is None and sequence < self._next:
            return []
        if self._compared is not None or sequence > self._next:
            return await self._missed()
        self._next = sequence + 1
        return [event]

    async def _missed(self) -> list[bytes]:
        """A page of what the log has from our next event on. A log that starts behind it is being restored: wait."""
        with contextlib.suppress(*RedisDown):
            while True:
                begin = self._next if self._compared is None else self._compared
                page, origin = await read_page(self._state.redis, self._id, begin)
                if origin != self._origin and self._meet(origin):
                    continue
                if not page or peek(page[0])[1] != begin:
                    break
                unsent = self._unsent(page, begin)
                if unsent:
                    return unsent
        return []

    def _meet(self, encoded: bytes) -> bool:
        """Another try writes. It went on from all that it found in the log, and nothing is sent that the log has not:
        so what was sent is its beginning, unless the log was lost together with the try that could have restored it.
        Then, and True is returned, it has to be compared; for the same answer may be told again.
        """
        if not encoded:
            return False
        origin = Origin.of(encoded)
        is_known = self._origin != b""
        if is_known and origin.fence < Origin.of(self._origin).fence:
            # A late word of a try that was shut out; its events are behind ours.
            return False
        self._origin = encoded
        if not is_known or origin.begin >= self._next:
            return False
        log.warning("stream_begun_anew", response_id=self._id, sent=self._next, begin=origin.begin)
        if self._only_end:
            self._next = origin.begin
        else:
            self._compared = max(origin.begin, self._sent.first)
        return True

    def _unsent(self, page: list[bytes], begin: int) -> list[bytes]:
        """What is new of these events, numbered from `begin`. Raises StreamLost where the rest is not what was sent."""
        if not self._sent.agree_with(page, begin):
            raise self._lost()
        unsent = page[self._next - begin :]
        self._next += len(unsent)
        end = begin + len(page)
        self._compared = None if end >= self._next else end
        return unsent

    def _lost(self) -> LostAt:
        log.warning("stream_lost", response_id=self._id, sent=self._next)
        return LostAt(self._next, _why_lost(self._start))

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
        if self._only_end:
            self._next = 0
        begin = min(self._next, self._sent.first)
        whole = list(self.replayed(outcome.response, outcome.trace, begin))
        if not whole:
            # It is shorter than what a client has that came back with `starting_after`.
            raise self._lost()
        return self._unsent(whole, begin)

    def _taken_away(self) -> list[JsonObject]:
        """The end of a stream whose response was deleted, or ended from outside, while somebody read it."""
        message = "The response was deleted, or ended from outside, before this stream reached its end."
        return terminal_events(final_resource(self._start, Ending(status="failed", error_message=message), [], None, 0))

    def replayed(self, response: dict[str, object], trace: list[list[object]], first: int) -> Iterator[bytes]:
        """The events from `first` on, rebuilt from what was stored, one at a time: together they are several times as
        large as the response."""
        for event in whole_stream(self._start.initial(), response, trace):
            if event["sequence_number"] >= first:
                yield encode(event, event.pop("sequence_number"))


class LostAt(StreamLost):
    """`sequence`: the number that the next event would have had."""

    def __init__(self, sequence: int, message: str) -> None:
        super().__init__(message)
        self.sequence = sequence

    def event(self) -> bytes:
        """The last event of such a stream. Not a terminal one: the response itself has not failed."""
        error = {"type": self.type, "code": self.error_code, "message": self.message, "param": None}
        return encode({"type": "error", "error": error}, self.sequence)


def _why_lost(start: StartResponse) -> str:
    what = "Events of this stream were lost, and the answer was begun anew: what came so far is not its beginning."
    if start.request.is_stored:
        return f"{what} GET /v1/responses/{start.response_id} has all of it, with stream=true as events from 0 on."
    return f"{what} The response was not to be stored, and is cancelled: send the request again."


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
                _abort(receive)
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
        transport = _transport(receive)
        taken, moved_at = 0, time.monotonic()
        while True:
            await asyncio.sleep(self._patience / _LOOKS_PER_PATIENCE)
            now, unread = time.monotonic(), _unread(transport)
            if self._written - unread > taken or not (unread or self._is_writing):
                taken, moved_at = self._written - unread, now
            elif now - moved_at >= self._patience:
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
