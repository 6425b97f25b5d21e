"""The appender serves all streams of a worker: one whose log is another's must not keep it busy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from open_responses.events.fold import Fold
from open_responses.ids import new_id
from open_responses.io.log import batch as log_batch
from open_responses.io.log.appender import Appender
from open_responses.io.log.writer import AppendRefused, Diverged, Earlier, Fenced, LogLost, Writer
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from tests.support.stack import until


@pytest_asyncio.fixture
async def appender(redis: Redis) -> AsyncIterator[Appender]:
    appender = Appender(redis, ttl_seconds=60)
    running = asyncio.create_task(appender.run())
    yield appender
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def writer(appender: Appender, fence: int = 1, response_id: str | None = None) -> Writer:
    return Writer(appender, response_id or new_id("resp_"), fence=fence, initial={}, fold=Fold())


async def serves(appender: Appender) -> None:
    other = writer(appender)
    other.write([{"type": "open_responses:test"}])
    await asyncio.wait_for(other.flush(), 50)


def delta(number: int) -> dict[str, object]:
    return {"type": "open_responses:test.delta", "delta": f"{number} "}


@contextlib.asynccontextmanager
async def busy_appender(redis: Redis) -> AsyncIterator[tuple[Appender, Writer]]:
    """With a window that nothing in the test lasts as long as. Yields a stream that has begun, too.

    It is busy once it has sent many batches within the time in which it counts.
    """
    appender = Appender(redis, ttl_seconds=60, window_seconds=3600)
    running = asyncio.create_task(appender.run())
    try:
        begun = writer(appender)
        begun.write([delta(0)])
        await asyncio.wait_for(begun.flush(), 50)

        async def is_waiting() -> bool:
            """All that these write would be sent at once where nothing waits for more."""
            others = [writer(appender) for _ in range(300)]
            for other in others:
                other.write([delta(0)])
            await asyncio.gather(*(other.flush() for other in others))
            before = await redis.xlen(key_names.log(begun.response_id))
            begun.write([delta(before)])
            # A round trip on another connection: the appender would have sent it by then.
            for _ in range(20):
                await redis.ping()
            return bool(await redis.xlen(key_names.log(begun.response_id)) == before)

        await until(is_waiting)
        yield appender, begun
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_busy_appender_sends_a_first_delta_at_once_and_the_others_with_it(redis: Redis) -> None:
    async with busy_appender(redis) as (appender, begun):
        waits = begun.next_sequence
        first = writer(appender)
        first.write([{"type": "open_responses:test"}, delta(0)])

        async def are_there() -> bool:
            lengths = [await redis.xlen(key_names.log(one.response_id)) for one in (first, begun)]
            return lengths == [2, waits]

        await until(are_there)


async def test_a_busy_appender_lets_nobody_wait_who_flushes(redis: Redis) -> None:
    async with busy_appender(redis) as (_, begun):
        await asyncio.wait_for(begun.flush(), 50)
        assert await redis.xlen(key_names.log(begun.response_id)) == begun.next_sequence
        begun.record({"turn:1": b"{}"})
        await asyncio.wait_for(begun.flush(), 50)
        assert await redis.hget(key_names.state(begun.response_id), "turn:1") == b"{}"  # type: ignore[misc]


async def test_a_busy_appender_sends_a_command_at_once(redis: Redis) -> None:
    """Such as a worker's entry about an activity that it runs."""
    async with busy_appender(redis) as (appender, _):
        appender.command("SET", "or:test:command", "sent", "EX", 60)

        async def is_sent() -> bool:
            return await redis.get("or:test:command") == b"sent"

        await until(is_sent)


async def test_a_writer_that_hears_too_late_that_it_is_fenced_keeps_nobody_waiting(
    redis: Redis, appender: Appender
) -> None:
    """It was stopped for a while: its last events and its record of the turn are on their way when the answer comes."""
    late = writer(appender)
    await redis.hset(key_names.state(late.response_id), "fence", "2")  # type: ignore[misc]
    await redis.expire(key_names.state(late.response_id), 60)
    late.write([{"type": "open_responses:test"}])
    late.record({"turn:1": b"{}"})
    with pytest.raises(Fenced):
        await asyncio.wait_for(late.flush(), 50)
    late.record({"turn:1": b"{}"})
    with pytest.raises(Fenced):
        await asyncio.wait_for(late.flush(), 50)
    assert not late.has_more
    await serves(appender)
    assert await redis.hget(key_names.state(late.response_id), "turn:1") is None  # type: ignore[misc]


async def test_an_event_that_cannot_be_written_ends_its_own_stream_alone(redis: Redis, appender: Appender) -> None:
    broken = writer(appender)
    broken.write([{"type": "open_responses:test", "text": "\ud83d"}])
    broken.record({"turn:1": b"{}"})
    with pytest.raises(LogLost):
        await asyncio.wait_for(broken.flush(), 50)
    await serves(appender)


async def test_an_append_whose_reply_got_lost_is_skipped_and_another_event_in_its_place_is_not(
    redis: Redis, appender: Appender
) -> None:
    first = writer(appender)
    first.write([{"type": "open_responses:test", "text": str(i)} for i in range(3)])
    await asyncio.wait_for(first.flush(), 50)
    again = writer(appender, response_id=first.response_id)
    again.write([{"type": "open_responses:test", "text": str(i)} for i in range(4)])
    await asyncio.wait_for(again.flush(), 50)
    assert await redis.xlen(key_names.log(first.response_id)) == 4
    other = writer(appender, response_id=first.response_id)
    other.write([{"type": "open_responses:test", "text": text} for text in ("0", "another", "2", "3", "4")])
    with pytest.raises(Diverged):
        await asyncio.wait_for(other.flush(), 50)
    assert await redis.xlen(key_names.log(first.response_id)) == 4
    await serves(appender)


async def test_a_stream_whose_key_is_of_another_type_fails_alone(redis: Redis, appender: Appender) -> None:
    broken = writer(appender)
    await redis.set(key_names.log(broken.response_id), "not a stream", ex=60)
    broken.write([{"type": "open_responses:test"}])
    with pytest.raises(AppendRefused, match="WRONGTYPE"):
        await asyncio.wait_for(broken.flush(), 50)
    await serves(appender)


async def test_an_event_that_is_too_large_ends_its_own_stream_alone(
    appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_batch, "_LARGEST_EVENT_BYTES", 1000)
    broken = writer(appender)
    broken.write([{"type": "open_responses:test", "text": "x" * 1001}])
    with pytest.raises(AppendRefused, match="1000 at most"):
        await asyncio.wait_for(broken.flush(), 50)
    await serves(appender)


async def test_an_event_at_which_redis_hangs_up_ends_its_own_stream_alone(redis: Redis, appender: Appender) -> None:
    """Redis closes the connection with all that is in the pipeline, and would do so each time."""
    before = (await redis.config_get("proto-max-bulk-len"))["proto-max-bulk-len"]
    await redis.config_set("proto-max-bulk-len", 1 << 20)
    try:
        broken, other = writer(appender), writer(appender)
        broken.write([{"type": "open_responses:test", "text": "x" * (2 << 20)}])
        other.write([{"type": "open_responses:test"}])
        await asyncio.wait_for(other.flush(), 50)
        with pytest.raises(AppendRefused):
            await asyncio.wait_for(broken.flush(), 50)
        await serves(appender)
    finally:
        await redis.config_set("proto-max-bulk-len", before)


async def test_batches_are_bounded_by_bytes(redis: Redis, appender: Appender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_batch, "_BATCH_BYTES", 1000)
    large = writer(appender)
    large.write([{"type": "open_responses:test", "text": "x" * 400} for _ in range(20)])
    batch = large.take()
    assert [len(batch.events), batch.first, len(large.pending)] == [2, 0, 18]
    large.unsent = batch
    await asyncio.wait_for(large.flush(), 50)
    assert await redis.xlen(key_names.log(large.response_id)) == 20


async def test_a_log_that_cannot_be_restored_ends_its_own_stream_alone(redis: Redis, appender: Appender) -> None:
    async def earlier() -> Earlier:
        raise KeyError("what no author has thought of")

    broken = Writer(appender, new_id("resp_"), fence=1, initial={}, base=3, fold=Fold(), earlier=earlier)
    broken.write([{"type": "open_responses:test"}])
    with pytest.raises(AppendRefused, match="KeyError"):
        await asyncio.wait_for(broken.flush(), 50)
    await serves(appender)
