"""Commands of many callers share pipelines: each caller gets its own replies, and its own errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from open_responses.ids import new_id
from open_responses.io.redis.client import Redis, RedisDown, ResponseError, connect
from open_responses.io.redis.packed_pipeline import Command, PackedPipeline
from tests.support.stack import Stack

CALLERS = 40


@pytest_asyncio.fixture
async def shared(stack: Stack) -> AsyncIterator[Redis]:
    client = connect(stack.redis_url)
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def key(shared: Redis) -> AsyncIterator[str]:
    key = new_id("test:")
    yield key
    await shared.delete(key)


async def test_commands_of_many_callers_take_few_pipelines(shared: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, execute = list[int](), PackedPipeline.execute

    async def counted(pipeline: PackedPipeline, commands: Sequence[Command]) -> list[Any]:
        sizes.append(len(commands))
        return await execute(pipeline, commands)

    monkeypatch.setattr(PackedPipeline, "execute", counted)
    replies = await asyncio.gather(*(shared.echo(f"{number}") for number in range(CALLERS)))
    assert replies == [f"{number}".encode() for number in range(CALLERS)]
    assert sum(sizes) == CALLERS
    assert len(sizes) < CALLERS / 2


async def test_only_the_caller_whose_command_is_rejected_gets_the_error(shared: Redis, key: str) -> None:
    await shared.set(key, "text", ex=60)
    good, bad, mixed = await asyncio.gather(
        shared.get(key),
        shared.hget(key, "field"),  # type: ignore[arg-type]
        shared.pipeline(transaction=False).get(key).hget(key, "field").execute(raise_on_error=False),
        return_exceptions=True,
    )
    assert good == b"text"
    assert isinstance(bad, ResponseError)
    assert isinstance(mixed, list)
    assert mixed[0] == b"text"
    assert isinstance(mixed[1], ResponseError)


async def test_a_caller_that_was_cancelled_leaves_the_others_their_replies(shared: Redis) -> None:
    first, second, third = (asyncio.create_task(shared.echo(name)) for name in ("first", "second", "third"))
    await asyncio.sleep(0)
    second.cancel()
    assert await asyncio.gather(first, third) == [b"first", b"third"]
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_replies_are_as_redis_py_returns_them(shared: Redis, key: str) -> None:
    pipe = shared.pipeline(transaction=True)
    pipe.hset(key, mapping={"a": "1"})
    pipe.expire(key, 60)
    pipe.hgetall(key)
    assert await pipe.execute() == [1, True, {b"a": b"1"}]
    assert await shared.hgetall(key) == {b"a": b"1"}  # type: ignore[misc]
    assert await shared.hexists(key, "a") is True  # type: ignore[misc]


async def test_a_transaction_that_redis_rejects_raises_its_error(shared: Redis, key: str) -> None:
    await shared.set(key, "text", ex=60)
    with pytest.raises(ResponseError):
        await shared.pipeline(transaction=True).hset(key, "a", "1").execute()  # type: ignore[misc,union-attr]


async def test_commands_behind_one_that_was_not_answered_fail() -> None:
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    redis = connect(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0", patience_seconds=0.2)
    try:
        answers = await asyncio.gather(*(redis.ping() for _ in range(CALLERS)), return_exceptions=True)
        assert all(isinstance(answer, RedisDown) for answer in answers)
        with pytest.raises(RedisDown, match="does not answer"):
            await redis.ping()
    finally:
        await redis.aclose()
        silent.close()


async def test_a_connection_that_redis_closed_is_opened_again(shared: Redis, redis: Redis) -> None:
    own = await shared.client_id()  # type: ignore[no-untyped-call]
    with contextlib.suppress(*RedisDown):
        await redis.client_kill_filter(_id=str(own))  # type: ignore[no-untyped-call]
    assert await shared.echo("again") == b"again"
