"""A WebSocket whose client, worker or API ends or dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket as sockets
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Event, Stack, another_api, check_whole, events_of, http_client, until
from tests.support.websocket_client import _TERMINAL, Client, connected, sent


async def true(condition: bool) -> bool:
    return condition


async def test_a_socket_that_breaks_leaves_what_is_stored_running_and_cancels_the_rest(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    stored = upstream.says("breaks, stored", Script(words=10, hold_after=3))
    lost = upstream.says("breaks, not stored", Script(words=10, hold_after=3))
    async with connected(stack.api_url) as ws, connected(stack.api_url) as other:
        await ws.ask(input="breaks, stored")
        await other.ask(input="breaks, not stored", store=False)
        events = [await ws.hear() for _ in range(3)]
        await asyncio.wait_for(lost.held.wait(), 50)
        await asyncio.wait_for(stored.held.wait(), 50)
        ws.connection.transport.abort()
        other.connection.transport.abort()
    await asyncio.wait_for(lost.gone.wait(), 50)
    assert not stored.gone.is_set()
    stored.released.set()
    rest = [event async for event in events_of(client, resume=(events[0]["response"]["id"], 2))]
    check_whole(events + rest, stored.text)


async def test_a_worker_that_dies_leaves_no_gap_on_the_socket(ws: Client, stack: Stack, upstream: Upstream) -> None:
    for prompt in ("before the kill", "killed on the socket"):
        upstream.says(prompt, Script(words=60, gap=0.02))
    first = await ws.answer(input="before the kill", store=False)
    await ws.ask(input="killed on the socket", store=False, previous_response_id=first["id"])
    events: list[Event] = []
    async for event in ws.events():
        events.append(event)
        if len(events) == 15:
            await stack.kill_seen(await stack.busy_worker())
    check_whole(events, upstream.script_of("killed on the socket").text)
    assert [content for role, content in sent(upstream) if role == "user"] == [
        "before the kill",
        "killed on the socket",
    ]


@pytest.mark.campaign
async def test_what_a_socket_remembered_survives_a_dead_worker_and_an_empty_redis(
    ws: Client, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("flushed on the socket", Script(words=10, hold_after=0))
    upstream.says("before the flush", Script(words=1))
    first = await ws.answer(input="before the flush", store=False)
    await ws.ask(input="flushed on the socket", store=False, previous_response_id=first["id"])
    await asyncio.wait_for(script.held.wait(), 50)
    await stack.kill(await stack.busy_worker())
    await stack.flush()
    script.released.set()
    check_whole([event async for event in ws.events()], script.text)
    assert [content for _, content in sent(upstream)] == ["before the flush", "w0 ", "flushed on the socket"]


@pytest.mark.campaign
async def test_the_api_may_die_and_the_client_goes_on_over_http(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("the api dies", Script(words=40, gap=0.02))
    events: list[Event] = []
    async with connected(stack.api_url) as ws:
        await ws.ask(input="the api dies")
        with contextlib.suppress(ConnectionClosed):
            async for event in ws.events():
                events.append(event)
                if len(events) == 10:
                    await stack.kill("api")
    assert events[-1]["type"] not in _TERMINAL
    await stack.heal()
    async with http_client(stack.api_url) as client:
        last = events[-1]["sequence_number"]
        rest = [event async for event in events_of(client, resume=(events[0]["response"]["id"], last))]
    check_whole(events + rest, script.text)


@pytest.mark.campaign
async def test_an_api_that_shuts_down_says_so_at_once(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("the api leaves", Script(words=5, hold_after=2))
    async with connected(stack.api_url) as ws, connected(stack.api_url) as idle:
        await ws.ask(input="the api leaves")
        await asyncio.wait_for(script.held.wait(), 50)
        events = [await ws.hear() for _ in range(3)]
        stack.signal("api", signal.SIGTERM)
        for leaving in (ws, idle):
            assert await leaving.closed_with() == 1012
        await until(lambda: true(stack.processes["api"].poll() is not None), 5)
    await stack.heal()
    script.released.set()
    async with http_client(stack.api_url) as client:
        rest = [event async for event in events_of(client, resume=(events[0]["response"]["id"], 2))]
    check_whole(events + rest, script.text)


@pytest.mark.campaign
async def test_a_connection_ends_after_its_time_and_its_stored_response_goes_on(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stack.env, "OPEN_RESPONSES_SOCKET_SECONDS", "3")
    stored = upstream.says("outlives its socket", Script(words=10, hold_after=3))
    lost = upstream.says("ends with its socket", Script(words=10, hold_after=3))
    async with another_api(stack) as api:
        url = str(api.base_url).rstrip("/")
        async with connected(url) as ws, connected(url) as other, connected(url) as idle:
            await ws.ask(input="outlives its socket")
            await other.ask(input="ends with its socket", store=False)
            events = []
            while (heard := await ws.hear())["type"] != "error":
                events.append(heard)
            error = heard["error"]
            assert (heard["status"], error["code"]) == (400, "websocket_connection_limit_reached")
            response_id, last = events[0]["response"]["id"], events[-1]["sequence_number"]
            assert f"GET /v1/responses/{response_id}?stream=true&starting_after={last}" in error["message"]
            while (heard := await other.hear())["type"] != "error":
                pass
            assert "is cancelled" in heard["error"]["message"]
            error = await idle.is_refused(400, "websocket_connection_limit_reached")
            assert error["message"].endswith("Create a new websocket connection to continue.")
            for ended in (ws, other, idle):
                assert await ended.closed_with() == 1000
    await asyncio.wait_for(lost.gone.wait(), 50)
    stored.released.set()
    rest = [event async for event in events_of(client, resume=(response_id, last))]
    check_whole(events + rest, stored.text)


@pytest.mark.campaign
async def test_a_client_that_reads_nothing_is_dropped_and_its_stored_response_goes_on(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stack.env, "OPEN_RESPONSES_SOCKET_SEND_SECONDS", "2")
    # The answer comes five times: in deltas, and whole in the four events at its end.
    script = upstream.says("much to read", Script(literal=("x" * 49_999 + " ") * 50))
    async with another_api(stack) as api:
        port = api.base_url.port
        assert port is not None
        raw = sockets.socket()
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        raw.setblocking(False)
        url = str(api.base_url).rstrip("/")
        async with connected(url, sock=raw, compression=None, max_queue=1, ping_interval=None) as ws:
            await ws.ask(input="much to read")
            heard = [await ws.hear()]
            response_id = heard[0]["response"]["id"]
            ws.connection.transport.pause_reading()

            async def is_dropped() -> bool:
                return not await _connections(port, raw.getsockname()[1])

            async def is_whole() -> bool:
                return bool((await client.get(f"/v1/responses/{response_id}")).json()["status"] == "completed")

            async with connected(url) as other:
                await other.answer(input="hello")
            await until(is_whole, 30)
            await until(is_dropped, 30)
    rest = [event async for event in events_of(client, resume=(response_id, heard[-1]["sequence_number"]))]
    check_whole([*heard, *rest], script.text)


async def _connections(server_port: int, client_port: int) -> bool:
    """Whether the server's end of a connection is still open, as the kernel sees it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        ports = (int(local.split(":")[1], 16), int(remote.split(":")[1], 16))
        if ports == (server_port, client_port) and state == "01":
            return True
    return False
