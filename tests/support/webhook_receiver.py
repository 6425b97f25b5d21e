"""A receiver of webhooks over a real socket. Its answers are looked up by the path: `receiver.answers("/a", 500)`."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request. The names of the headers are in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Path:
    """What a path answers to its n-th request; the last answer to all that follow.

    A status; "drop" closes the connection without an answer; "hold" waits for `released` before it answers 200.
    """

    answers: list[int | str] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class WebhookReceiver:
    """All paths of one server."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.paths: defaultdict[str, Path] = defaultdict(Path)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for path in self.paths.values():
            path.released.set()
        self._server.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answers(self, path: str, *answers: int | str, **headers: str) -> Path:
        self.paths[path] = Path(list(answers), {name.replace("_", "-"): value for name, value in headers.items()})
        return self.paths[path]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            name = head.split(" ")[1]
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            headers = {key.lower(): value for key, value in fields.items()}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path = self.paths[name]
            answer = path.answers[min(len(path.requests), len(path.answers) - 1)]
            path.requests.append(Received(headers, body))
            if answer == "drop":
                writer.transport.abort()
                return
            if answer == "hold":
                path.held.set()
                await path.released.wait()
                answer = 200
            more = "".join(f"{key}: {value}\r\n" for key, value in path.headers.items())
            writer.write(f"HTTP/1.1 {answer} X\r\n{more}Content-Length: 2\r\nConnection: close\r\n\r\nok".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
