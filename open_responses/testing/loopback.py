"""An HTTP server on loopback with canned answers. It records each request, and when a client disconnects."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from typing_extensions import override


@dataclass(frozen=True)
class Canned:
    """One HTTP answer, byte for byte.

    Attributes:
        body: The body.
        content_type: The `Content-Type`.
        status: The HTTP status.
        headers: Further headers.
        cut: The size in bytes of the pieces in which the body is sent; None for one piece.
        holds: Whether the connection stays open after the body, as for a stream that continues.
        breaks: Whether the connection closes before the announced length of the body.
    """

    body: bytes = b""
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    holds: bool = False
    breaks: bool = False


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        head: The request line and the headers, as received.
        body: The body.
    """

    head: str
    body: bytes

    @property
    def text(self) -> str:
        """The body with JSON's escapes decoded, to search for a text."""
        try:
            return json.dumps(json.loads(self.body), ensure_ascii=False)
        except ValueError:
            return self.body.decode(errors="replace")

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


class LoopbackServer(ABC):
    """A server on a free port of 127.0.0.1, with a task for each connection. Its end cancels them.

    Attributes:
        port: The port, once the server has started.
    """

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection, and close it."""


class Loopback(LoopbackServer):
    """The server: `async with Loopback(answer) as upstream:`.

    Each request gets the next answer, and the last answer repeats. Without any answer, the server accepts connections
    and sends nothing.

    Attributes:
        asked: The requests so far.
        hung_up: Set when a client has closed its connection before the end of the answer.
    """

    def __init__(self, *answers: Canned) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.hung_up = asyncio.Event()
        self._answers = list(answers)

    @override
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await _read_request(reader))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0] if self._answers else None
            if answer is not None:
                await _send(writer, answer)
            if answer is None or answer.holds:
                await reader.read()
                self.hung_up.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    if fields.get("transfer-encoding") != "chunked":
        return Asked(head, await reader.readexactly(int(fields.get("content-length", "0"))))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    return Asked(head, body)


async def _send(writer: asyncio.StreamWriter, answer: Canned) -> None:
    head = [f"HTTP/1.1 {answer.status} Canned", f"Content-Type: {answer.content_type}", "Connection: close"]
    head += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.breaks:
        head.append(f"Content-Length: {len(answer.body) + 1}")
    writer.write("\r\n".join([*head, "", ""]).encode())
    step = answer.cut or max(1, len(answer.body))
    for start in range(0, len(answer.body), step):
        writer.write(answer.body[start : start + step])
        await writer.drain()
        await asyncio.sleep(0)
