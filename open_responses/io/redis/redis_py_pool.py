"""The parts of redis-py outside its public interface: connection pool, retries, and the transport of a connection.

No other module uses them.

What this prevents: a Redis that is reachable and does not answer (frozen, cut off), and delays each command of each
request. The first unanswered command waits. Until Redis answers again, all others fail at once.

`tests/unit/test_half_public_parts.py` checks each part that this module overrides; `pyproject.toml` bounds the version.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar, cast

import redis.asyncio as aioredis
import structlog
from redis._parsers.base import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ResponseError, TimeoutError
from typing_extensions import override

from open_responses.io.background import in_background

log = structlog.get_logger(__name__)
T = TypeVar("T")

RedisDown = (ConnectionError, TimeoutError, OSError, ResponseError)
"""The errors of an outage of Redis: a connection that is refused or reset, no reply, or a Redis that loads its data or
rejects commands (BUSY, MISCONF, READONLY, OOM)."""

_ASK_AGAIN_SECONDS = 0.1
_DEFAULT_PATIENCE_SECONDS = 5.0
# uvloop's RuntimeError for a write to a connection that the other side has reset; asyncio raises ConnectionResetError.
_UVLOOP_CLOSED = "the handler is closed"


class Silence:
    """The state of a Redis that has left a command without a reply, until it replies again."""

    def __init__(self) -> None:
        self._pool: WatchedPool | None = None
        self._asking: asyncio.Task[None] | None = None

    def watch(self, pool: WatchedPool) -> None:
        """Set the pool whose connections are tested."""
        self._pool = pool
        pool.silence = self

    @property
    def lasts(self) -> bool:
        """Whether Redis does not answer at the moment."""
        return self._asking is not None

    def begin(self) -> None:
        """Note a command without a reply, and test Redis until it replies."""
        if self._asking is None and self._pool is not None:
            log.warning("redis_silent")
            self._asking = in_background("ask Redis", self._ask(self._pool))

    def end(self) -> None:
        """Note that Redis replies."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _ask(self, pool: WatchedPool) -> None:
        """Send PING over a new connection until Redis replies."""
        try:
            while True:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
                if await self._is_heard(pool):
                    break
            log.info("redis_heard_again")
        finally:
            self._asking = None

    @staticmethod
    async def _is_heard(pool: WatchedPool) -> bool:
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


class WatchedPool(aioredis.BlockingConnectionPool):
    """A pool whose callers wait for a free connection, but fail at once while Redis does not answer."""

    silence: Silence

    @override
    async def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> AbstractConnection:
        if self.silence.lasts:
            raise ConnectionError("Redis does not answer")
        connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]
        return connection

    @override
    async def aclose(self) -> None:
        self.silence.end()
        await super().aclose()


class NoticingRetry(Retry):
    """The retry policy through which every connection sends its commands. It detects a command without a reply."""

    def __init__(self, silence: Silence) -> None:
        super().__init__(NoBackoff(), 1, (ConnectionError,))
        self._silence = silence

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """A copy for each connection, with the same `Silence`."""
        return type(self)(self._silence)

    @override
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


class OpenedConnection:
    """A connection outside the pool, after its handshake: TLS, AUTH and SELECT. Its bytes are the caller's."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        assert connection._writer is not None, "redis-py: a connection that is open has a StreamWriter"
        self.transport = cast(asyncio.Transport, connection._writer.transport)
        self.patience_seconds = float(connection.socket_timeout or _DEFAULT_PATIENCE_SECONDS)

    def close(self) -> None:
        """Drop the connection, without waiting."""
        with contextlib.suppress(RuntimeError):  # uvloop's, for one that was reset
            self.transport.abort()
        self._connection._close()  # type: ignore[no-untyped-call]


async def open_connection(redis: aioredis.Redis) -> OpenedConnection:
    """Open a connection with the settings of a client's pool. Raises one of RedisDown."""
    if is_silent(redis):
        raise ConnectionError("Redis does not answer")
    connection: AbstractConnection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    await connection.connect()  # type: ignore[no-untyped-call]
    return OpenedConnection(connection)


def is_silent(redis: aioredis.Redis) -> bool:
    """Whether a command of this client was left without a reply, and none was answered since."""
    return isinstance(redis.connection_pool, WatchedPool) and redis.connection_pool.silence.lasts


def notice_silence(redis: aioredis.Redis) -> None:
    """A pipeline of this client's was not answered in time."""
    if isinstance(redis.connection_pool, WatchedPool):
        redis.connection_pool.silence.begin()


def reply_error(text: str) -> Exception:
    """The exception that redis-py raises for a reply that is an error."""
    error: Exception = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error
