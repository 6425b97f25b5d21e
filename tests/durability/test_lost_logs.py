"""A reader that looks away while the log is lost, begun anew by one writer and ended by another.

The last writer begins ahead of the reader's position, so that nothing of it shows the loss. Each test has one reader, a
writer whose answer is lost, and what comes behind it. The reader gets one whole answer, or an error that names the
loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import pytest_asyncio

from api.streaming.follower import Follower
from open_responses.errors import StreamLost
from open_responses.events.fold import Fold
from open_responses.ids import new_id
from open_responses.io.log.appender import Appender
from open_responses.io.log.encoding import encode
from open_responses.io.log.origins import written_since
from open_responses.io.log.reader import MAX_WAITING, LogHub, Messages
from open_responses.io.log.reader_copies import ReaderCopies
from open_responses.io.log.writer import Earlier, Writer
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, connect
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support.stack import Stack, until

END: JsonObject = {"type": "response.completed", "response": {}}


def words(draw: str, start: int, stop: int) -> list[JsonObject]:
    return [{"type": "open_responses:test", "word": f"{draw}{i}"} for i in range(start, stop)]


@dataclass
class Log:
    """One response's log, and a reader whose hub can be stopped, as with a process that is frozen."""

    redis: Redis
    appender: Appender
    state: Any
    hub: LogHub
    id: str = field(default_factory=lambda: new_id("resp_"))
    _running: list[asyncio.Task[None]] = field(default_factory=list)

    async def write(self, fence: int, base: int, events: list[JsonObject]) -> None:
        """A new writer's events behind `base` others, which are in the log already."""
        writer = Writer(self.appender, self.id, fence=fence, initial={}, base=base, fold=Fold())
        writer.write(events)
        await asyncio.wait_for(writer.flush(), 50)

    async def restore(self, fence: int, earlier: list[JsonObject], events: list[JsonObject]) -> None:
        """As `write`, where the log has lost what comes before and the workflow has it."""

        async def load() -> Earlier:
            return Earlier([encode(event, i) for i, event in enumerate(earlier)], {})

        base = len(earlier)
        writer = Writer(self.appender, self.id, fence=fence, initial={}, base=base, fold=Fold(), earlier=load)
        writer.write(events)
        await asyncio.wait_for(writer.flush(), 50)

    async def lose(self) -> None:
        await self.redis.delete(key_names.log(self.id), key_names.state(self.id))

    def start(self) -> StartResponse:
        request = CreateResponse(model="fake", input="hello")
        return StartResponse(
            response_id=self.id,
            tenant="default",
            created_at=int(time.time()),
            request=request,
            provider="fake",
            upstream_model="fake",
            retry_window=1,
        )

    def thaw(self) -> None:
        self._running.append(asyncio.create_task(self.hub.run()))

    async def freeze(self) -> None:
        while self._running:
            task = self._running.pop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Reader:
    """Reads in the background what a follower sends, and how it ends."""

    def __init__(self, log: Log, first: int = 0) -> None:
        self.log = log
        self.read: list[JsonObject] = []
        self.told = False
        self.queue: Messages | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self._first = first
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        follower = Follower(self.log.state, self.log.start(), self._first)
        try:
            async with self.log.hub.listen(self.log.id) as self.queue:
                while (batch := await follower.next_batch(self.queue)) is not None:
                    self.read += map(orjson.loads, batch)
                    await self.may_go_on.wait()
        except StreamLost:
            self.told = True

    async def has_read(self, count: int) -> None:
        async def has() -> bool:
            return self._task.done() or len(self.read) >= count

        await until(has)
        assert len(self.read) >= count

    async def ended(self) -> list[str]:
        """The words that it got."""
        await asyncio.wait_for(self._task, 50)
        assert [event["sequence_number"] for event in self.read] == list(
            range(self._first, self._first + len(self.read))
        )
        return [event["word"] for event in self.read if "word" in event]


@pytest_asyncio.fixture
async def log(stack: Stack) -> AsyncIterator[Log]:
    redis = connect(stack.redis_url)
    appender, hub = Appender(redis, ttl_seconds=60), LogHub(redis, ReaderCopies(redis, limit_bytes=0))

    async def outcome(_: str) -> str:
        return "running"

    state = SimpleNamespace(redis=redis, hub=hub, records=SimpleNamespace(outcome=outcome))
    appending = asyncio.create_task(appender.run())
    log = Log(redis, appender, state, hub)
    log.thaw()
    yield log
    await log.freeze()
    appending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await appending
    await redis.delete(key_names.log(log.id), key_names.state(log.id))
    await redis.aclose()


async def begun_anew_and_ended(log: Log, draw: str) -> None:
    """A second writer finds nothing and begins anew; a third one appends the end."""
    await log.lose()
    await log.write(2, 0, words(draw, 0, 30))
    await log.write(3, 30, [END])


@pytest.mark.parametrize("draw", ["second", "first"])
async def test_a_reader_that_thaws_behind_the_end_of_another_answer_is_told(log: Log, draw: str) -> None:
    """The messages of its time as a frozen process come when it has looked at the log; the same answer goes on."""
    reader = Reader(log)
    await log.write(1, 0, words("first", 0, 20))
    await reader.has_read(20)
    reader.may_go_on.clear()
    await log.freeze()
    await begun_anew_and_ended(log, draw)
    reader.may_go_on.set()
    log.thaw()
    got = await reader.ended()
    if draw == "first":
        assert (got, reader.told) == ([f"first{i}" for i in range(30)], False)
    else:
        assert (got, reader.told) == ([f"first{i}" for i in range(20)], True)


async def test_a_reader_whose_subscription_was_cut_meanwhile_is_told_by_the_first_message_behind_it(log: Log) -> None:
    """The message is of the last writer, and its number is the one that the reader waits for."""
    reader = Reader(log)
    await log.write(1, 0, words("first", 0, 20))
    await reader.has_read(20)
    await log.freeze()
    await log.lose()
    await log.write(2, 0, words("second", 0, 20))
    log.thaw()

    async def is_subscribed() -> bool:
        (_, count), *_ = await log.redis.pubsub_numsub(key_names.channel(log.id))
        return bool(count)

    await until(is_subscribed)
    await log.write(3, 20, [*words("second", 20, 21), END])
    assert (await reader.ended(), reader.told) == ([f"first{i}" for i in range(20)], True)


async def test_a_reader_whose_queue_overflowed_is_told(log: Log) -> None:
    reader = Reader(log)
    await log.write(1, 0, words("first", 0, 20))
    await reader.has_read(20)
    reader.may_go_on.clear()
    queue = reader.queue
    assert queue is not None
    stale = (b"1-0", b'{"type":"open_responses:test","sequence_number":0,"word":"first0"}')
    queue.put(stale)

    async def is_held_up() -> bool:
        return not queue.waiting

    await until(is_held_up)
    while len(queue.waiting) < MAX_WAITING:
        queue.put(stale)
    await begun_anew_and_ended(log, "second")
    reader.may_go_on.set()
    assert (await reader.ended(), reader.told) == ([f"first{i}" for i in range(20)], True)


async def test_a_reader_that_came_back_and_has_read_nothing_since_is_told(log: Log) -> None:
    """Its client has events that this connection has not sent, so that they cannot be compared."""
    await log.write(1, 0, words("first", 0, 20))
    reader = Reader(log, first=20)

    async def has_looked() -> bool:
        return reader.queue is not None and not reader.queue.has_gap

    await until(has_looked)
    await log.lose()
    await log.redis.hset(key_names.state(log.id), "anew", "0")  # type: ignore[misc]
    await log.write(2, 0, words("second", 0, 30))
    await log.write(3, 30, [END])
    assert (await reader.ended(), reader.told) == ([], True)


async def test_a_reader_of_a_log_that_has_lost_its_tail_alone_is_told(log: Log) -> None:
    """A replica that was promoted, or a Redis that died with its last second."""
    reader = Reader(log)
    await log.write(1, 0, words("first", 0, 20))
    await reader.has_read(20)
    reader.may_go_on.clear()
    await log.freeze()
    await log.redis.delete(key_names.log(log.id))
    await log.write(1, 0, words("first", 0, 15))
    await log.write(2, 15, words("second", 15, 30))
    await log.write(3, 30, [END])
    reader.may_go_on.set()
    log.thaw()
    assert (await reader.ended(), reader.told) == ([f"first{i}" for i in range(20)], True)


async def test_a_log_that_another_writer_restores_is_compared_and_goes_on(log: Log) -> None:
    reader = Reader(log)
    await log.write(1, 0, words("first", 0, 20))
    await reader.has_read(20)
    await log.lose()
    await log.restore(2, words("first", 0, 20), [*words("first", 20, 30), END])
    assert (await reader.ended(), reader.told) == ([f"first{i}" for i in range(30)], False)


async def test_a_writer_restores_another_answer_than_a_reader_was_sent_and_the_reader_is_told(log: Log) -> None:
    """The second writer could not reach Redis, and ended; the third one has its events from the workflow."""
    reader = Reader(log)
    await log.write(1, 0, words("first", 0, 20))
    await reader.has_read(20)
    reader.may_go_on.clear()
    await log.freeze()
    await log.lose()
    await log.restore(3, words("second", 0, 30), [END])
    reader.may_go_on.set()
    log.thaw()
    assert (await reader.ended(), reader.told) == ([f"first{i}" for i in range(20)], True)


async def test_writers_of_a_version_before_this_field_are_compared(log: Log) -> None:
    """They leave `origins` as it was, or know none: a reader compares all that it has sent, and goes on."""
    reader = Reader(log)
    await log.write(1, 0, words("first", 0, 20))
    await reader.has_read(20)
    reader.may_go_on.clear()
    await log.freeze()
    await log.write(2, 20, words("first", 20, 30))
    await log.redis.hset(key_names.state(log.id), "origins", "1-0")  # type: ignore[misc]
    await log.write(3, 30, [END])
    assert await log.redis.hget(key_names.state(log.id), "origins") == b"3-0"  # type: ignore[misc]
    await log.redis.hdel(key_names.state(log.id), "origins")  # type: ignore[misc]
    reader.may_go_on.set()
    log.thaw()
    assert (await reader.ended(), reader.told) == ([f"first{i}" for i in range(30)], False)


async def test_the_state_keeps_where_each_writer_began_and_no_more_than_sixteen(log: Log) -> None:
    for fence in range(1, 41):
        await log.write(fence, fence - 1, words("first", fence - 1, fence))
    origins = await log.redis.hget(key_names.state(log.id), "origins")  # type: ignore[misc]
    assert origins is not None
    assert len(origins.split()) == 16
    assert written_since(39, 40, origins) == 39
    assert written_since(30, 40, origins) == 30
    assert written_since(3, 40, origins) == 0, "what is not known any more is compared from the beginning"
    await log.write(41, 10, words("first", 10, 12))
    origins = await log.redis.hget(key_names.state(log.id), "origins")  # type: ignore[misc]
    assert written_since(40, 41, origins) == 10
    assert written_since(12, 41, origins) <= 10
