"""Readers share one subscription, which may break at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import redis.asyncio as aioredis
import uvloop

from open_responses.ids import new_id
from open_responses.io.background import kept_running
from open_responses.io.log.encoding import encode
from open_responses.io.log.reader import LogHub, Messages
from open_responses.io.log.reader_copies import ReaderCopies
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, connect
from tests.support.stack import Stack


async def test_a_subscription_that_is_cut_off_again_and_again_fails_nobody_and_is_made_again(stack: Stack) -> None:
    redis, plain = connect(stack.redis_url), aioredis.Redis.from_url(stack.redis_url)
    hub = LogHub(redis, ReaderCopies(redis, limit_bytes=0))
    running = asyncio.create_task(hub.run())
    over = asyncio.Event()

    async def listen(number: int) -> int:
        times = 0
        while not over.is_set():
            async with hub.listen(f"resp_{number}_{times}"):
                await asyncio.sleep(0.001)
            times += 1
        return times

    async def cut_off() -> None:
        for _ in range(60):
            await plain.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
            await asyncio.sleep(0.02)
        over.set()

    *times, _ = await asyncio.gather(*(listen(number) for number in range(20)), cut_off())
    assert min(times) > 0
    event = encode({"type": "response.in_progress"}, 1)
    async with hub.listen("resp_at_last") as queue, asyncio.timeout(20):
        while not queue.waiting:
            await plain.publish(key_names.channel("resp_at_last"), b"1-2 " + event)
            await queue.arrive(0.05)
        assert queue.waiting[0] == (b"1-2", event)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await redis.aclose()
    await plain.aclose()


async def test_readers_go_on_after_an_error_that_no_author_has_thought_of(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis, plain = connect(stack.redis_url), aioredis.Redis.from_url(stack.redis_url)
    hub, whole, times = LogHub(redis, ReaderCopies(redis, limit_bytes=0)), LogHub.message, 0

    def fails_once(self: LogHub, channel: bytes, data: bytes) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise KeyError("what no author has thought of")
        whole(self, channel, data)

    monkeypatch.setattr(LogHub, "message", fails_once)
    running = asyncio.create_task(kept_running("event hub", hub.run, again_seconds=0.05))
    event = encode({"type": "response.in_progress"}, 1)
    async with hub.listen("resp_after_an_error") as queue, asyncio.timeout(20):
        while not queue.waiting:
            await plain.publish(key_names.channel("resp_after_an_error"), b"1-2 " + event)
            await queue.arrive(0.05)
    assert times >= 2
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await redis.aclose()
    await plain.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_messages_that_come_together_wait_together(
    stack: Stack, protocol: int, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """In each of Redis' protocols, and on the event loops of the API and of the tests."""
    events = [encode({"type": "response.in_progress"}, number) for number in range(50)]

    async def read() -> list[bytes]:
        redis = connect(f"{stack.redis_url}?protocol={protocol}")
        channel = key_names.channel("resp_together")
        async with running(LogHub(redis, ReaderCopies(redis, limit_bytes=0))) as hub:
            async with hub.listen("resp_together") as queue, asyncio.timeout(20):
                await subscribed(redis, channel)
                pipe = redis.pipeline(transaction=True)
                for event in events:
                    pipe.publish(channel, b"1-0 " + event)
                await pipe.execute()
                while len(queue.waiting) < len(events):
                    await asyncio.sleep(0.01)
                read = [event for _, event in queue.waiting]
            await subscribed(redis, channel, readers=0)
        await redis.aclose()
        return read

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(read()) == events


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_error_in_passing_a_message_on_ends_the_hub_and_is_not_taken_for_an_outage(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("what no author has thought of")

    monkeypatch.setattr(LogHub, "message", fails)

    async def run() -> None:
        redis = connect(stack.redis_url)
        hub = LogHub(redis, ReaderCopies(redis, limit_bytes=0))
        task = asyncio.create_task(hub.run())
        async with hub.listen("resp_failing"), asyncio.timeout(20):
            await subscribed(redis, key_names.channel("resp_failing"))
            await redis.publish(key_names.channel("resp_failing"), b"1-0 {}")
            with pytest.raises(KeyError):
                await task
        await redis.aclose()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())


async def test_a_channel_that_redis_refuses_is_an_outage_that_may_end(stack: Stack) -> None:
    """Readers do without their subscription until it is granted."""
    plain, name, channel = aioredis.Redis.from_url(stack.redis_url), new_id("user"), key_names.channel("resp_refused")
    await plain.execute_command("ACL", "SETUSER", name, "on", ">secret", "~*", "+@all", "resetchannels")
    redis = connect(stack.redis_url.replace("://", f"://{name}:secret@"))
    try:
        async with (
            running(LogHub(redis, ReaderCopies(redis, limit_bytes=0))) as hub,
            hub.listen("resp_refused") as queue,
            asyncio.timeout(20),
        ):
            await queue.arrive(0.05)
            await plain.execute_command("ACL", "SETUSER", name, "allchannels")
            while not queue.waiting:
                await plain.publish(channel, b"1-0 {}")
                await queue.arrive(0.05)
    finally:
        await plain.execute_command("ACL", "DELUSER", name)
        await redis.aclose()
        await plain.aclose()


async def test_a_reader_waits_for_a_message_or_for_its_time() -> None:
    queue = Messages()
    await asyncio.wait_for(queue.arrive(0.01), 20)
    assert not queue.waiting
    waiting = asyncio.create_task(queue.arrive(1000))
    await asyncio.sleep(0)
    queue.put((b"1-0", b"{}"))
    queue.put((b"1-0", b"{}"))
    await asyncio.wait_for(waiting, 20)
    assert len(queue.waiting) == 2
    await asyncio.wait_for(queue.arrive(1000), 20)
    queue.close()


@contextlib.asynccontextmanager
async def running(hub: LogHub) -> AsyncIterator[LogHub]:
    task = asyncio.create_task(hub.run())
    yield hub
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def subscribed(redis: Redis, channel: str, *, readers: int = 1) -> None:
    """Wait until as many connections have subscribed to the channel."""
    while (await redis.pubsub_numsub(channel))[0][1] != readers:
        await asyncio.sleep(0.01)
