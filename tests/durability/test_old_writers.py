"""An old writer that wakes up behind a FLUSHALL, which took the fence of the newer one: it writes nothing any more.

Each test has the writer of a worker that was frozen, the one of the attempt that took its place, and a Valkey that is
flushed. `Temporal` says which attempt is the current one, as the server does when it refuses a heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import orjson
import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from activities.sampling.attempt_authority import authority_of_this_attempt
from open_responses.events.fold import Fold
from open_responses.ids import new_id
from open_responses.io.log.appender import Appender
from open_responses.io.log.encoding import encode
from open_responses.io.log.fenced_log import FencedLog, fence_for_attempt
from open_responses.io.log.lives import NO_LIFE, Authority
from open_responses.io.log.writer import AppendRefused, Diverged, Earlier, Fenced, LogLost, Writer
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.sample import SampleInput
from tests.support.own_valkey import own_valkey
from tests.support.stack import Stack

OLD, NEW = 1, 2


def words(author: str, start: int, stop: int) -> list[JsonObject]:
    return [{"type": "open_responses:test", "word": f"{author}{i}"} for i in range(start, stop)]


@dataclass
class Log:
    """One response's log, and what Temporal says about its attempts."""

    redis: Redis
    appender: Appender
    id: str = field(default_factory=lambda: new_id("resp_"))
    current: int = OLD
    asked: list[int] = field(default_factory=list)
    before_answer: Callable[[], Awaitable[object]] | None = None

    def authority(self, fence: int, run: bytes = b"run") -> Authority:
        async def is_current() -> bool:
            self.asked.append(fence)
            answer = fence >= self.current
            if self.before_answer is not None:
                hook, self.before_answer = self.before_answer, None
                await hook()
            return answer

        return Authority(is_current, run)

    async def take_over(self, fence: int, *, tries: int = 1, run: bytes = b"run", first: int = 0) -> FencedLog:
        call = SampleInput(
            response_id=self.id, turn=1, epoch=fence, provider="fake", upstream_model="fake", tries=tries,
            first_sequence=first, first_output_index=0, retry_window=1,
        )  # fmt: skip
        return await fence_for_attempt(self.redis, call, fence, 1, ttl=60, authority=self.authority(fence, run))

    def writer(self, fence: int, taken: FencedLog, *, run: bytes = b"run", earlier: list[JsonObject] = ()) -> Writer:  # type: ignore[assignment]
        async def load() -> Earlier:
            return Earlier([encode(event, i) for i, event in enumerate(earlier)], {})

        writer = Writer(
            self.appender,
            self.id,
            fence=fence,
            initial={},
            base=len(earlier),
            fold=Fold(),
            earlier=load if earlier else None,
            life=taken.life,
            authority=self.authority(fence, run),
        )
        for event in taken.events:
            writer.adopt(event)
        return writer

    async def first(self) -> Writer:
        """The writer of the response's first attempt, as the API lists the response."""
        await self.redis.zadd(key_names.OPEN, {self.id: 1})
        return self.writer(OLD, await self.take_over(OLD))

    async def next(self) -> Writer:
        """The writer of the attempt that takes its place, for a worker that is frozen."""
        self.current = NEW
        return self.writer(NEW, await self.take_over(NEW, tries=2))

    async def words(self) -> list[str]:
        entries = await self.redis.xrange(key_names.log(self.id))
        return [orjson.loads(fields[b"e"])["word"] for _, fields in entries]


async def write(writer: Writer, events: list[JsonObject]) -> None:
    writer.write([dict(event) for event in events])
    await asyncio.wait_for(writer.flush(), 50)


def listed(events: list[JsonObject]) -> list[str]:
    return [event["word"] for event in events]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    async with own_valkey(tmp_path_factory.mktemp("valkey")) as (_, redis):
        yield redis


@pytest_asyncio.fixture
async def log(valkey: Redis) -> AsyncIterator[Log]:
    await valkey.flushall()
    appender = Appender(valkey, ttl_seconds=60)
    appending = asyncio.create_task(appender.run())
    yield Log(valkey, appender)
    appending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await appending


async def test_an_old_writer_that_wakes_up_behind_a_flush_before_the_newer_one_writes_nothing(log: Log) -> None:
    old = await log.first()
    await write(old, words("old", 0, 20))
    new = await log.next()
    await write(new, words("new", 20, 40))
    await log.redis.flushall()
    with pytest.raises(Fenced):
        await write(old, words("old", 20, 25))
    assert await log.words() == []
    await write(new, words("new", 40, 45))
    assert await log.words() == listed(words("old", 0, 20) + words("new", 20, 45))


async def test_an_old_writer_writes_nothing_while_the_newer_one_waits_for_its_provider(log: Log) -> None:
    """The newer attempt has taken the log over, and has no event of its own yet that could say so."""
    old = await log.first()
    await write(old, words("old", 0, 20))
    new = await log.next()
    await log.redis.flushall()
    with pytest.raises(Fenced):
        await write(old, words("old", 20, 60))
    await write(new, words("new", 20, 25))
    assert await log.words() == listed(words("old", 0, 20) + words("new", 20, 25))


async def test_an_old_writer_writes_nothing_when_the_newer_one_has_restored_the_log(log: Log) -> None:
    old = await log.first()
    await write(old, words("old", 0, 20))
    new = await log.next()
    await write(new, words("new", 20, 40))
    await log.redis.flushall()
    await write(new, words("new", 40, 41))
    with pytest.raises(Fenced):
        await write(old, words("old", 20, 45))
    assert await log.words() == listed(words("old", 0, 20) + words("new", 20, 41))


async def test_the_writer_that_is_current_restores_its_log_and_temporal_is_asked_once(log: Log) -> None:
    """Without a loss, Temporal is not asked at all."""
    only = await log.first()
    await write(only, words("old", 0, 20))
    assert log.asked == []
    await log.redis.flushall()
    await write(only, words("old", 20, 30))
    await write(only, words("old", 30, 40))
    assert (await log.words(), log.asked) == (listed(words("old", 0, 40)), [OLD])


async def test_a_writer_of_a_later_turn_restores_the_earlier_ones_as_well(log: Log) -> None:
    before = words("before", 0, 10)
    only = log.writer(OLD, FencedLog([], life=NO_LIFE), earlier=before)
    await write(only, words("old", 10, 20))
    await log.redis.flushall()
    await write(only, words("old", 20, 21))
    assert await log.words() == listed(before + words("old", 10, 21))


async def test_an_old_attempt_that_takes_over_behind_the_flush_is_refused(log: Log) -> None:
    """It was frozen before its takeover. It leaves no mark that the answer began anew."""
    log.current = NEW
    with pytest.raises(Fenced):
        await log.take_over(OLD)
    assert await log.redis.hget(key_names.state(log.id), "anew") is None
    new = await log.next()
    await write(new, words("new", 0, 5))
    assert await log.words() == listed(words("new", 0, 5))


async def test_a_writer_that_could_not_take_the_log_over_is_asked_about_before_its_first_event(log: Log) -> None:
    """Redis was away when it began, and so it has left no fence that a newer one could have seen."""
    old, log.current = log.writer(OLD, FencedLog([])), NEW
    with pytest.raises(Fenced):
        await write(old, words("old", 0, 5))
    new = log.writer(NEW, FencedLog([]))
    await write(new, words("new", 0, 5))
    assert await log.words() == listed(words("new", 0, 5))


async def test_a_log_that_is_lost_again_while_temporal_answers_is_asked_about_again(log: Log) -> None:
    """Another attempt may have begun in the life that was lost, and left its fence there."""
    old = await log.first()
    await write(old, words("old", 0, 20))
    await log.redis.flushall()

    async def taken_over_and_lost_again() -> None:
        log.current = NEW
        await log.redis.flushall()

    log.before_answer = taken_over_and_lost_again
    with pytest.raises(Fenced):
        await write(old, words("old", 20, 25))
    assert (await log.words(), log.asked) == ([], [OLD, OLD])


async def test_a_restored_log_that_another_writer_has_filled_otherwise_is_not_continued(log: Log) -> None:
    """A worker of a version before lives has restored another answer: the newer writer stops, and takes over anew."""
    old = await log.first()
    await write(old, words("old", 0, 20))
    new = await log.next()
    await write(new, words("new", 20, 40))
    await log.redis.flushall()
    before = Writer(log.appender, log.id, fence=OLD, initial={}, fold=Fold())
    await write(before, words("old", 0, 25))
    with pytest.raises(Diverged):
        await write(new, words("new", 40, 45))
    assert await log.words() == listed(words("old", 0, 25))


async def test_a_publication_behind_a_flush_asks_for_the_earlier_events(log: Log) -> None:
    """It knows its own events alone. They end items that its fold does not have."""
    writer = Writer(
        log.appender, log.id, fence=OLD, initial={}, base=5, fold=Fold(), authority=log.authority(OLD)
    )  # fmt: skip
    done = {"type": "response.output_item.done", "output_index": 3, "item": {"id": "fco_3", "status": "completed"}}
    with pytest.raises(LogLost) as raised:
        await write(writer, [done])
    assert not isinstance(raised.value, AppendRefused), raised.value
    assert await log.redis.xlen(key_names.log(log.id)) == 0


async def test_a_log_that_is_taken_over_while_it_is_restored_is_the_newer_writers(log: Log) -> None:
    """The restoring appends are refused as any other."""
    old = await log.first()
    await write(old, words("old", 0, 450))
    await log.redis.flushall()

    async def taken_over() -> None:
        await log.redis.hset(key_names.state(log.id), "fence", NEW)

    log.before_answer = taken_over
    with pytest.raises(Fenced):
        await write(old, words("old", 450, 451))
    assert await log.words() == []


async def test_a_run_that_was_reset_as_redis_was_flushed_does_not_share_a_fence_with_the_run_before(log: Log) -> None:
    """The run before restores the log in its last moment. The new run counts its epochs from where it was reset."""
    before = await log.first()
    await write(before, words("old", 0, 20))
    await log.redis.flushall()
    await write(before, words("old", 20, 25))
    with pytest.raises(Fenced) as refused:
        await log.take_over(OLD, run=b"reset")
    assert refused.value.args == (OLD,)


async def test_a_run_that_is_reset_while_temporal_answers_shuts_the_run_before_out(log: Log) -> None:
    """Both have the same fence, and the run before has not written in this life yet."""
    before = await log.first()
    await write(before, words("old", 0, 20))
    await log.redis.flushall()

    async def reset() -> None:
        await log.take_over(OLD, run=b"reset")
        log.current = NEW

    log.before_answer = reset
    with pytest.raises(Fenced):
        await write(before, words("old", 20, 25))
    assert (await log.words(), log.asked) == ([], [OLD, OLD, OLD])


async def test_a_run_that_takes_over_from_another_one_shuts_its_writers_out_of_that_life(log: Log) -> None:
    """Also where the run before counts further, and Redis has lost the new run's fence alone."""
    before = await log.first()
    await write(before, words("old", 0, 20))
    log.current = NEW
    await log.take_over(NEW, tries=2, run=b"reset")
    await log.redis.hset(key_names.state(log.id), "fence", OLD)
    with pytest.raises(Fenced):
        await write(before, words("old", 20, 25))
    assert await log.words() == listed(words("old", 0, 20))


async def test_an_old_writer_writes_nothing_to_a_promoted_replica_that_has_not_seen_the_newer_one(log: Log) -> None:
    """The replica has the log with its life, and the old fence. No server keeps scripts of its predecessor."""
    old = await log.first()
    await write(old, words("old", 0, 20))
    names = key_names.log(log.id), key_names.state(log.id)
    replicated = [await log.redis.dump(name) for name in names]
    new = await log.next()
    await write(new, words("new", 20, 40))
    for name, dumped in zip(names, replicated, strict=True):
        await log.redis.restore(name, 60_000, dumped, replace=True)
    await log.redis.script_flush()
    with pytest.raises(Fenced):
        await write(old, words("old", 20, 25))
    assert await log.words() == listed(words("old", 0, 20))
    await write(new, words("new", 40, 41))
    assert await log.words() == listed(words("old", 0, 20) + words("new", 20, 41))


async def test_temporal_knows_which_attempt_is_current(stack: Stack) -> None:
    """An activity that was completed on its worker's behalf, as of a dead one, has no authority any more."""
    client = await Client.connect(stack.temporal_address)
    answers: list[bool] = []
    ended = asyncio.Event()

    @activity.defn(name="attempt")
    async def attempt() -> None:
        authority = authority_of_this_attempt()
        answers.append(await authority.is_current())
        await client.get_async_activity_handle(task_token=activity.info().task_token).complete(None)
        answers.append(await authority.is_current())
        ended.set()

    queue, workflow_id = new_id("queue_"), new_id("attempt_")
    async with Worker(client, task_queue=queue, activities=[attempt]):
        await client.start_activity(
            "attempt", id=workflow_id, task_queue=queue, start_to_close_timeout=timedelta(seconds=60)
        )
        await asyncio.wait_for(ended.wait(), 50)
    assert answers == [True, False]
