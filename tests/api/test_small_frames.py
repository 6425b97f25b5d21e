"""A WebSocket's small frames: bounded for each connection, and parsed between the requests of others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from api.connections.websocket import BoundedSocket

PING, PONG, CONT, TEXT = 9, 10, 0, 1


class Unbounded(BoundedSocket):
    """Any number of frames: what is left is how they are parsed."""

    frames_at_once = frames_per_second = 1e12


class Hasty(BoundedSocket):
    window_seconds = 0.3


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    websocket = WebSocket(scope, receive, send)
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.send_text(str(len(await websocket.receive_text())))


@asynccontextmanager
async def served(protocol: type[BoundedSocket]) -> AsyncIterator[int]:
    config = uvicorn.Config(
        application,
        port=0,
        ws=protocol,
        ws_max_size=64 * 1024 * 1024,
        ws_per_message_deflate=False,
        log_config=None,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await serving


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, fin=fin).serialize(mask=True)


async def ended(client: asyncio.StreamReader) -> tuple[int, bytes]:
    """The code and the reason that the server closes with."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while chunk := await asyncio.wait_for(client.read(65536), 50):
            got += chunk
    at = got.rindex(b"\x88")
    return int.from_bytes(got[at + 2 : at + 4], "big"), got[at + 4 :]


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("first", "each"),
    [
        (b"", frame(PING)),
        (b"", frame(PONG, b"x")),
        (frame(TEXT, b"x", fin=False), frame(CONT, b"x", fin=False)),
        (frame(TEXT, b"x", fin=False), frame(CONT, b"", fin=False)),
        (b"", frame(TEXT, b"x")),
    ],
    ids=["pings", "pongs", "continuations", "empty continuations", "messages"],
)
async def test_a_flood_of_small_frames_is_closed(first: bytes, each: bytes) -> None:
    async with served(BoundedSocket) as port, raw(port) as (reader, writer):
        sent = writer.write(first + each * 2000)
        assert sent is None
        assert await ended(reader) == (1008, b"too many small frames")


async def test_who_sends_a_few_or_large_frames_is_served() -> None:
    async with (
        served(BoundedSocket) as port,
        connect(f"ws://127.0.0.1:{port}/", compression=None, max_size=None) as client,
    ):
        for _ in range(100):
            await (await client.ping())
        await client.send("x" * 1024 for _ in range(5000))
        assert await client.recv() == str(1024 * 5000)
        await client.send("x" * 10_000_000)
        assert await client.recv() == "10000000"


async def test_a_message_that_comes_too_slowly_is_closed() -> None:
    async with served(Hasty) as port, raw(port) as (reader, writer):
        writer.write(frame(TEXT, b"x" * 1000, fin=False))
        assert await ended(reader) == (1008, b"the message came too slowly")
    async with served(Hasty) as port, raw(port) as (reader, writer):
        # A frame of which the end does not come.
        writer.write(frame(TEXT, b"x" * 1000)[:-1])
        assert await ended(reader) == (1008, b"the message came too slowly")


async def test_frames_are_parsed_between_other_requests() -> None:
    """Half a megabyte of pings takes seconds to parse; another client's requests are answered meanwhile."""
    pings = frame(PING) * 100_000
    async with served(Unbounded) as port, raw(port) as (reader, writer):
        answers: list[float] = []
        begun = time.monotonic()
        writer.write(pings)
        got, pongs = 0, len(pings) // 3

        async def read_pongs() -> None:
            nonlocal got
            while got < pongs:
                got += len(await reader.read(65536))

        reading = asyncio.create_task(read_pongs())
        while not reading.done():
            sent = time.monotonic()
            await get(port)
            answers.append(time.monotonic() - sent)
        await reading
        # In one go, as uvicorn does it by itself, no more than one request comes in between.
        assert len(answers) >= 5
        assert max(answers) < (time.monotonic() - begun) / 2


async def get(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
