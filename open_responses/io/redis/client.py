"""The Redis client of a process, and its Lua scripts by name.

What this prevents: a Redis that is reachable and does not answer (frozen, cut off), and delays every command of every
request. The first unanswered command waits. Until Redis answers again, all others fail at once.

The caller handles an outage: the appender waits, a read falls back to Temporal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import redis.asyncio as aioredis
from redis.asyncio.client import Pipeline, PubSub
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from open_responses.io.redis.redis_py_pool import NoticingRetry, RedisDown, Silence, WatchedPool
from open_responses.io.redis.shared_client import SharedClient

Redis: TypeAlias = aioredis.Redis

__all__ = [
    "IS_CLUSTER",
    "BusyLoadingError",
    "NoScriptError",
    "OutOfMemoryError",
    "Pipeline",
    "PubSub",
    "ReadOnlyError",
    "Redis",
    "RedisDown",
    "RedisError",
    "ResponseError",
    "connect",
    "is_cluster",
    "script",
]

IS_CLUSTER = "is a cluster, and the server needs one Redis without cluster mode (docs/scaling.md)"
"""The problem with a Redis for which `is_cluster` is true."""

# A write that takes longer counts as an outage: clients of a stream expect an event every few milliseconds.
_PATIENCE_SECONDS = 5.0
_LONGEST_CONNECT_SECONDS = 2.0
_MOST_CONNECTIONS = 200


def connect(url: str, *, patience_seconds: float = _PATIENCE_SECONDS) -> Redis:
    """A client with binary replies, which connects at the first command.

    Args:
        url: The address of Redis.
        patience_seconds: The time for which one command waits for a connection and a reply.
    """
    silence = Silence()
    pool = WatchedPool.from_url(
        url,
        decode_responses=False,
        socket_connect_timeout=min(patience_seconds, _LONGEST_CONNECT_SECONDS),
        socket_timeout=patience_seconds,
        socket_keepalive=True,
        health_check_interval=0,
        # One retry without a pause: after a restart of Redis every pooled connection is dead, and each would fail one
        # command. All commands here may be sent twice. A command that got no reply in time is not retried.
        retry=NoticingRetry(silence),
        max_connections=_MOST_CONNECTIONS,
        timeout=patience_seconds,
    )
    silence.watch(pool)
    return SharedClient.from_pool(pool)


async def is_cluster(redis: Redis) -> bool:
    """Whether this Redis is a node of a cluster. Raises RedisDown.

    Such a node rejects the scripts whose keys are in several slots, and the keys of other nodes. Without this question
    that looks like an outage of Redis.
    """
    try:
        return bool((await redis.info("cluster")).get("cluster_enabled"))
    except NoPermissionError:
        return False


def script(path: str) -> str:
    """The source of a Lua script. `path` is relative to `open_responses/io`, for example `log/append.lua`."""
    return (Path(__file__).parents[1] / path).read_text(encoding="utf-8")
