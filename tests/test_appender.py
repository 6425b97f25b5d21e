"""The appender serves all streams of a worker: one whose log is another's must not keep it busy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from open_responses.fold import Fold
from open_responses.ids import new_id
from open_responses.io import keys
from open_responses.io.event_log import Appender, Diverged, Fenced, LogLost, Writer
from open_responses.io.redis import Redis, connect
from tests.stack import Stack


@pytest_asyncio.fixture
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    client = connect(stack.redis_url)
    yield client
    await client.aclose()


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
    await asyncio.wait_for(other.flush(), 5)


async def test_a_writer_that_hears_too_late_that_it_is_fenced_keeps_nobody_waiting(
    redis: Redis, appender: Appender
) -> None:
    """It was stopped for a while: its last events and its record of the turn are on their way when the answer comes."""
    late = writer(appender)
    await redis.hset(keys.state(late.response_id), "fence", "2")  # type: ignore[misc]
    late.write([{"type": "open_responses:test"}])
    late.record({"turn:1": b"{}"})
    with pytest.raises(Fenced):
        await asyncio.wait_for(late.flush(), 5)
    late.record({"turn:1": b"{}"})
    with pytest.raises(Fenced):
        await asyncio.wait_for(late.flush(), 5)
    assert not late.has_more
    await serves(appender)
    assert await redis.hget(keys.state(late.response_id), "turn:1") is None  # type: ignore[misc]


async def test_an_event_that_cannot_be_written_ends_its_own_stream_alone(redis: Redis, appender: Appender) -> None:
    broken = writer(appender)
    broken.write([{"type": "open_responses:test", "text": "\ud83d"}])
    broken.record({"turn:1": b"{}"})
    with pytest.raises(LogLost):
        await asyncio.wait_for(broken.flush(), 5)
    await serves(appender)


async def test_an_append_whose_reply_got_lost_is_skipped_and_another_event_in_its_place_is_not(
    redis: Redis, appender: Appender
) -> None:
    first = writer(appender)
    first.write([{"type": "open_responses:test", "text": str(i)} for i in range(3)])
    await asyncio.wait_for(first.flush(), 5)
    again = writer(appender, response_id=first.response_id)
    again.write([{"type": "open_responses:test", "text": str(i)} for i in range(4)])
    await asyncio.wait_for(again.flush(), 5)
    assert await redis.xlen(keys.log(first.response_id)) == 4
    other = writer(appender, response_id=first.response_id)
    other.write([{"type": "open_responses:test", "text": text} for text in ("0", "another", "2", "3", "4")])
    with pytest.raises(Diverged):
        await asyncio.wait_for(other.flush(), 5)
    assert await redis.xlen(keys.log(first.response_id)) == 4
    await serves(appender)
