"""Each key has a time to live from the command on that creates it, also where a flush came between two commands.

Every test file's end looks at the suite's own Redis as well (`tests/conftest.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from open_responses.io.log.appender import Appender
from open_responses.io.log.fenced_log import fence_and_read
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, script
from open_responses.io.redis.leases import Lease, Running
from open_responses.io.redis.serving_places import Places
from tests.support.lasting_keys import keys_without_ttl
from tests.support.own_valkey import own_valkey
from tests.support.stack import until


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Redis]]:
    async with own_valkey(tmp_path_factory.mktemp("valkey")) as (url, redis):
        yield url, redis


async def _lasting(url: str) -> list[str]:
    return await asyncio.to_thread(keys_without_ttl, url)


async def test_the_check_finds_a_key_without_a_time_to_live(valkey: tuple[str, Redis]) -> None:
    url, redis = valkey
    await redis.set("or:lasting", "1")
    await redis.set("or:mortal", "1", ex=60)
    assert await _lasting(url) == ["or:lasting"]
    await redis.delete("or:lasting", "or:mortal")


async def test_a_worker_that_dies_leaves_neither_lease_nor_list_for_ever(valkey: tuple[str, Redis]) -> None:
    """No other worker may ever come to remove them."""
    url, redis = valkey
    # So long that no second renewal comes while the test looks.
    lease = Lease(url, appender := Appender(redis, ttl_seconds=60), "dies", 4000.0)
    appending = asyncio.create_task(appender.run())
    try:
        await lease.start(place=key_names.places("one"))
        await until(lambda: _exists(redis, key_names.places("one")))
        lease.began(Running("resp_1", "run", "3"))
        await until(lambda: _exists(redis, key_names.running(lease.worker_id)))
        assert await _lasting(url) == []
    finally:
        appending.cancel()
        await lease.stop()


async def test_a_process_that_takes_a_place_leaves_no_lease_for_ever(valkey: tuple[str, Redis]) -> None:
    url, redis = valkey
    await redis.flushall()
    await Places(redis, "worker:1", "one", 1, 30.0).wait(asyncio.Event())
    assert await redis.zscore(key_names.LEASES, "worker:1") is not None
    assert await _lasting(url) == []


async def test_the_mark_of_an_answer_that_begins_anew_does_not_outlive_its_response(valkey: tuple[str, Redis]) -> None:
    """Redis may be flushed once more, between the takeover and the mark."""
    url, redis = valkey

    class Flushed(Redis):  # type: ignore[misc, type-arg, unused-ignore]
        async def publish(self, *args: object, **options: object) -> object:
            """The question to the readers' processes."""
            await redis.flushall()
            return await redis.publish(*args, **options)  # type: ignore[arg-type]

    flushed = Flushed.from_pool(redis.connection_pool)
    await fence_and_read(flushed, "resp_1", 1, 0, turn=1, ttl=60)
    assert await redis.hget(key_names.state("resp_1"), "anew") == b"0"  # type: ignore[misc]
    assert await _lasting(url) == []


async def test_an_end_from_outside_leaves_no_state_for_ever(valkey: tuple[str, Redis]) -> None:
    """Redis may be flushed between the takeover and the end."""
    url, redis = valkey
    names = (key_names.record("resp_2"), key_names.log("resp_2"), key_names.state("resp_2"))
    channel = key_names.channel("resp_2")
    written = await redis.eval(  # type: ignore[misc]
        script("store/conclude.lua"), 3, *names, "7", "0", channel, "7-0", "{}", "[]", "60", "1", "{}"
    )
    assert written[0] == 0
    assert await redis.exists(key_names.state("resp_2"))
    assert await _lasting(url) == []


async def _exists(redis: Redis, name: str) -> bool:
    return bool(await redis.exists(name))
