"""The writing side of the event log: one appender a process, one writer a stream.

What this prevents: a round trip to Redis per delta (5,000 a second at most), a zombie worker that writes into a stream
which another has taken over, and a client that sees an event twice or not at all because a reply got lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson
import structlog
from temporalio.service import RPCError, RPCStatusCode

from open_responses.events.event_types import OPENING_EVENTS
from open_responses.events.fold import Fold
from open_responses.events.trace import Op, Trace, count_events, replay_trace
from open_responses.io.background import in_background
from open_responses.io.log.merged_delta import MergedDelta
from open_responses.io.redis import key_names
from open_responses.io.redis.client import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    Pipeline,
    ReadOnlyError,
    Redis,
    RedisDown,
    RedisError,
    ResponseError,
    script,
)
from open_responses.json_types import JsonObject

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.1
_BATCH = 200  # events in one script call; bounds how long a restored log blocks Redis
_BATCH_BYTES = 1 << 20  # the same, for large events; and what one pipeline holds of a stream
# Redis closes the connection, with all that is in the pipeline, for one beyond its `proto-max-bulk-len` (512 MB).
_LARGEST_EVENT_BYTES = 64 << 20
_PIPELINE_BYTES = 16 << 20
# A pipeline that fails so often, while Redis answers a PING, is sent stream by stream, and one that then fails as often
# by itself is given up.
_FAILURES_ALONE = 3
_MAX_ATTEMPTS = 1 << 20


def fence(epoch: int, attempt: int) -> int:
    """Order of the tries at one response: the workflow's epoch, then Temporal's attempt."""
    return epoch * _MAX_ATTEMPTS + attempt


def is_of_try(owner: int) -> bool:
    """Whether a fence is that of a try at a turn. The workflow's own events (its end among them) have attempt 0, and a
    log that was closed has the highest number of all."""
    return 0 < owner % _MAX_ATTEMPTS < _MAX_ATTEMPTS - 1


END_FENCE = fence(1 << 32, 0)
"""That of an end which the run did not write itself (`outside_ends.py`): above each epoch that a workflow mints."""


def epoch_of(owner: int) -> int:
    """The epoch in a fence; 0 for the fences of ends, which no workflow mints."""
    return 0 if owner >= END_FENCE else owner // _MAX_ATTEMPTS


class Fenced(Exception):
    """A newer try owns the log. Stop writing, and stop the provider. Its argument is that try's fence, if known."""

    @property
    def has_ended(self) -> bool:
        """Whether the response has an end already, and this try is behind it."""
        return bool(self.args) and self.args[0] >= END_FENCE

    @property
    def epoch(self) -> int:
        return epoch_of(self.args[0]) if self.args else 0


class Diverged(Exception):
    """The log holds other events where this writer would put its own. Nothing of them was written."""


class LogLost(Exception):
    """Redis has lost what comes before this writer's own events, and it does not know them."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The events before a writer's own, encoded, from sequence number 0 on, and the fields that go with them."""

    events: list[bytes]
    fields: Mapping[str, bytes]


class AppendRefused(LogLost):
    """Redis refuses this stream's events whenever they are sent, and takes those of others: it can write nothing more.

    The message says why.
    """


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
        self._merged = MergedDelta()
        self.pending_fields: dict[str, bytes] = {}
        self.initial = initial
        self.base = base
        self.earlier = earlier
        self.in_flight = False
        self.restoring = False
        self.lost = False
        self.diverged = False
        self.refusal: str | None = None
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
        return self.origin_from(self.base + self.trace.length if self._began is None else self._began)

    def origin_from(self, begin: int) -> bytes:
        """The origin of events that this writer writes again, since the log has lost them: it may know others than
        those that readers were sent."""
        return b"%d-%d" % (self.fence, begin if self._began is None else min(begin, self._began))

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
        self._merged.close()
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
            if last is None or not self._merged.takes(last, event):
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
        if self.refusal is not None:
            raise AppendRefused(self.refusal)
        if self.lost:
            raise LogLost

    def take(self) -> Batch:
        """What the next call to Redis carries."""
        if self.unsent is not None:
            batch, self.unsent = self.unsent, None
            return batch
        self._merged.close()
        first = self.base + self.trace.length
        encoded = _page(encode(event, first + i) for i, event in enumerate(self.pending))
        events = self.pending[: len(encoded)]
        if self._began is None and events:
            self._began = first + sum(event["type"] in OPENING_EVENTS for event in events)
        del self.pending[: len(encoded)]
        for event in events:
            self.trace.record(event)
        fields: dict[str, bytes] = {}
        if not self.pending:
            fields, self.pending_fields = self.pending_fields, {}
        _page(fields.values())
        return Batch(first, encoded, fields)

    def rebuilt(self, length: int) -> list[bytes]:
        """The events from sequence number `length` up to what was acknowledged: what the log has lost."""
        events = replay_trace(self.trace.ops, self.fold.snapshot(), self.initial, first_sequence=self.base)
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

    def fail(self, reason: str) -> None:
        """Redis takes nothing of this stream: it ends alone."""
        log.error("append_refused", response_id=self.response_id, reason=reason)
        self.refusal = reason
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


def _page(encoded: Iterable[bytes]) -> list[bytes]:
    """The first of these events, as many as one script call takes; one at least. Raises _TooLarge."""
    page, size = list[bytes](), 0
    for event in encoded:
        if len(event) > _LARGEST_EVENT_BYTES:
            raise _TooLarge(f"an event has {len(event)} bytes, and the event log takes {_LARGEST_EVENT_BYTES} at most")
        if page and (len(page) == _BATCH or size + len(event) > _BATCH_BYTES):
            break
        page.append(event)
        size += len(event)
    return page


class _TooLarge(ValueError):
    """An event that Redis would not take, and would close the connection for."""


def _taken(writer: Writer) -> Batch | None:
    """What a writer has; None where it cannot be written, which ends that stream's writer and no other's."""
    try:
        return writer.take()
    except _TooLarge as error:
        writer.fail(str(error))
    except (TypeError, ValueError) as error:
        log.exception("event_not_encodable", response_id=writer.response_id)
        writer.fail(f"an event cannot be encoded: {type(error).__name__}")
    return None


# U+0085, U+2028, U+2029 in UTF-8.
_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")


def encode(event: JsonObject, sequence: int) -> bytes:
    """One event as the log and the client have it. `type` and `sequence_number` come first: readers rely on it.

    What Unicode calls the end of a line is escaped: many readers of SSE split there (Python's `splitlines`, httpx's
    `iter_lines`), though the standard has it otherwise.
    """
    encoded = orjson.dumps({"type": event["type"], "sequence_number": sequence, **event})
    return encoded if encoded.isascii() else _LINE_ENDS.sub(_escaped, encoded)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


# What Redis answers to every command at such a time, whatever the stream.
_OF_ALL_STREAMS = (
    *("LOADING", "BUSY", "MISCONF", "READONLY", "OOM", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN"),
    *("NOAUTH", "NOPERM", "WRONGPASS", "NOSCRIPT", "UNBLOCKED"),
)


def is_of_one_stream(error: ResponseError) -> bool:
    """Whether Redis refuses one stream's events, and not all: a key of the wrong type, an error in the script."""
    said = str(error).upper()
    return not isinstance(error, NoScriptError | ReadOnlyError | OutOfMemoryError | BusyLoadingError) and not any(
        code in said for code in _OF_ALL_STREAMS
    )


def _parts(batches: Sequence[tuple[Writer, Batch]]) -> list[list[tuple[Writer, Batch]]]:
    """As pipelines of bounded size, in order."""
    parts, size = list[list[tuple[Writer, Batch]]](), _PIPELINE_BYTES
    for writer, batch in batches:
        if size >= _PIPELINE_BYTES:
            parts.append([])
            size = 0
        parts[-1].append((writer, batch))
        size += sum(map(len, batch.events)) + sum(map(len, batch.fields.values()))
    return parts


class Appender:
    """Collects what all streams of this process have, and sends it in one pipeline: at once when idle."""

    def __init__(self, redis: Redis, *, ttl_seconds: int) -> None:
        self._redis = redis
        self._ttl = str(ttl_seconds)
        self._dirty: dict[Writer, None] = {}
        self._wake = asyncio.Event()
        self._source = script("log/append.lua")
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
        failures = 0
        for part in _parts(batches) or [[]]:
            while part or commands:
                try:
                    part = await self._send(part, commands)
                    commands = []
                except RedisDown as error:
                    failures += 1
                    if failures == 1:
                        log.warning("redis_down", reason=str(error), streams=len(batches))
                    await asyncio.sleep(_RETRY_SECONDS)
                    if failures >= _FAILURES_ALONE and part and await self._answers():
                        part, commands = await self._send_apart(part, commands), []

    async def _send_apart(
        self, batches: list[tuple[Writer, Batch]], commands: list[tuple[bytes | str | int, ...]]
    ) -> list[tuple[Writer, Batch]]:
        """Redis is there, and a pipeline of these fails: stream by stream, so that one cannot hold up all others."""
        left: list[tuple[Writer, Batch]] = []
        with contextlib.suppress(*RedisDown):
            await self._send([], commands)
        for writer, batch in batches:
            reason = ""
            for _ in range(_FAILURES_ALONE):
                try:
                    left += await self._send([(writer, batch)], [])
                    break
                except RedisDown as error:
                    reason = str(error)
                if not await self._answers():
                    left.append((writer, batch))
                    break
            else:
                writer.fail(f"Redis does not take it: {reason}")
        return left

    async def _answers(self) -> bool:
        with contextlib.suppress(*RedisDown):
            return bool(await self._redis.ping())
        return False

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
            if isinstance(reply, ResponseError) and is_of_one_stream(reply):
                writer.fail(f"Redis does not take it: {reply}")
            elif isinstance(reply, RedisError):
                await self._recover(reply)
                again.append((writer, batch))
            elif reply[0] == 2:
                log.warning("log_restored", response_id=writer.response_id, length=reply[1], expected=batch.first)
                if reply[1] >= writer.base:
                    if await self._rewritten(writer, reply[1]):
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
        task = in_background("restore a log", self._fetch_and_rewrite(writer, batch, earlier))
        self._recoveries.add(task)
        task.add_done_callback(self._recoveries.discard)

    async def _fetch_and_rewrite(self, writer: Writer, batch: Batch, earlier: LoadEarlier) -> None:
        while not writer.fenced.is_set():
            try:
                await self._rewrite(writer, 0, await earlier())
                break
            except (*RedisDown, RPCError) as error:
                if isinstance(error, ResponseError) and is_of_one_stream(error):
                    writer.fail(f"Redis does not take it: {error}")
                    break
                if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
                    # The response was deleted meanwhile: nobody has the earlier events, and nobody may write.
                    writer.lose()
                    break
                if isinstance(error, NoScriptError):
                    with contextlib.suppress(*RedisDown):
                        await self._redis.script_load(self._source)
                log.warning("log_not_restored", response_id=writer.response_id, reason=str(error))
                await asyncio.sleep(5 * _RETRY_SECONDS)
            except Exception as error:
                log.exception("log_not_restored", response_id=writer.response_id)
                writer.fail(f"it was lost, and cannot be restored: {type(error).__name__}")
                break
        writer.restoring = False
        writer.unsent = batch
        self.wake(writer)

    async def _rewrite(self, writer: Writer, length: int, earlier: Earlier) -> None:
        """Append what the log has lost, from sequence number `length` on."""
        events = [*earlier.events[length:], *writer.rebuilt(max(length, writer.base))]
        start = 0
        while start < len(events):
            page = _page(events[start:])
            pipe = self._redis.pipeline(transaction=False)
            batch = Batch(length + start, page, {} if start else earlier.fields)
            self._call(pipe, writer, batch, origin=writer.origin_from(length))
            await pipe.execute()
            start += len(page)

    async def _rewritten(self, writer: Writer, length: int) -> bool:
        """As `_rewrite`, of the writer's own events; False where that cannot be done, and the stream has failed."""
        try:
            await self._rewrite(writer, length, Earlier([], {}))
        except ResponseError as error:
            if not is_of_one_stream(error):
                raise
            writer.fail(f"Redis does not take it: {error}")
        except (TypeError, ValueError, LookupError) as error:
            log.exception("log_not_restored", response_id=writer.response_id)
            writer.fail(f"it was lost, and cannot be restored: {type(error).__name__}")
        return not writer.is_over

    def _call(self, pipe: Pipeline, writer: Writer, batch: Batch, *, origin: bytes | None = None) -> None:
        response_id = writer.response_id
        pipe.execute_command(
            "EVALSHA",
            self._sha,
            2,
            key_names.log(response_id),
            key_names.state(response_id),
            writer.fence,
            batch.first,
            self._ttl,
            key_names.channel(response_id),
            writer.origin if origin is None else origin,
            len(batch.fields),
            *(part for pair in batch.fields.items() for part in pair),
            *batch.events,
        )
