"""Requests that are still running when uvicorn's graceful period ends, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.connections.shutdown import ShutdownAnswers


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """A server whose graceful period is over at once."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="critical", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    yield server, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


async def test_a_request_that_is_cut_off_before_its_answer_is_a_503_that_says_when_to_come_back() -> None:
    has_come = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        has_come.set()
        await asyncio.Event().wait()

    async with served(ShutdownAnswers(waits)) as (server, url), httpx.AsyncClient(trust_env=False) as client:
        asking = asyncio.create_task(client.get(url))
        await asyncio.wait_for(has_come.wait(), 50)
        server.should_exit = True
        answer = await asyncio.wait_for(asking, 50)
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "unavailable"
    assert answer.headers["retry-after"] == "1"


async def test_an_answer_that_has_begun_is_cut_off_with_its_connection() -> None:
    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.Event().wait()

    async with (
        served(ShutdownAnswers(begins)) as (server, url),
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("GET", url) as answer,
    ):
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"half"
        server.should_exit = True
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(pieces)
