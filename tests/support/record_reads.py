"""Counts how often a response's record is read from Redis, by any process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio as aioredis

from open_responses.io.redis import key_names


@asynccontextmanager
async def record_reads(redis_url: str, response_id: str) -> AsyncIterator[list[str]]:
    """The commands that read this record during the block; the list is complete once the block is over.

    Workers also ask whether the record is `deleted`; the API, which compares the owner, does not.
    """
    reads: list[str] = []
    redis = aioredis.Redis.from_url(redis_url)
    async with redis.monitor() as commands:
        yield reads
        await redis.publish("the-end", "of this")
        async for command in commands.listen():
            if "the-end" in command["command"]:
                break
            if command["command"].startswith("HMGET " + key_names.record(response_id)):
                reads.append(command["command"])
    await redis.aclose()
