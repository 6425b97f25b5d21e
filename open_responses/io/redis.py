"""One way to reach Redis: a client per process, scripts loaded by name, and one reconnect.

Whoever calls decides what an outage means: the appender waits, a read falls back to Temporal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import redis.asyncio as aioredis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, RedisError, TimeoutError

Redis: TypeAlias = aioredis.Redis
RedisDown = (ConnectionError, TimeoutError, OSError)
"""What an outage looks like: refused, reset, silent, or still loading its data."""

__all__ = ["NoScriptError", "Pipeline", "Redis", "RedisDown", "RedisError", "connect", "script"]


def connect(url: str) -> Redis:
    """A client with binary replies. Connects at the first command."""
    client: Redis = aioredis.Redis.from_url(
        url,
        decode_responses=False,
        socket_connect_timeout=2,
        # A write that blocks longer than this is an outage for a stream that lives on milliseconds.
        socket_timeout=5,
        socket_keepalive=True,
        health_check_interval=0,
        # Once, at once: after a restart of Redis every pooled connection is dead, and each would fail one command.
        # All of our commands may be sent twice.
        retry=Retry(NoBackoff(), 1),
        max_connections=200,
    )
    return client


def script(name: str) -> str:
    """The source of the Lua script `{name}.lua` beside this file."""
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")
