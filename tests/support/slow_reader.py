"""A client that reads its stream as slowly as a test wants: with buffers so small that the server notices."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass
class SlowReader:
    """One streamed response over HTTP/1.0, whose body ends with its connection."""

    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)

    @classmethod
    async def open(
        cls, base_url: str, body: dict[str, Any] | None, headers: dict[str, str] | None = None, path: str = ""
    ) -> Self:
        """A new response's stream; without a body, that of the one whose path this is."""
        url = urlsplit(base_url)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (url.hostname, url.port))
        data = json.dumps({"model": "fake", "stream": True, **body}).encode() if body is not None else b""
        lines = [
            f"{'GET' if body is None else 'POST'} /v1/responses{path} HTTP/1.0",
            f"host: {url.netloc}",
            "content-type: application/json",
            f"content-length: {len(data)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        await loop.sock_sendall(connection, "\r\n".join([*lines, "", ""]).encode() + data)
        return cls(connection)

    async def read(self, size: int = 65536) -> int:
        """How many bytes came; 0 at the end. Raises ConnectionError for a connection that was cut."""
        chunk = await asyncio.get_running_loop().sock_recv(self.connection, size)
        self.received += chunk
        return len(chunk)

    async def read_to_end(self) -> None:
        while await self.read():
            pass

    def events(self) -> list[dict[str, Any]]:
        """Those that have come as a whole."""
        lines = bytes(self.received).split(b"\n")[:-1]
        return [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]

    def close(self) -> None:
        self.connection.close()
