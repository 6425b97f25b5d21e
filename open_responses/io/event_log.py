"""The writing side of the event log: one appender a process, one writer a stream.

What this prevents: a round trip to Redis per delta (5,000 a second at most), a zombie worker that writes into a stream
which another has taken over, and a client that sees an event twice or not at all because a reply got lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson
import structlog
from temporalio.service import RPCError

from open_responses.fold import Fold
from open_responses.io import keys
from open_responses.io.redis import NoScriptError, Pipeline, Redis, RedisDown, RedisError, script
from open_responses.json_types import JsonObject
from open_responses.trace import Op, Trace, count_events, replay

log = structlog.get_logger(__name__)

_MERGEABLE = {"response.output_text.delta", "response.function_call_arguments.delta", "response.reasoning.delta"}
_OPENING = {"response.created", "response.queued", "response.in_progress"}
_RETRY_SECONDS = 0.1
_BATCH = 200  # events in one script call; bounds how long a restored log blocks Redis
_MAX_ATTEMPTS = 1 << 20


def fence(epoch: int, attempt: int) -> int:
    """Order of the tries at one response: the workflow's epoch, then Temporal's attempt."""
    return epoch * _MAX_ATTEMPTS + attempt


def is_of_try(owner: int) -> bool:
    """Whether a fence is that of a try at a turn. The workflow's own events (its end among them) have attempt 0, and a
    log that was closed has the highest number of all."""
    return 0 < owner % _MAX_ATTEMPTS < _MAX_ATTEMPTS - 1


class Fenced(Exception):
    """A newer try owns the log. Stop writing, and stop the provider."""


class Diverged(Exception):
    """The log holds other events where this writer would put its own. Nothing of them was written."""


class LogLost(Exception):
    """Redis has lost what comes before this writer's own events, and it does not know them."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The events before a writer's own, encoded, from sequence number 0 on, and the fields that go with them."""

    events: list[bytes]
    fields: Mapping[str, bytes]


LoadEarlier: TypeAlias = Callable[[], Awaitable[Earlier]]


def item_field(index: int) -> str:
    """The state's field that holds the output item with this index."""
    return f"item:{index}"


class Writer:
    """One stream's way into the log. `write` never waits; `flush` does.

    The fold and the trace follow what was written, so that a log which Redis lost can be written again.
    """

    def __init__(
        self,
        appender: Appender,
        response_id: str,
        *,
        fence: int,
        initial: JsonObject,
        base: int = 0,
        fold: Fold,
        earlier: LoadEarlier | None = None,
    ) -> None:
        self.response_id = response_id
        self.fence = fence
        self.fold = fold
        self.trace = Trace()
        self.cancelled = asyncio.Event()
        self.fenced = asyncio.Event()
        self.pending: list[JsonObject] = []
        self.pending_fields: dict[str, bytes] = {}
        self.initial = initial
        self.base = base
        self.earlier = earlier
        self.in_flight = False
        self.restoring = False
        self.lost = False
        self.diverged = False
        self.unsent: Batch | None = None
        self._appender = appender
        self._idle = asyncio.Event()
        self._idle.set()
        self._acknowledged = base
        self._began: int | None = None

    @property
    def origin(self) -> bytes:
        """Who writes, for readers: `{fence}-{sequence number of the first event of its own}`. The opening events are
        nobody's own: each writer would write them alike."""
        return b"%d-%d" % (self.fence, self.base if self._began is None else self._began)

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next event."""
        return self.base + self.trace.length + len(self.pending)

    def adopt(self, event: JsonObject) -> None:
        """Take an event that is in the log already into the fold and the trace."""
        self.fold.apply(event)
        self.trace.record(event)
        self._acknowledged = self.base + self.trace.length

    def recall(self, ops: list[Op]) -> None:
        """Stand behind events that a finished turn recorded; the log has them, or gets them again."""
        self.trace.ops = list(ops)
        self.trace.length = count_events(ops)
        self._acknowledged = self.base + self.trace.length

    def settle(self) -> None:
        """The turn is over. What Redis has not got yet is in the trace, for whoever writes next."""
        for event in self.pending:
            self.trace.record(event)
        self.pending.clear()

    def write(self, events: list[JsonObject]) -> None:
        """Hand events over, without sequence numbers. Raises Fenced once the log is known to be another's, LogLost, and
        Diverged.

        While an append is under way, a delta joins its unsent neighbour: so a slow Redis costs events, not pace.
        """
        self._check()
        for event in events:
            last = self.pending[-1] if self.pending and self.in_flight else None
            if last is not None and _continues(last, event):
                last["delta"] += event["delta"]
            else:
                self.pending.append(event)
        if self.pending:
            self._idle.clear()
            self._appender.wake(self)

    def record(self, fields: Mapping[str, bytes]) -> None:
        """Set fields of the state together with the last events written: both are there, or neither.

        Nothing is set in a log that is another's, or lost: `flush` tells.
        """
        if self.is_over:
            return
        self.pending_fields.update(fields)
        self._idle.clear()
        self._appender.wake(self)

    async def flush(self) -> None:
        """Wait until Redis has all that was written, and what it may have lost since. Raises as `write` does."""
        if self._idle.is_set() and not self.is_over:
            # Nothing waits: an empty batch finds a log that is shorter than it should be.
            self._idle.clear()
            self._appender.wake(self)
        await self._idle.wait()
        self._check()

    def _check(self) -> None:
        if self.fenced.is_set():
            raise Fenced
        if self.diverged:
            raise Diverged
        if self.lost:
            raise LogLost

    def take(self) -> Batch:
        """What the next call to Redis carries."""
        if self.unsent is not None:
            batch, self.unsent = self.unsent, None
            return batch
        events = self.pending[:_BATCH]
        del self.pending[:_BATCH]
        first = self.base + self.trace.length
        if self._began is None:
            self._began = first + sum(event["type"] in _OPENING for event in events)
        for event in events:
            self.trace.record(event)
        fields: dict[str, bytes] = {}
        if not self.pending:
            fields, self.pending_fields = self.pending_fields, {}
        return Batch(first, [encode(event, first + i) for i, event in enumerate(events)], fields)

    def rebuilt(self, length: int) -> list[bytes]:
        """The events from sequence number `length` up to what was acknowledged: what the log has lost."""
        events = replay(self.trace.ops, self.fold.snapshot(), self.initial, first_sequence=self.base)
        return [
            encode(event, event.pop("sequence_number"))
            for event in events
            if length <= event["sequence_number"] < self._acknowledged
        ]

    def acknowledge(self, batch: Batch) -> None:
        self._acknowledged = max(self._acknowledged, batch.first + len(batch.events))
        if not self.has_more:
            self._idle.set()

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent.

        What a writer that is over still holds does not: the appender would look at it again and again, and at nothing
        else.
        """
        return not self.is_over and bool(self.pending or self.pending_fields or self.unsent)

    @property
    def is_over(self) -> bool:
        """Whether nothing of this writer's will ever be sent any more."""
        return self.fenced.is_set() or self.lost

    def diverge(self) -> None:
        """Another event is where this writer's own would be: it cannot write any more."""
        self.diverged = True
        self.lose()

    def lose(self) -> None:
        """Nobody here can write the log again: whoever waits for it is told."""
        self.lost = True
        self.pending.clear()
        self._idle.set()

    def refuse(self) -> None:
        self.fenced.set()
        self.pending.clear()
        self._idle.set()


@dataclass(slots=True)
class Batch:
    """Consecutive events of one stream, encoded, from sequence number `first` on."""

    first: int
    events: list[bytes]
    fields: Mapping[str, bytes] = field(default_factory=dict)


def _taken(writer: Writer) -> Batch | None:
    """What a writer has; None where it cannot be written, which ends that stream's writer and no other's."""
    try:
        return writer.take()
    except (TypeError, ValueError):
        log.exception("event_not_encodable", response_id=writer.response_id)
        writer.lose()
        return None


# U+0085, U+2028, U+2029 in UTF-8.
_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")


def _continues(last: JsonObject, event: JsonObject) -> bool:
    return (
        event["type"] in _MERGEABLE
        and last["type"] == event["type"]
        and last["item_id"] == event["item_id"]
        and last.get("content_index") == event.get("content_index")
        and not event.get("logprobs")
        and not last.get("logprobs")
    )


def encode(event: JsonObject, sequence: int) -> bytes:
    """One event as the log and the client have it. `type` and `sequence_number` come first: readers rely on it.

    What Unicode calls the end of a line is escaped: many readers of SSE split there (Python's `splitlines`, httpx's
    `iter_lines`), though the standard has it otherwise.
    """
    encoded = orjson.dumps({"type": event["type"], "sequence_number": sequence, **event})
    return encoded if encoded.isascii() else _LINE_ENDS.sub(_escaped, encoded)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


class Appender:
    """Collects what all streams of this process have, and sends it in one pipeline: at once when idle."""

    def __init__(self, redis: Redis, *, ttl_seconds: int) -> None:
        self._redis = redis
        self._ttl = str(ttl_seconds)
        self._dirty: dict[Writer, None] = {}
        self._wake = asyncio.Event()
        self._source = script("append")
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()
        self._commands: list[tuple[bytes | str | int, ...]] = []
        self._recoveries: set[asyncio.Task[None]] = set()

    def wake(self, writer: Writer) -> None:
        self._dirty[writer] = None
        self._wake.set()

    def command(self, *parts: bytes | str | int) -> None:
        """Send a command of somebody else's along, in order, with the next pipeline."""
        self._commands.append(parts)
        self._wake.set()

    async def run(self) -> None:
        """Append until cancelled. An outage of Redis delays and loses nothing."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            writers, self._dirty = [w for w in self._dirty if not w.restoring], {}
            commands, self._commands = self._commands, []
            batches = [(w, batch) for w in writers if not w.fenced.is_set() and (batch := _taken(w)) is not None]
            await self._deliver(batches, commands)
            for writer in writers:
                if writer.has_more and not writer.restoring:
                    self.wake(writer)

    async def _deliver(
        self, batches: list[tuple[Writer, Batch]], commands: list[tuple[bytes | str | int, ...]]
    ) -> None:
        for writer, _ in batches:
            writer.in_flight = True
        warned = False
        while batches or commands:
            try:
                batches = await self._send(batches, commands)
                commands = []
            except RedisDown as error:
                if not warned:
                    warned = True
                    log.warning("redis_down", reason=str(error), streams=len(batches))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _send(
        self, batches: list[tuple[Writer, Batch]], commands: list[tuple[bytes | str | int, ...]]
    ) -> list[tuple[Writer, Batch]]:
        """One pipeline. Returns what has to be sent again: streams whose log was found shorter than it should be."""
        pipe = self._redis.pipeline(transaction=False)
        for parts in commands:
            pipe.execute_command(*parts)
        for writer, batch in batches:
            self._call(pipe, writer, batch)
        replies = (await pipe.execute(raise_on_error=False))[len(commands) :]
        again: list[tuple[Writer, Batch]] = []
        for (writer, batch), reply in zip(batches, replies, strict=True):
            if isinstance(reply, RedisError):
                await self._recover(reply)
                again.append((writer, batch))
            elif reply[0] == 2:
                log.warning("log_restored", response_id=writer.response_id, length=reply[1], expected=batch.first)
                if reply[1] >= writer.base:
                    await self._rewrite(writer, reply[1], Earlier([], {}))
                    again.append((writer, batch))
                elif writer.earlier is not None:
                    self._recover_apart(writer, batch, writer.earlier)
                else:
                    writer.lose()
            elif reply[0] == 3:
                log.warning("log_diverged", response_id=writer.response_id, first=batch.first, length=reply[1])
                writer.diverge()
            else:
                self._settle(writer, batch, refused=reply[0] == 1, cancelled=bool(reply[2]))
        return again

    def _settle(self, writer: Writer, batch: Batch, *, refused: bool, cancelled: bool) -> None:
        writer.in_flight = False
        if cancelled:
            writer.cancelled.set()
        if refused:
            writer.refuse()
        else:
            writer.acknowledge(batch)

    async def _recover(self, error: RedisError) -> None:
        """Scripts vanish with a restart or SCRIPT FLUSH; anything else counts as an outage and is tried again."""
        if isinstance(error, NoScriptError):
            await self._redis.script_load(self._source)
        elif isinstance(error, RedisDown):
            raise error
        else:
            log.error("append_refused", reason=str(error))
            raise ConnectionError(str(error)) from error

    def _recover_apart(self, writer: Writer, batch: Batch, earlier: LoadEarlier) -> None:
        """The turns before are to be fetched from the workflow; the other streams do not wait for that."""
        writer.restoring = True
        task = asyncio.create_task(self._fetch_and_rewrite(writer, batch, earlier))
        self._recoveries.add(task)
        task.add_done_callback(self._recoveries.discard)

    async def _fetch_and_rewrite(self, writer: Writer, batch: Batch, earlier: LoadEarlier) -> None:
        while not writer.fenced.is_set():
            try:
                await self._rewrite(writer, 0, await earlier())
                break
            except (*RedisDown, RPCError) as error:
                log.warning("log_not_restored", response_id=writer.response_id, reason=str(error))
                await asyncio.sleep(5 * _RETRY_SECONDS)
        writer.restoring = False
        writer.unsent = batch
        self.wake(writer)

    async def _rewrite(self, writer: Writer, length: int, earlier: Earlier) -> None:
        """Append what the log has lost, from sequence number `length` on."""
        events = [*earlier.events[length:], *writer.rebuilt(max(length, writer.base))]
        for start in range(0, len(events), _BATCH):
            batch = Batch(length + start, events[start : start + _BATCH], {} if start else earlier.fields)
            pipe = self._redis.pipeline(transaction=False)
            self._call(pipe, writer, batch)
            await pipe.execute()

    def _call(self, pipe: Pipeline, writer: Writer, batch: Batch) -> None:
        response_id = writer.response_id
        pipe.execute_command(
            "EVALSHA",
            self._sha,
            2,
            keys.log(response_id),
            keys.state(response_id),
            writer.fence,
            batch.first,
            self._ttl,
            keys.channel(response_id),
            writer.origin,
            len(batch.fields),
            *(part for pair in batch.fields.items() for part in pair),
            *batch.events,
        )
