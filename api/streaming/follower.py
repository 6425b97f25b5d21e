"""Following one response's events: from the log, live; and from Temporal where the log has nothing to say.

Bytes pass unparsed. The iterator ends behind the terminal event, and never without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator

import orjson
import structlog
from temporalio.service import RPCError

from api.app_state import AppState
from api.streaming.sent_events import SentEvents
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
        self._came_back = next_sequence > 0 and not only_end
        """Whether the client was sent events by another connection, and the log has not been found to hold these."""
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
            first = self._next - len(batch)
            for sequence, event in enumerate(batch, first):
                self._show_reader()
                if not self._only_end:
                    self._sent.add(event)
                    self._state.hub.copies.add(self._id, sequence, event)
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
        if self._came_back:
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
                page, origin, anew = await read_page(self._state.redis, self._id, begin)
                if self._came_back and origin:
                    if anew is not None and self._next > anew:
                        raise self._lost()
                    self._came_back = False
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
        self._state.hub.copies.give_up(self._id)
        return LostAt(self._next, _why_lost(self._start))

    async def _from_temporal(self) -> list[bytes]:
        """The rest of the stream, if the response has ended and the log does not know it."""
        try:
            outcome = await self._state.records.outcome(self._id)
        except (RPCError, *RedisDown) as error:
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
            # Where a client came back with a `starting_after` that was never sent, or sent before all was lost.
            log.warning("stream_past_the_end", response_id=self._id, wanted=self._next)
            raise LostAt(self._next, f"This response ended before its event {self._next}. {_where_it_is(self._start)}")
        return self._unsent(whole, begin)

    def _taken_away(self) -> list[JsonObject]:
        """The end of a stream whose response was deleted while a client read it."""
        message = "The response was deleted before this stream reached its end."
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
        return f"{what} {_where_it_is(start)}"
    return f"{what} The response was not to be stored, and is cancelled: send the request again."


def _where_it_is(start: StartResponse) -> str:
    return f"GET /v1/responses/{start.response_id} has all of it, with stream=true as events from 0 on."


def response_in(terminal: bytes) -> bytes:
    """The response resource inside a terminal event."""
    return orjson.dumps(orjson.loads(terminal)["response"])
