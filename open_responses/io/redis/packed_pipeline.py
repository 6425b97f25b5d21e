"""One connection to Redis for commands that are sent many at a time and often: one write, and one wait for all replies.

redis-py's pipeline object takes a connection out of the pool, and waits for each reply under a timeout of its own. That
cost a worker more than a quarter of its time, since a pipeline often holds the events of one or two streams.

redis-py still opens the connection: address, TLS, AUTH and SELECT are its matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import hiredis
import redis.asyncio as aioredis
from redis.exceptions import ConnectionError, TimeoutError

from open_responses.io.redis.redis_py_pool import OpenedConnection, notice_silence, open_connection
from open_responses.io.redis.reply_protocol import ReplyProtocol

Command: TypeAlias = tuple[bytes | str | int, ...]


class PackedPipeline:
    """Sends one pipeline at a time, over a connection of its own, which it opens when it needs one.

    A reply that is an error stands in the list of replies: the other commands of the pipeline were carried out.
    """

    def __init__(self, redis: aioredis.Redis) -> None:
        self._redis = redis
        self._connection: _Connection | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send these commands, and return their replies in the same order.

        A connection that breaks before all replies are there is opened again once, and everything is sent again:
        after a restart of Redis the old connection is dead. So commands have to bear being sent twice.

        Raises one of RedisDown. Nothing is known then of what was carried out.
        """
        if not commands:
            return []
        packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]  # typed for one
        try:
            try:
                return await (await self._open()).send(packed, len(commands))
            except ConnectionError:
                self.close()
                return await (await self._open()).send(packed, len(commands))
        except BaseException:
            # Replies that come later would be taken for those of the next pipeline.
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection. The next pipeline opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _open(self) -> _Connection:
        if self._connection is None or self._connection.is_closed:
            opened = await open_connection(self._redis)
            self._connection = _Connection(opened, silent=lambda: notice_silence(self._redis))
        return self._connection


class _Connection(ReplyProtocol):
    """The bytes of one connection. At most one pipeline is under way."""

    def __init__(self, opened: OpenedConnection, silent: Callable[[], None]) -> None:
        super().__init__(opened)
        self._silent = silent
        self._loop = asyncio.get_running_loop()
        self._replies: list[Any] = []
        self._wanted = 0
        self._done: asyncio.Future[list[Any]] | None = None
        self.is_closed = False

    async def send(self, packed: bytes, count: int) -> list[Any]:
        """Write `count` packed commands, and wait for as many replies."""
        if self.is_closed or self._opened.transport.is_closing():
            raise ConnectionError("Redis has closed the connection")
        self._replies, self._wanted = [], count
        self._done = self._loop.create_future()
        deadline = self._loop.call_later(self._opened.patience_seconds, self._give_up)
        try:
            self._write(packed)
            return await self._done
        finally:
            deadline.cancel()
            self._done = None

    def _take(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            return
        if isinstance(reply, ConnectionError):
            # LOADING, for example: redis-py counts it as an outage.
            self._end(reply)
            return
        self._replies.append(reply)
        if len(self._replies) == self._wanted and self._done is not None and not self._done.done():
            self._done.set_result(self._replies)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(ConnectionError(str(error) if error is not None else "Redis has closed the connection"))

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._opened.close()

    def _give_up(self) -> None:
        self._end(TimeoutError("Redis has not answered in time"))
        self._silent()

    def _end(self, error: Exception) -> None:
        self.close()
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
