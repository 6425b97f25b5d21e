"""A client that reads streams as bytes: it notes the times of the first token and of the end, and parses nothing.

What arrived is checked afterwards (`Stream.text`), when nothing is measured any more.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import cast

# The first token, alone or merged with those behind it: it begins a string of JSON in each of the formats.
_FIRST_TOKEN = b'"w0 '
_OK = b"HTTP/1.1 200"
_END = b"\r\n0\r\n\r\n"
_MESSAGE = re.compile(rb'"message":\s*"([^"]*)"')
_PIECES = re.compile(rb'"(?:delta|content)":\s*"((?:w\d+ )+)"')


class Refused(Exception):
    """An answer with another status than 200. Its text is the status, and the error's message if it came with it."""

    @classmethod
    def of(cls, answer: bytes) -> Refused:
        line, _, rest = answer.partition(b"\r\n")
        found = _MESSAGE.search(rest)
        return cls((line + (b": " + found[1] if found else b"")).decode(errors="replace")[:200])


@dataclass(frozen=True, slots=True)
class Target:
    """Where streams are asked for."""

    port: int
    path: str
    key: str = "none"

    def request(self, body: bytes) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(slots=True)
class Stream:
    """One answer. Times are `time.perf_counter`'s; 0.0 for what did not happen."""

    begun: float
    first: float = 0.0
    ended: float = 0.0
    parts: list[bytes] = field(default_factory=list)

    @property
    def seconds_to_first(self) -> float:
        return self.first - self.begun

    @property
    def seconds(self) -> float:
        return self.ended - self.begun

    @property
    def status(self) -> bytes:
        return b"".join(self.parts[:1])[:12]

    def pieces(self) -> list[str]:
        """The text of each delta."""
        return [piece.decode() for piece in _PIECES.findall(_without_chunks(b"".join(self.parts)))]

    @property
    def text(self) -> str:
        return "".join(self.pieces())


def _without_chunks(received: bytes) -> bytes:
    """The body of an answer in chunks."""
    _, _, rest = received.partition(b"\r\n\r\n")
    parts, at = [], 0
    while (end := rest.find(b"\r\n", at)) > 0:
        size = int(rest[at:end].split(b";")[0], 16)
        parts.append(rest[end + 2 : end + 2 + size])
        at = end + 4 + size
    return b"".join(parts)


class Client:
    """Streams over connections that stay open, as many as there are streams at once."""

    def __init__(self) -> None:
        self._idle: dict[int, list[_Connection]] = {}
        self._all: set[_Connection] = set()

    async def stream(self, target: Target, body: bytes, *, read_seconds: float = 0.0) -> Stream:
        """Read one answer to its end. Behind its first token it is read each `read_seconds`, or as it arrives if 0: the
        kernel keeps what arrives meanwhile, and the processor is left to the servers.

        Raises ConnectionError if the server closes before the end, and Refused if it answers with an error."""
        idle = self._idle.setdefault(target.port, [])
        while idle and idle[-1].is_closed:
            idle.pop()
        if idle:
            connection = idle.pop()
            try:
                return await self._asked(connection, target, body, read_seconds)
            except ConnectionError:
                # The server has closed a connection that was idle for long, while the request was on its way.
                if connection.has_answered:
                    raise
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", target.port)
        self._all.add(connection)
        return await self._asked(connection, target, body, read_seconds)

    async def _asked(self, connection: _Connection, target: Target, body: bytes, read_seconds: float) -> Stream:
        try:
            stream = await connection.ask(target.request(body), read_seconds)
        except BaseException:
            # A stream that is given up: what is left of it is not read.
            self._drop(connection)
            raise
        if stream.status != _OK:
            self._drop(connection)
            raise Refused.of(b"".join(stream.parts))
        self._idle[target.port].append(connection)
        return stream

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def _drop(self, connection: _Connection) -> None:
        connection.close()
        self._all.discard(connection)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._stream = Stream(0.0)
        self._tail = b""
        self._read_seconds = 0.0
        self._done: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        return self._transport is None

    @property
    def has_answered(self) -> bool:
        return bool(self._stream.parts)

    async def ask(self, request: bytes, read_seconds: float) -> Stream:
        assert self._transport is not None
        self._read_seconds = read_seconds
        self._done = asyncio.get_running_loop().create_future()
        self._tail = b""
        self._stream = stream = Stream(time.perf_counter())
        self._transport.write(request)
        await self._done
        return stream

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(error or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        stream = self._stream
        stream.parts.append(data)
        near = self._tail + data
        if not stream.first and _FIRST_TOKEN in near:
            stream.first = time.perf_counter()
        self._tail = near[-len(_END) :]
        # An answer in one piece is a refusal.
        if self._tail == _END or (len(stream.parts) == 1 and b"\r\ncontent-length:" in data[:1000].lower()):
            stream.ended = time.perf_counter()
            if self._done is not None and not self._done.done():
                self._done.set_result(None)
        elif stream.first and self._read_seconds and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(self._read_seconds, self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
