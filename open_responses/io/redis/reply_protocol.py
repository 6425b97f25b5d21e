"""The bytes of one connection to Redis: commands go out packed, replies come back parsed, and each break has one end.

redis-py opens the connection: address, TLS, AUTH and SELECT are its matter.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any

import hiredis
from redis.exceptions import ConnectionError, InvalidResponse
from typing_extensions import override

from open_responses.io.redis.redis_py_pool import OpenedConnection, reply_error


class ReplyProtocol(asyncio.Protocol):
    """Takes a connection over from redis-py. A subclass says what becomes of a reply, and of the end."""

    def __init__(self, opened: OpenedConnection) -> None:
        self._opened = opened
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=reply_error)
        opened.transport.set_protocol(self)

    @abstractmethod
    def _take(self, reply: Any) -> None:
        """A reply; an error that Redis replies with is an exception."""

    @abstractmethod
    def _end(self, error: Exception) -> None:
        """The connection is of no use any more. May be called again."""

    def _write(self, packed: bytes) -> None:
        """Send packed commands. Raises ConnectionError for a connection that was reset."""
        try:
            self._opened.transport.write(packed)
        except RuntimeError as error:  # uvloop's
            raise ConnectionError(str(error)) from error

    @override
    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except InvalidResponse as error:
            self._end(ConnectionError(f"Redis sent what is no reply: {error}"))

    @override
    def eof_received(self) -> None:
        self._end(ConnectionError("Redis has closed the connection"))
