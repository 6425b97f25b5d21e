"""One way to reach Redis: a client per process, scripts loaded by name, and one reconnect.

What this prevents: a Redis that is there and says nothing (frozen, cut off) and holds up each command of each request
in turn. The first command that it leaves without an answer waits; until it is heard of again, all others fail at once.

Whoever calls decides what an outage means: the appender waits, a read falls back to Temporal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

import redis.asyncio as aioredis
import structlog
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from open_responses.io.background import in_background

Redis: TypeAlias = aioredis.Redis
RedisDown = (ConnectionError, TimeoutError, OSError, ResponseError)
"""What an outage looks like: refused, reset, silent, or still loading its data; or a Redis that is there and refuses
(BUSY, MISCONF, READONLY, OOM)."""

__all__ = [
    "AbstractConnection",
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
    "script",
]

log = structlog.get_logger(__name__)
T = TypeVar("T")

# A write that blocks longer than this is an outage for a stream that lives on milliseconds.
_PATIENCE_SECONDS = 5.0
_LONGEST_CONNECT_SECONDS = 2.0
_ASK_AGAIN_SECONDS = 0.1
_MOST_CONNECTIONS = 200
# uvloop's RuntimeError for a write to a connection that the other side has reset; asyncio raises ConnectionResetError.
_UVLOOP_CLOSED = "the handler is closed"


def connect(url: str, *, patience_seconds: float = _PATIENCE_SECONDS) -> Redis:
    """A client with binary replies. Connects at the first command.

    `patience_seconds` is how long one command waits for Redis: to be connected to, and to answer.
    """
    silence = _Silence()
    pool = _Pool.from_url(
        url,
        decode_responses=False,
        socket_connect_timeout=min(patience_seconds, _LONGEST_CONNECT_SECONDS),
        socket_timeout=patience_seconds,
        socket_keepalive=True,
        health_check_interval=0,
        # Once, at once: after a restart of Redis every pooled connection is dead, and each would fail one command.
        # All of our commands may be sent twice. A silent Redis is not asked twice.
        retry=_Heard(silence),
        max_connections=_MOST_CONNECTIONS,
        timeout=patience_seconds,
    )
    silence.watch(pool)
    return aioredis.Redis.from_pool(pool)


class _Silence:
    """Whether Redis has left something without an answer, and has not been heard of since."""

    def __init__(self) -> None:
        self._pool: _Pool | None = None
        self._asking: asyncio.Task[None] | None = None

    def watch(self, pool: _Pool) -> None:
        self._pool = pool
        pool.silence = self

    @property
    def lasts(self) -> bool:
        return self._asking is not None

    def begin(self) -> None:
        if self._asking is None and self._pool is not None:
            log.warning("redis_silent")
            self._asking = in_background("ask Redis", self._ask(self._pool))

    def end(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _ask(self, pool: _Pool) -> None:
        """A connection of its own: an answer to its greeting is a sign of life."""
        try:
            while True:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
                if await self._is_heard(pool):
                    break
            log.info("redis_heard_again")
        finally:
            self._asking = None

    @staticmethod
    async def _is_heard(pool: _Pool) -> bool:
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("PING")
            await connection.read_response()
        except RedisDown:
            return False
        finally:
            await connection.disconnect(nowait=True)
        return True


class _Pool(aioredis.BlockingConnectionPool):
    """Waits for a free connection, like everybody in a burst, but not for a Redis that is silent."""

    silence: _Silence

    async def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> AbstractConnection:
        if self.silence.lasts:
            raise ConnectionError("Redis does not answer")
        connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]
        return connection

    async def aclose(self) -> None:
        self.silence.end()
        await super().aclose()


class _Heard(Retry):
    """What every connection calls its commands with: the place where a silence is noticed."""

    def __init__(self, silence: _Silence) -> None:
        super().__init__(NoBackoff(), 1, (ConnectionError,))
        self._silence = silence

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """Each connection takes a copy, and all share what they notice."""
        return type(self)(self._silence)

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        async def attempt() -> T:
            try:
                return await do()
            except RuntimeError as error:
                if _UVLOOP_CLOSED not in str(error):
                    raise
                raise ConnectionError(str(error)) from error

        try:
            return await super().call_with_retry(attempt, fail, is_retryable, with_failure_count)
        except TimeoutError:
            self._silence.begin()
            raise


def script(path: str) -> str:
    """Returns the source of a Lua script. `path` is relative to `open_responses/io`, for example `log/append.lua`."""
    return (Path(__file__).parents[1] / path).read_text(encoding="utf-8")
