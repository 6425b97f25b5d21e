"""Readers share one subscription, which may break at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import redis.asyncio as aioredis

from open_responses.io.background import kept_running
from open_responses.io.log.encoding import encode
from open_responses.io.log.reader import LogHub
from open_responses.io.log.reader_copies import ReaderCopies
from open_responses.io.redis import key_names
from open_responses.io.redis.client import connect
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
        while queue.empty():
            await plain.publish(key_names.channel("resp_at_last"), b"1-2 " + event)
            await asyncio.sleep(0.05)
        assert queue.get_nowait() == (b"1-2", event)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await redis.aclose()
    await plain.aclose()


async def test_readers_go_on_after_an_error_that_no_author_has_thought_of(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis, plain = connect(stack.redis_url), aioredis.Redis.from_url(stack.redis_url)
    hub, whole, times = LogHub(redis, ReaderCopies(redis, limit_bytes=0)), LogHub._read, 0

    async def fails_once(self: LogHub, *arguments: Any) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise KeyError("what no author has thought of")
        await whole(self, *arguments)

    monkeypatch.setattr(LogHub, "_read", fails_once)
    running = asyncio.create_task(kept_running("event hub", hub.run, again_seconds=0.05))
    event = encode({"type": "response.in_progress"}, 1)
    async with hub.listen("resp_after_an_error") as queue, asyncio.timeout(20):
        while queue.empty():
            await plain.publish(key_names.channel("resp_after_an_error"), b"1-2 " + event)
            await asyncio.sleep(0.05)
    assert times == 2
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await redis.aclose()
    await plain.aclose()
