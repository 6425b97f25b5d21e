"""TCP links between the servers that a campaign can slow down, cut, reset and point elsewhere.

The links run in a process of their own (`python -m tests.campaigns.tcp_proxy`), so that a busy test process does not
look like a slow network. It is controlled by JSON lines on its standard input and confirms each on its output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any, Self

# The delay of a slow link, for each chunk that a client sends: one command, or one pipeline.
_SLOW_SECONDS = 0.2
_CHUNK_BYTES = 64 * 1024
_START_SECONDS = 30.0


class Link:
    """One listening port and its target.

    `pass` forwards. `slow` delays what clients send. `silent` forwards nothing and closes nothing, as when packets are
    dropped; what was sent meanwhile arrives later. `reset` ends every connection with a RST and refuses new ones.
    """

    def __init__(self, port: int, target: int) -> None:
        self._port = port
        self._target = target
        self._is_slow = False
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=_CHUNK_BYTES)

    async def set_mode(self, mode: str) -> None:
        self._is_slow = mode == "slow"
        if mode == "silent":
            self._open.clear()
        else:
            self._open.set()
        if mode == "reset":
            if self._server is not None:
                self._server.close()
                self._server = None
            self._reset_all()
        elif self._server is None:
            await self.start()

    def point_to(self, target: int) -> None:
        """Connections to the old target are reset, as a proxy in front of a failed primary does it."""
        self._target = target
        self._reset_all()

    def _reset_all(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open.wait()
            with contextlib.suppress(OSError):
                upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(upstream)
                try:
                    await self._forward_both_ways(reader, writer, upstream_reader, upstream)
                finally:
                    self._writers.discard(upstream)
                    upstream.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _forward_both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        """Until one side closes."""
        pumps = [
            asyncio.create_task(self._pump(reader, upstream, is_request=True)),
            asyncio.create_task(self._pump(upstream_reader, writer, is_request=False)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._open.wait()
            if is_request and self._is_slow:
                await asyncio.sleep(_SLOW_SECONDS)
            writer.write(data)
            await writer.drain()


class Links:
    """The test's side: `async with Links({"api-redis": (port, target)}) as links`."""

    def __init__(self, links: dict[str, tuple[int, int]]) -> None:
        self.ports = {name: port for name, (port, _) in links.items()}
        self._links = links
        self._process: Process | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        command = (sys.executable, "-m", "tests.campaigns.tcp_proxy", json.dumps(self._links))
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)
        await self._confirmed()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def set_mode(self, mode: str, *names: str) -> None:
        """`pass`, `slow`, `silent` or `reset` for these links."""
        await self._order({"mode": mode, "links": names})

    async def point_to(self, target: int, *names: str) -> None:
        await self._order({"target": target, "links": names})

    async def _order(self, order: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        async with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._confirmed()

    async def _confirmed(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _START_SECONDS)
        assert line == b"ok\n", f"the proxy said {line!r}"


async def main(given: dict[str, tuple[int, int]]) -> None:
    """Serve until the standard input ends."""
    links = {name: Link(port, target) for name, (port, target) in given.items()}
    for link in links.values():
        await link.start()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ok", flush=True)
    while line := await orders.readline():
        order = json.loads(line)
        for name in order["links"]:
            if "target" in order:
                links[name].point_to(order["target"])
            else:
                await links[name].set_mode(order["mode"])
        print("ok", flush=True)
    # Open connections do not keep it.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
