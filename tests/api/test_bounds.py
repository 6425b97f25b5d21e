"""What one connection may take of the API's process, before and after it shows a key. The times are shorter here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect

from api import body as body_module
from api import errors
from api.body import read_body
from api.connections.http import BoundedHttp
from api.connections.slow_readers import SlowReaders
from api.connections.websocket import BoundedSocket
from tests.support.stack import Stack

KIB = 1024
BIG = 20 * KIB * KIB


class HastyHttp(BoundedHttp):
    header_seconds = 0.6


class HastySocket(BoundedSocket):
    last_seconds = 0.3


def application() -> ASGIApp:
    app = FastAPI()
    errors.install(app)

    @app.get("/")
    async def hello() -> PlainTextResponse:
        return PlainTextResponse("hello")

    @app.get("/big")
    async def big() -> PlainTextResponse:
        return PlainTextResponse(b"x" * BIG)

    @app.get("/later")
    async def later() -> PlainTextResponse:
        await asyncio.sleep(1.5)
        return PlainTextResponse("late")

    @app.post("/")
    async def take(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await read_body(request, BIG))))

    @app.websocket("/")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text(await websocket.receive_text())

    @app.websocket("/big")
    async def big_messages(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            for _ in range(10):
                await websocket.send_text("\N{EURO SIGN}" * (BIG // 30))
            await websocket.receive_text()

    return SlowReaders(app, seconds=0.8, socket_seconds=0.8)


@asynccontextmanager
async def served(app: ASGIApp, **options: Any) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=HastyHttp, ws=HastySocket, ws_per_message_deflate=False, log_config=None, lifespan="off", **options
    )
    server = uvicorn.Server(config)
    # Signals are the tests' own.
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1], server
    finally:
        server.should_exit = server.force_exit = True
        await serving


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    monkeypatch.setattr(body_module, "WINDOW_SECONDS", 0.6)
    async with served(application(), timeout_keep_alive=2) as started:
        yield started


@pytest.fixture
def port(running: tuple[int, uvicorn.Server]) -> int:
    return running[0]


class Raw:
    """A connection whose system buffers are small, so that the server notices who does not read."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)
        self._port = port

    async def __aenter__(self) -> Raw:
        await asyncio.get_running_loop().sock_connect(self._socket, ("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def read(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 65536), 50)

    async def rest(self) -> bytes:
        """All that comes until the server closes or cuts the connection."""
        got = bytearray()
        with contextlib.suppress(ConnectionError):
            while chunk := await self.read():
                got += chunk
        return bytes(got)

    async def until(self, end: bytes) -> bytes:
        """All that comes up to these bytes."""
        got = b""
        while not got.endswith(end):
            chunk = await self.read()
            assert chunk, got
            got += chunk
        return got


async def none_left(server: uvicorn.Server) -> None:
    """Returns when the server has no connection any more, and so nothing that waits for one."""
    async with asyncio.timeout(15):
        while server.server_state.connections:
            await asyncio.sleep(0.05)


HELLO = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


# --- headers


@pytest.mark.parametrize(
    "piece", [b"x-a: " + b"a" * 8000 + b"\r\n", b"a" * 8000, b"a:\r\n" * 2000], ids=["many", "one without end", "small"]
)
async def test_headers_have_a_bound(port: int, piece: bytes) -> None:
    sent = 0
    async with Raw(port) as raw:
        await raw.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-b: " + b"\r\n" * piece.endswith(b"\n"))
        with contextlib.suppress(ConnectionError):
            while sent < BIG:
                await raw.send(piece)
                sent += len(piece)
                await asyncio.sleep(0)
        assert sent < BIG


async def test_who_sends_too_large_headers_is_told(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert (await client.get("/", headers={"x-a": "a" * 60 * KIB})).status_code == 200
        answer = await client.get("/", headers={"x-a": "a" * 64 * KIB})
        assert answer.status_code == 431
        assert answer.headers["connection"] == "close"
        assert (await client.get("/", headers={"x-a": "a"})).status_code == 200
    async with Raw(port) as raw:
        await raw.send(b"GET /?" + b"a" * 64 * KIB)
        assert (await raw.rest()).startswith(b"HTTP/1.1 431")


async def test_trailers_are_headers(port: int) -> None:
    async with Raw(port) as raw:
        await raw.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-a: ")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < BIG:
                await raw.send(b"a" * 8000)
                sent += 8000
                await asyncio.sleep(0)
        assert sent < BIG


@pytest.mark.parametrize("began", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ", HELLO + HELLO[:-2]])
async def test_headers_that_do_not_come_are_not_waited_for(port: int, began: bytes) -> None:
    async with Raw(port) as raw:
        if began:
            await raw.send(began)
        got = await asyncio.wait_for(raw.rest(), 50)
        assert got.count(b"200 OK") == began.count(HELLO)


async def test_headers_that_come_slowly_have_no_more_time(port: int) -> None:
    async with Raw(port) as raw:
        reading = asyncio.create_task(raw.rest())
        await raw.send(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                await raw.send(b"x-a: a\r\n")
                await asyncio.sleep(0.05)
                if reading.done():
                    break
        assert await asyncio.wait_for(reading, 1) == b""


@pytest.mark.campaign
async def test_a_connection_is_kept_between_requests_and_while_one_is_answered(port: int) -> None:
    """An idle one, also after an empty line, for as long as uvicorn keeps it; and an answer takes the time it takes,
    with the next request half sent."""
    async with Raw(port) as raw:
        for pause in (0.0, 1.0):
            await asyncio.sleep(pause)
            await raw.send(HELLO)
            await raw.until(b"hello")
        await raw.send(b"\r\n")
        await asyncio.sleep(1)
        await raw.send(HELLO.replace(b"/", b"/later", 1) + HELLO[:10])
        await raw.until(b"late")
        await raw.send(HELLO[10:])
        await raw.until(b"hello")


# --- bodies


async def test_a_body_that_comes_too_slowly_is_a_408(port: int) -> None:
    """What came at once before buys it no time."""
    async with Raw(port) as raw:
        await raw.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (10 * KIB * KIB))
        await raw.send(b"x" * (8 * KIB * KIB))
        reading = asyncio.create_task(raw.read())
        for _ in range(200):
            await raw.send(b"x")
            await asyncio.sleep(0.05)
            if reading.done():
                break
        answer = await reading
        assert answer.startswith(b"HTTP/1.1 408")
        if b"}}" not in answer:
            answer += await raw.until(b"}}")
        assert b'"code":"request_timeout"' in answer
        # The rest is not waited for either.
        await raw.send(b"x")
        await asyncio.wait_for(raw.rest(), 50)


async def test_a_body_that_comes_steadily_is_read(port: int) -> None:
    """For four times as long as a body that brings nothing."""
    size = 200 * KIB
    async with Raw(port) as raw:
        await raw.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (12 * size))
        for _ in range(12):
            await raw.send(b"x" * size)
            await asyncio.sleep(0.2)
        await raw.until(str(12 * size).encode())


# --- answers


async def test_an_answer_that_nobody_reads_is_dropped(running: tuple[int, uvicorn.Server]) -> None:
    port, server = running
    for version in (b"1.1", b"1.0"):
        async with Raw(port) as raw:
            await raw.send(b"GET /big HTTP/" + version + b"\r\nhost: x\r\n\r\n")
            while not server.server_state.connections:
                await asyncio.sleep(0.01)
            await none_left(server)


async def test_further_requests_buy_no_time(running: tuple[int, uvicorn.Server]) -> None:
    port, server = running
    async with Raw(port) as raw:
        await raw.send(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n")
        cut = asyncio.create_task(none_left(server))
        with contextlib.suppress(ConnectionError):
            while not cut.done():
                await raw.send(HELLO)
                await asyncio.sleep(0.1)
        await cut


async def test_an_answer_that_is_read_slowly_comes_whole(port: int) -> None:
    async with Raw(port) as raw:
        await raw.send(b"GET /big HTTP/1.0\r\nhost: x\r\n\r\n")
        got = 0
        for _ in range(12):
            got += len(await raw.read())
            await asyncio.sleep(0.2)
        got += len(await raw.rest())
        assert got > BIG


# --- sockets


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's, masked with nothing."""
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_socket_that_nobody_reads_is_dropped(running: tuple[int, uvicorn.Server]) -> None:
    port, server = running
    async with Raw(port) as raw:
        await raw.send(UPGRADE.replace(b"GET /", b"GET /big"))
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        await none_left(server)


@pytest.mark.campaign
async def test_a_socket_that_is_read_slowly_gets_all_messages(port: int) -> None:
    """For longer than one that reads nothing is kept, one message is on its way."""
    async with Raw(port) as raw:
        await raw.send(UPGRADE.replace(b"GET /", b"GET /big"))
        got = 0
        for _ in range(12):
            got += len(await raw.read())
            await asyncio.sleep(0.2)
        while got < BIG - 30:
            chunk = await raw.read()
            assert chunk, f"cut after {got} bytes"
            got += len(chunk)


async def test_a_socket_with_nothing_to_read_is_kept(port: int) -> None:
    async with connect(f"ws://127.0.0.1:{port}/") as socket:
        await asyncio.sleep(1.2)
        await socket.send("hello")
        assert await socket.recv() == "hello"


async def test_pings_of_who_reads_nothing_are_not_read_and_the_socket_is_cut() -> None:
    async with served(application(), ws_ping_interval=0.5, ws_ping_timeout=0.5) as (port, server), Raw(port) as raw:
        await raw.send(UPGRADE)
        assert b"101" in await raw.read()
        sent, pings = 0, frame(9, b"p" * 125) * 500
        most = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(3):
                while sent < 10 * BIG:
                    await raw.send(pings)
                    sent += len(pings)
                    most = max(
                        most, *(one.transport.get_write_buffer_size() for one in server.server_state.connections)
                    )
        assert most < 2 * KIB * KIB
        assert sent < 10 * BIG
        await none_left(server)


async def test_a_socket_whose_client_reads_is_as_it_was() -> None:
    """Messages both ways at once, larger than all buffers, with pings between them."""
    async with (
        served(application(), ws_ping_interval=0.2, ws_ping_timeout=5) as (port, _),
        connect(f"ws://127.0.0.1:{port}/", max_size=None) as client,
    ):
        assert not client.protocol.extensions
        messages = [str(number) * 500_000 for number in range(10)]
        sending = asyncio.create_task(_send(client, messages))
        for message in messages:
            assert await client.recv() == message
            await asyncio.sleep(0.1)
        await sending
        await (await client.ping())


async def _send(client: Any, messages: list[str]) -> None:
    for message in messages:
        await client.send(message)


# --- the API itself


async def test_the_api_has_these_bounds(client: httpx.AsyncClient, stack: Stack) -> None:
    answer = await client.get("/healthz", headers={"x-a": "a" * 64 * KIB})
    assert answer.status_code == 431
    async with connect(f"{stack.api_url.replace('http', 'ws')}/v1/responses") as socket:
        assert not socket.protocol.extensions
