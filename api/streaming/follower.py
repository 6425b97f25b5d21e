"""Follows one response's events: from the log, and from Temporal if the log has nothing new.

Bytes pass unparsed. What arrives together is passed on together. Nothing follows the terminal event, and nothing ends
without one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import orjson
import structlog
from temporalio.service import RPCError

from api.app_state import AppState
from api.streaming.batches import Batch, in_batches
from api.streaming.sent_events import SentEvents
from open_responses.errors import StreamLost
from open_responses.events.lifecycle import terminal_events, whole_stream
from open_responses.io.log.encoding import encode
from open_responses.io.log.origins import Origin, written_since
from open_responses.io.log.reader import PAGE, Messages, Page, begun_anew_at, is_terminal, peek, read_page
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.client import RedisDown
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.finish import final_resource
from open_responses.loop.payloads.start import StartResponse

log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 1.0
# The log is looked at each time; Temporal, which costs more, once the silence has lasted. In a silence of days, such as
# that of a response that waits for a time, the pauses between two questions grow to the longest.
_ASK_TEMPORAL_SECONDS, _LONGEST_UNASKED_SECONDS = 5.0, 30.0
_QUESTIONS_PER_SILENCE = 10
_SHOW_READER_SECONDS = 10.0


class Follower:
    """One client's view of one response, from event `next_sequence` on.

    A reader that is slow holds a page of events at most: what it has no room for, it reads from the log later.
    `only_end`: the caller reads only the last event, and may get other events twice.
    """

    def __init__(
        self, state: AppState, start: StartResponse, next_sequence: int = 0, *, only_end: bool = False
    ) -> None:
        self._state = state
        self._start = start
        self._id = start.response_id
        self._next = next_sequence
        self._only_end = only_end
        self._is_stored = start.request.is_stored
        self._sent = SentEvents(next_sequence)
        self._origin = b""
        self._came_back = next_sequence > 0 and not only_end
        """Whether the client was sent events by another connection, and the log has not been found to hold these."""
        self._compared: int | None = None
        """Up to where a log that may have been begun anew agrees with what was sent; None where there is no doubt."""
        self._seen_at = 0.0
        self._ahead: deque[Batch] = deque()
        self._is_behind = True
        """Whether the log has to be read before the messages are."""
        self.has_ended = False
        """Whether the terminal event was returned."""
        self._heard = self._asked = 0.0

    async def next_batch(self, queue: Messages) -> Batch | None:
        """Encoded events in order, without gap or repeat: those that are there together, up to a bound on their size.

        Empty after a second of silence, None behind the terminal event. Raises StreamLost where what was sent is lost,
        and another answer has taken its place.
        """
        if self.has_ended:
            return None
        if not self._is_stored:
            self._show_reader()
        if self._ahead:
            batch = self._ahead.popleft()
        else:
            if not self._is_behind and not queue.waiting:
                await queue.arrive(_LOOK_AGAIN_SECONDS)
            batch = self._one_message(queue) or await self._read(queue)
        if batch:
            self._note(batch)
        return batch

    def _one_message(self, queue: Messages) -> Batch:
        """The event of the one message that waits, where it goes on from what was sent; else nothing.

        Nearly all batches of a stream are this.
        """
        if self._is_behind or len(queue.waiting) != 1:
            return []
        origin, event = queue.waiting[0]
        sequence = peek(event)[1]
        if sequence != self._next or self._needs_log(origin, sequence, queue):
            return []
        queue.waiting.popleft()
        self._next = sequence + 1
        self._heard = time.monotonic()
        return [event]

    async def _read(self, queue: Messages) -> Batch:
        if not self._heard:
            self._heard = time.monotonic()
        events = await (self._missed(queue) if self._is_behind else self._next_events(queue))
        self._is_behind = len(events) >= PAGE
        now = time.monotonic()
        if events:
            self._heard = now
        elif now - max(self._heard, self._asked) > self._patience(now):
            self._asked = now
            events = await self._from_temporal()
        if len(events) < 2:
            return events
        self._ahead.extend(in_batches(events))
        return self._ahead.popleft()

    def _patience(self, now: float) -> float:
        """The pause before the next question to Temporal."""
        silent = (now - self._heard) / _QUESTIONS_PER_SILENCE
        return min(_LONGEST_UNASKED_SECONDS, max(_ASK_TEMPORAL_SECONDS, silent))

    def _note(self, batch: Batch) -> None:
        """Remember events that are about to be sent."""
        if not self._only_end:
            self._state.hub.copies.add(self._id, self._sent.next, batch)
            self._sent.add(batch)
        self.has_ended = is_terminal(batch[-1])

    def _show_reader(self) -> None:
        """Note that the stream is read: a response with `store: false` is erased once it has no reader."""
        now = time.monotonic()
        if now - self._seen_at > _SHOW_READER_SECONDS:
            self._seen_at = now
            self._state.eraser.keys.touch(self._id)

    async def _next_events(self, queue: Messages) -> list[bytes]:
        """Those of the messages that wait, up to the first one for which the log has to be read; the log's where none
        has come."""
        waiting = queue.waiting
        if not waiting:
            return await self._missed(queue)
        events: list[bytes] = []
        while waiting:
            origin, event = waiting[0]
            sequence = peek(event)[1]
            if self._needs_log(origin, sequence, queue):
                if events:
                    # These first.
                    break
                waiting.popleft()
                return await self._missed(queue)
            waiting.popleft()
            if sequence == self._next:
                self._next = sequence + 1
                events.append(event)
        return events

    def _needs_log(self, origin: bytes, sequence: int, queue: Messages) -> bool:
        """Whether a message does not show that its event, or an earlier one, goes on from what was sent."""
        if self._came_back:
            return True
        if origin != self._origin and not self._goes_on(origin, sequence, queue):
            return True
        return sequence > self._next or self._compared is not None

    async def _missed(self, queue: Messages) -> list[bytes]:
        """A page of what the log has from our next event on. A log that starts behind it is being restored: wait."""
        queue.has_gap = False
        try:
            while True:
                begin = self._next if self._compared is None else self._compared
                page = await read_page(self._state.redis, self._id, begin)
                if self._came_back and page.origin:
                    if page.anew is not None and self._next > page.anew:
                        raise self.lost()
                    self._came_back = False
                if page.origin not in (b"", self._origin) and self._is_in_doubt(page):
                    continue
                if not page.events or peek(page.events[0])[1] != begin:
                    break
                unsent = self._unsent(page.events, begin)
                if unsent:
                    return unsent
        except RedisDown:
            queue.has_gap = True
        return []

    def _goes_on(self, encoded: bytes, sequence: int, queue: Messages) -> bool:
        """Whether a message's writer goes on from what was sent; where the message cannot show it, the log does.

        A writer goes on from all that it found in the log, and nothing is sent that the log has not: so what was sent
        is its beginning, unless the log was lost together with the writer that could have restored it. Then another
        writer begins behind what was sent: this one, or one whose messages are missing.
        """
        if not self._origin and self._next > 0:
            return False
        origin, known = Origin.of(encoded), self._known
        if origin.fence < known:
            # Shut out meanwhile: its messages were behind the log.
            return sequence < self._next
        goes_on = origin.fence == known or (origin.begin >= self._next and not queue.has_gap) or self._next == 0
        if goes_on:
            self._origin = encoded
        return goes_on

    @property
    def _known(self) -> int:
        """The fence of the newest writer that the reader has met."""
        return Origin.of(self._origin).fence if self._origin else -1

    def _is_in_doubt(self, page: Page) -> bool:
        """Another writer than the one that is known has written the log, perhaps several have. Where one of them began
        behind what was sent, that is compared with the log, since a writer may have sampled the same answer again.

        Raises StreamLost where the client has events from there on of which only the number is known.
        """
        newest, known, first = Origin.of(page.origin).fence, self._known, self._sent.first
        self._origin = page.origin
        begin = self._next if newest == known else written_since(known, newest, page.origins)
        if begin >= self._next or (known < 0 and self._next == first):
            return False
        log.warning("stream_compared", response_id=self._id, sent=self._next, begin=begin)
        if self._only_end:
            self._next = begin
            return True
        if begin < first and (begin > 0 or (page.anew is not None and first > page.anew)):
            raise self.lost()
        self._compared = max(first, begin if self._compared is None else min(begin, self._compared))
        return True

    def _unsent(self, page: list[bytes], begin: int) -> list[bytes]:
        """What is new of these events, numbered from `begin`. Raises StreamLost where the rest is not what was sent."""
        if not self._sent.agree_with(page, begin):
            raise self.lost()
        unsent = page[self._next - begin :]
        self._next += len(unsent)
        end = begin + len(page)
        self._compared = None if end >= self._next else end
        return unsent

    async def is_of_another_answer(self) -> bool:
        """Whether a client that came back may have events of an answer that was lost. Known for as long as the log is;
        while Redis is away, nothing is known."""
        if not self._came_back:
            return False
        try:
            anew = await begun_anew_at(self._state.redis, self._id)
        except RedisDown:
            return False
        return anew is not None and self._next > anew

    def lost(self) -> LostAt:
        """The stream's end, where what was sent is not the beginning of the answer in the log."""
        log.warning("stream_lost", response_id=self._id, sent=self._next)
        metrics.stream_lost()
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
        message = (
            "The response was deleted before you had received its whole stream. Send its request again if you need it."
        )
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
    what = (
        "Events of this stream were lost, and the answer was started anew. Discard the events that you have received."
    )
    if start.request.is_stored:
        return f"{what} {_where_it_is(start)}"
    return f"{what} The response has 'store': false, so it was cancelled. Send the request again."


def _where_it_is(start: StartResponse) -> str:
    return f"GET /v1/responses/{start.response_id} returns the whole response, and with stream=true its events from 0."


def response_in(terminal: bytes) -> bytes:
    """The response resource inside a terminal event."""
    return orjson.dumps(orjson.loads(terminal)["response"])
