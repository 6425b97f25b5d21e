"""One stream's writer: takes events, numbers them (SSE-3), and keeps what it needs to write a lost log again.

What this prevents: a client that sees an event twice or not at all because a reply got lost, and a stream that goes on
in two workers. The process's appender (`appender.py`) sends what the writers hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog

from open_responses.events.event_types import OPENING_EVENTS
from open_responses.events.fold import Fold
from open_responses.events.trace import Op, Trace, count_events, replay_trace
from open_responses.io.log.batch import Batch, first_page
from open_responses.io.log.encoding import encode
from open_responses.io.log.fences import END_FENCE, epoch_of
from open_responses.io.log.lives import ANY_LIFE, Authority
from open_responses.io.log.merged_delta import MergedDelta
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis import key_names
from open_responses.json_types import JsonObject

log = structlog.get_logger(__name__)


class Fenced(Exception):
    """A newer attempt owns the log: stop writing, and stop the provider. The argument is its fence, if known."""

    @property
    def has_ended(self) -> bool:
        """Whether the response has already ended, so that this attempt is too late."""
        return bool(self.args) and self.args[0] >= END_FENCE

    @property
    def epoch(self) -> int:
        """The epoch of the newer attempt; 0 if it is not known."""
        return epoch_of(self.args[0]) if self.args else 0


class Diverged(Exception):
    """The log holds other events at the writer's sequence numbers. None of the writer's events was written there."""


class LogLost(Exception):
    """Redis has lost events before the writer's own, and the writer does not have them."""


class AppendRefused(LogLost):
    """Redis rejects the events of this one stream, so the writer cannot write any more. The message has the reason."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The events before a writer's own, encoded, from sequence number 0 on, and the fields that go with them."""

    events: list[bytes]
    fields: Mapping[str, bytes]


LoadEarlier: TypeAlias = Callable[[], Awaitable[Earlier]]


class WakesForWriters(Protocol):
    """The process's appender, as a writer uses it. `server` is the number of the Redis server that it writes to."""

    @property
    def server(self) -> int:
        """The number of the Redis server that the appender writes to."""

    def wake(self, writer: Writer, *, at_once: bool = False) -> None:
        """Send what this writer holds, in the next pipeline; with `at_once`, do not wait for other writers."""

    def hurry(self) -> None:
        """Send at once what all writers hold: one of them is waited for."""


class Writer:
    """Writes one stream into the log. `write` never waits; `flush` does.

    The fold and the trace record the written events, so that a log which Redis lost can be written again.
    """

    def __init__(
        self,
        appender: WakesForWriters,
        response_id: str,
        *,
        fence: int,
        initial: JsonObject,
        base: int = 0,
        fold: Fold,
        earlier: LoadEarlier | None = None,
        life: bytes = ANY_LIFE,
        authority: Authority | None = None,
        server: int | None = None,
    ) -> None:
        self.response_id = response_id
        self.fence = fence
        self.fold = fold
        self.trace = Trace()
        self.log_key, self.state_key = key_names.log(response_id), key_names.state(response_id)
        self.channel = key_names.channel(response_id)
        self.cancelled = False
        self.is_fenced = False
        self.is_over = False
        """Whether this writer can send nothing any more."""
        self.pending: list[JsonObject] = []
        self._merged = MergedDelta()
        self.pending_fields: dict[str, bytes] = {}
        self.initial = initial
        self.base = base
        self.earlier = earlier
        self.life = life
        self.authority = authority
        self.server = appender.server if server is None else server
        self.in_flight = False
        self.restoring = False
        self.lost = False
        self.diverged = False
        self.refusal: str | None = None
        self.unsent: Batch | None = None
        self._appender = appender
        self._is_idle = True
        self._until_idle: asyncio.Event | None = None
        self._acknowledged = base
        self._began: int | None = None
        self._origin: bytes | None = None
        self._has_delta = False

    @property
    def origin(self) -> bytes:
        """The writer's identity for readers: `{fence}-{sequence number of the first event of its own}`.

        The opening events do not count as its own: each writer would write them alike.
        """
        if self._origin is not None:
            return self._origin
        return self.origin_from(self.base + self.trace.length if self._began is None else self._began)

    def origin_from(self, begin: int) -> bytes:
        """The origin of events that this writer restores: they may differ from those that readers were sent."""
        return b"%d-%d" % (self.fence, begin if self._began is None else min(begin, self._began))

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next event."""
        return self.base + self.trace.length + len(self.pending)

    def adopt(self, event: JsonObject) -> None:
        """Add an event that is in the log already to the fold and the trace."""
        self.fold.apply(event)
        self.trace.record(event)
        self._acknowledged = self.base + self.trace.length

    def recall(self, ops: list[Op]) -> None:
        """Continue behind the events that finished model turns recorded; the log has them, or they are restored."""
        self.trace.ops = list(ops)
        self.trace.length = count_events(ops)
        self._acknowledged = self.base + self.trace.length

    def settle(self) -> None:
        """End the model turn. Events that Redis has not received are in the trace, for the next writer."""
        self._merged.close()
        for event in self.pending:
            self.trace.record(event)
        self.pending.clear()

    def write(self, events: list[JsonObject]) -> None:
        """Queue events, which have no sequence numbers yet.

        While an append is under way, a delta is merged into its unsent neighbour: a slow Redis makes fewer, larger
        events.

        Raises Fenced once another writer is known to own the log, LogLost, and Diverged.
        """
        if self.is_over:
            self._check()
        for event in events:
            last = self.pending[-1] if self.pending and self.in_flight else None
            if last is None or not self._merged.takes(last, event):
                self.pending.append(event)
        if self.pending:
            self._is_idle = False
            self._appender.wake(self, at_once=not self._has_delta)
            self._has_delta = self._has_delta or any(event["type"].endswith(".delta") for event in events)

    def record(self, fields: Mapping[str, bytes]) -> None:
        """Set fields of the state together with the last events written: both are there, or neither.

        Nothing is set in a log that is lost, or that another writer owns; `flush` raises then.
        """
        if self.is_over:
            return
        self.pending_fields.update(fields)
        self._is_idle = False
        self._appender.wake(self)

    async def flush(self) -> None:
        """Wait until Redis has all events, also those that it has lost meanwhile. Raises as `write` does."""
        if self._is_idle and not self.is_over:
            # No event is pending. An empty batch detects a log that is shorter than it should be.
            self._is_idle = False
            self._appender.wake(self, at_once=True)
        else:
            self._appender.hurry()
        if not self._is_idle:
            if self._until_idle is None:
                self._until_idle = asyncio.Event()
            await self._until_idle.wait()
        self._check()

    def _become_idle(self) -> None:
        self._is_idle = True
        if self._until_idle is not None:
            self._until_idle.set()
            self._until_idle = None

    def _check(self) -> None:
        if self.is_fenced:
            raise Fenced
        if self.diverged:
            raise Diverged
        if self.refusal is not None:
            raise AppendRefused(self.refusal)
        if self.lost:
            raise LogLost

    def take(self) -> Batch:
        """Number, encode and remove the next batch of pending events."""
        if self.unsent is not None:
            batch, self.unsent = self.unsent, None
            return batch
        if self._merged.event is not None:
            self._merged.close()
        first = self.base + self.trace.length
        if len(self.pending) == 1:
            encoded = first_page((encode(self.pending[0], first),))
        else:
            encoded = first_page(encode(event, first + i) for i, event in enumerate(self.pending))
        events = self.pending[: len(encoded)]
        if self._began is None and events:
            self._began = first + sum(event["type"] in OPENING_EVENTS for event in events)
            self._origin = self.origin_from(self._began)
        del self.pending[: len(encoded)]
        for event in events:
            self.trace.record(event)
        metrics.stream_events(events)
        fields: dict[str, bytes] = {}
        if not self.pending:
            fields, self.pending_fields = self.pending_fields, {}
        if fields:
            first_page(fields.values())
        return Batch(first, encoded, fields)

    def rebuilt(self, length: int) -> list[bytes]:
        """The acknowledged events from sequence number `length` on, rebuilt: those that the log has lost.

        None is rebuilt for a writer of which nothing is acknowledged yet: its fold may lack the items that its events
        end.
        """
        if self._acknowledged <= length:
            return []
        events = replay_trace(self.trace.ops, self.fold.snapshot(), self.initial, first_sequence=self.base)
        return [
            encode(event, event.pop("sequence_number"))
            for event in events
            if length <= event["sequence_number"] < self._acknowledged
        ]

    def acknowledge(self, batch: Batch) -> None:
        """Note that Redis has these events."""
        self._acknowledged = max(self._acknowledged, batch.first + len(batch.events))
        if not (self.pending or self.pending_fields or self.unsent) or self.is_over:
            self._is_idle = True
            if self._until_idle is not None:
                self._become_idle()

    @property
    def has_more(self) -> bool:
        """Whether events are waiting to be sent.

        The pending events of a fenced or lost writer do not count: the appender would retry them in a busy loop.
        """
        return not self.is_over and bool(self.pending or self.pending_fields or self.unsent)

    def diverge(self) -> None:
        """End the writer: the log has another event at its sequence number."""
        self.diverged = True
        self.lose()

    def fail(self, reason: str, error: Exception | None = None) -> None:
        """End this writer and no other: Redis rejects its stream. The log line has the error's traceback."""
        log.error("append_refused", response_id=self.response_id, reason=reason, exc_info=error)
        self.refusal = reason
        self.lose()

    def lose(self) -> None:
        """End the writer: the log is lost and cannot be restored here. `flush` raises LogLost."""
        self.lost = self.is_over = True
        self.pending.clear()
        self._become_idle()

    def refuse(self) -> None:
        """End the writer: a newer one owns the log. `flush` raises Fenced."""
        self.is_fenced = self.is_over = True
        self.pending.clear()
        self._become_idle()
