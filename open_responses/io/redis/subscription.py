"""One connection to Redis that receives the messages of many channels.

redis-py's PubSub makes a dictionary of each message, for a task that waits for one message at a time under a timeout of
its own: an eighth of the API's time. Here, all messages that arrive together are passed on in one callback of the event
loop.

redis-py still opens the connection: address, TLS, AUTH and SELECT are its matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Protocol

import hiredis
from redis.exceptions import ConnectionError
from typing_extensions import override

from open_responses.io.redis.client import Redis
from open_responses.io.redis.redis_py_pool import OpenedConnection, open_connection
from open_responses.io.redis.reply_protocol import ReplyProtocol


class Listener(Protocol):
    """Receives what a subscription brings. An error that it raises ends the subscription."""

    def confirmed(self, channel: bytes) -> None:
        """Redis has subscribed to the channel. Messages of the channel come behind this."""

    def message(self, channel: bytes, data: bytes) -> None:
        """What was published on the channel."""


class Subscription(ReplyProtocol):
    """The channels of one connection. It ends with the connection, and is not made again."""

    def __init__(self, opened: OpenedConnection, listener: Listener) -> None:
        super().__init__(opened)
        self._listener = listener
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, redis: Redis, listener: Listener) -> Subscription:
        """Without channels yet. Raises RedisDown."""
        return cls(await open_connection(redis), listener)

    def subscribe(self, channels: Collection[bytes]) -> None:
        """Send the command, without waiting for Redis to confirm it."""
        self._send("SUBSCRIBE", channels)

    def unsubscribe(self, channels: Collection[bytes]) -> None:
        """Send the command, without waiting for Redis to confirm it."""
        self._send("UNSUBSCRIBE", channels)

    async def ended(self) -> None:
        """Wait for the end. Raises RedisDown where the connection was cut, and the error that a listener has raised."""
        await self._ended

    def close(self) -> None:
        """Drop the connection, without waiting."""
        self._end(ConnectionError("the subscription was closed"))

    def _send(self, command: str, channels: Collection[bytes]) -> None:
        if not channels or self._ended.done():
            return
        try:
            self._write(hiredis.pack_command((command, *channels)))  # type: ignore[arg-type]  # typed for one
        except ConnectionError as error:
            self._end(error)

    # --- callbacks of the event loop

    @override
    def _take(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            # A channel that the user may not read, for example.
            self._end(reply)
        elif self._ended.done() or not isinstance(reply, list):
            return
        elif reply[0] == b"message":
            self._listener.message(reply[1], reply[2])
        elif reply[0] == b"subscribe":
            self._listener.confirmed(reply[1])

    @override
    def connection_lost(self, error: Exception | None) -> None:
        """`error` is also what a listener has raised: the event loop closes the connection then."""
        self._end(error or ConnectionError("Redis has closed the connection"))

    @override
    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)
            # Where no task waits for the end.
            self._ended.exception()
        self._opened.close()
