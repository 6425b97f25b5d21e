"""A Redis that takes what a worker appends, and sends what an API process subscribes to, at once and in this process.

Its connections have no socket: a socket's calls depend on how the kernel cuts the bytes.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

_APPENDED = b"*3\r\n:0\r\n:1\r\n:0\r\n"


class Pipe(asyncio.Transport):
    """A connection's end: what is written to it goes to `taken`, and what it receives comes from `feed`."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[bytes] = []
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def write(self, data: Any) -> None:
        self.taken.append(bytes(data))

    def feed(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class _Appends(Pipe):
    """Acknowledges each append of a pipeline; the replies come in one piece."""

    def __init__(self, memory: RedisOfMemory) -> None:
        super().__init__()
        self._memory = memory
        self._loop = asyncio.get_running_loop()

    def write(self, data: Any) -> None:
        appends = bytes(data).count(b"EVALSHA")
        if appends:
            self._loop.call_soon(self._acknowledge, appends)

    def _acknowledge(self, appends: int) -> None:
        self.feed(_APPENDED * appends)
        self._memory.note(appends)


class RedisOfMemory:
    """Has what `open_connection`, the appender and a follower use of redis-py's client."""

    def __init__(self) -> None:
        self.pipe: Pipe | None = None
        self._appended = 0
        self._enough: tuple[int, asyncio.Future[None]] | None = None

    # --- for the worker

    def note(self, appends: int) -> None:
        self._appended += appends
        if self._enough is not None and self._appended >= self._enough[0] and not self._enough[1].done():
            self._enough[1].set_result(None)

    async def appended(self, more: int) -> None:
        """Wait for so many further appends."""
        future = asyncio.get_running_loop().create_future()
        self._enough = (self._appended + more, future)
        await future

    async def eval(self, *_: object) -> list[int]:
        return [1, 0, 0]

    # --- for the API: a log without events

    def pipeline(self, **_: object) -> Any:
        async def execute() -> list[Any]:
            return [[], (None, None, None)]

        return SimpleNamespace(execute_command=lambda *_: None, hmget=lambda *_: None, execute=execute)

    # --- as the pool of redis-py

    @property
    def connection_pool(self) -> RedisOfMemory:
        return self

    def make_connection(self) -> Any:
        async def connect() -> None:
            connection._writer = SimpleNamespace(transport=_Appends(self) if self.pipe is None else self.pipe)

        connection = SimpleNamespace(connect=connect, socket_timeout=5, _close=lambda: None)
        return connection
