"""The connection over which the event log is written: each pipeline gets its own replies, whatever happened before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import uvloop

from open_responses.ids import new_id
from open_responses.io.redis.client import Redis, RedisDown, ResponseError, connect
from open_responses.io.redis.packed_pipeline import PackedPipeline
from open_responses.io.redis.redis_py_pool import open_connection
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def pipeline(redis: Redis) -> AsyncIterator[PackedPipeline]:
    pipeline = PackedPipeline(redis)
    yield pipeline
    pipeline.close()


@pytest_asyncio.fixture
async def key(redis: Redis) -> AsyncIterator[str]:
    key = new_id("test:")
    yield key
    await redis.delete(key)


async def test_replies_come_in_order_and_an_error_is_one_of_them(pipeline: PackedPipeline, key: str) -> None:
    replies = await pipeline.execute([("SET", key, b"a"), ("EXPIRE", key, 60), ("XLEN", key), ("GET", key)])
    assert replies[0] in (b"OK", "OK")
    assert replies[1] == 1
    assert isinstance(replies[2], ResponseError)
    assert replies[3] == b"a"
    assert await pipeline.execute([]) == []


async def test_a_connection_that_redis_closed_is_opened_again(redis: Redis, pipeline: PackedPipeline, key: str) -> None:
    [own] = await pipeline.execute([("CLIENT", "ID")])
    await redis.client_kill_filter(_id=str(own))  # type: ignore[no-untyped-call]
    assert await pipeline.execute([("GET", key)]) == [None]


async def test_a_pipeline_that_was_cancelled_leaves_its_replies_to_nobody(
    pipeline: PackedPipeline, redis: Redis, key: str
) -> None:
    [own] = await pipeline.execute([("CLIENT", "ID")])
    waiting = asyncio.create_task(pipeline.execute([("BLPOP", key, 30)]))

    async def waits() -> bool:
        clients = await redis.client_list(client_id=[str(own)])  # type: ignore[no-untyped-call]
        return bool(clients) and clients[0]["cmd"] == "blpop"

    while not await waits():
        await asyncio.sleep(0.01)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert await pipeline.execute([("ECHO", "next")]) == [b"next"]


async def test_a_pipeline_that_was_cancelled_as_it_was_sent_again_leaves_its_replies_to_nobody(
    pipeline: PackedPipeline, redis: Redis, key: str
) -> None:
    [own] = await pipeline.execute([("CLIENT", "ID")])
    await redis.client_kill_filter(_id=str(own))  # type: ignore[no-untyped-call]
    waiting = asyncio.create_task(pipeline.execute([("BLPOP", key, 30)]))

    async def waits() -> bool:
        clients = await redis.client_list()  # type: ignore[no-untyped-call]
        return any(client["cmd"] == "blpop" for client in clients)

    while not await waits():
        await asyncio.sleep(0.01)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await redis.rpush(key, "late")  # type: ignore[misc]
    assert await pipeline.execute([("ECHO", "next")]) == [b"next"]


async def test_a_redis_that_does_not_answer_fails_the_pipeline_and_all_commands_behind_it() -> None:
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    redis = connect(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0", patience_seconds=0.2)
    pipeline = PackedPipeline(redis)
    try:
        with pytest.raises(RedisDown):
            await pipeline.execute([("PING",)])
        with pytest.raises(RedisDown, match="does not answer"):
            await pipeline.execute([("PING",)])
    finally:
        await redis.aclose()
        silent.close()


async def test_a_frozen_redis_is_noticed_by_the_pipeline_itself(redis: Redis, stack: Stack) -> None:
    quick = connect(stack.redis_url, patience_seconds=0.3)
    pipeline = PackedPipeline(quick)
    try:
        # More than this client waits for, on a connection that is open.
        with pytest.raises(RedisDown):
            await pipeline.execute([("BLPOP", new_id("test:"), 20)])
        with contextlib.suppress(*RedisDown):
            await quick.ping()

        async def answers_again() -> bool:
            with contextlib.suppress(*RedisDown):
                return bool(await quick.ping())
            return False

        while not await answers_again():
            await asyncio.sleep(0.02)
        assert await pipeline.execute([("ECHO", "again")]) == [b"again"]
    finally:
        pipeline.close()
        await quick.aclose()


async def test_redis_py_still_lets_us_take_the_transport_of_a_connection(redis: Redis) -> None:
    """A method of redis-py's that is not public. Without it the event log writes nothing."""
    opened = await open_connection(redis)
    assert isinstance(opened.transport, asyncio.Transport), "redis-py: AbstractConnection._writer is no StreamWriter"
    opened.close()


def test_another_event_loop_carries_it_too(stack: Stack) -> None:
    """Those of uvloop have transports of other classes."""

    async def pass_through() -> None:
        redis = connect(stack.redis_url)
        pipeline = PackedPipeline(redis)
        assert await pipeline.execute([("ECHO", "x" * 100_000), ("ECHO", "2")]) == [b"x" * 100_000, b"2"]
        [own] = await pipeline.execute([("CLIENT", "ID")])
        await redis.client_kill_filter(_id=str(own))  # type: ignore[no-untyped-call]
        assert await pipeline.execute([("ECHO", "3")]) == [b"3"]
        pipeline.close()
        await redis.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(pass_through())
