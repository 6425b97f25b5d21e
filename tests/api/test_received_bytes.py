"""What is being received is counted, for each key and for the process; and what is refused counts as a read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.api_with_keys import api_of_the_module, bearer, blocks_of
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import until

KEY_BYTES = 100_000
KEYS = {
    "holds": f"max_received_bytes = {KEY_BYTES}",
    "holds-too": f"max_received_bytes = {KEY_BYTES}",
    "socket": f"max_received_bytes = {KEY_BYTES}",
    "other": "",
    "bad": "reads_per_minute = 3",
    "leaves": "reads_per_minute = 1",
    "replays": "reads_per_minute = 2",
    "good": "reads_per_minute = 1",
    "bad-turns": "reads_per_minute = 2",
}


api = api_of_the_module(*blocks_of("received", KEYS), MAX_RECEIVED_BYTES="250000")


@pytest.fixture(autouse=True)
def model(upstream: Upstream) -> None:
    upstream.says("received", Script(words=1))


async def ask(api: httpx.AsyncClient, key: str, size: int = 0, **headers: str) -> httpx.Response:
    body = {"model": "fake", "input": "received" + " " * size}
    return await api.post("/v1/responses", json=body, headers={**bearer(key), **headers})


@asynccontextmanager
async def unfinished(
    api: httpx.AsyncClient, key: str, size: int, announced: int
) -> AsyncIterator[asyncio.StreamReader]:
    """A request whose body never ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.base_url.port)
    try:
        head = [
            "POST /v1/responses HTTP/1.1",
            "host: x",
            f"authorization: Bearer {key}",
            f"content-length: {announced}",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + b" " * size)
        await writer.drain()
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def has_no_room(api: httpx.AsyncClient, key: str, size: int, status: int = 429) -> Callable[[], Awaitable[bool]]:
    """Whether so much more is refused. It is announced only: what is sent would take the room of what is waited for."""

    async def refused() -> bool:
        async with unfinished(api, key, 0, size) as reader:
            try:
                line = await asyncio.wait_for(reader.readline(), 0.3)
            except TimeoutError:
                return False
            return f" {status} ".encode() in line

    return refused


async def test_unfinished_bodies_count_against_their_key_alone(api: httpx.AsyncClient) -> None:
    async with unfinished(api, "holds", 80_000, 90_000):
        await until(has_no_room(api, "holds", 30_000))
        answer = await ask(api, "holds", 30_000)
        is_error(answer, 429, "rate_limit_exceeded", None)
        assert answer.headers["retry-after"] == "2"
        assert (await ask(api, "holds", 1000)).status_code == 200
        assert (await ask(api, "other", 100_000)).status_code == 200

    async def has_room() -> bool:
        return (await ask(api, "holds", 90_000)).status_code == 200

    await until(has_room)
    # What was answered holds nothing.
    for _ in range(3):
        assert await has_room()


async def test_all_keys_together_have_a_bound(api: httpx.AsyncClient) -> None:
    async with unfinished(api, "holds", 80_000, 90_000), unfinished(api, "holds-too", 90_000, 95_000):
        await until(has_no_room(api, "other", 100_000, 503))
        answer = await ask(api, "other", 100_000)
        is_error(answer, 503, "overloaded", None)
        assert answer.headers["retry-after"] == "2"
        assert (await ask(api, "other", 1000)).status_code == 200


async def test_what_is_announced_is_refused_before_it_is_sent(api: httpx.AsyncClient) -> None:
    async with unfinished(api, "holds", 0, KEY_BYTES + 1) as reader:
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 50)
    async with unfinished(api, "holds", 0, 90_000), unfinished(api, "holds", 0, 90_000):
        # Announced only, it keeps nobody out.
        assert (await ask(api, "holds", 90_000)).status_code == 200


async def test_unfinished_messages_count_as_well(api: httpx.AsyncClient) -> None:
    url = f"ws://127.0.0.1:{api.base_url.port}/v1/responses"

    async def pieces(size: int, end: asyncio.Event) -> AsyncIterator[str]:
        yield "x" * size
        await end.wait()

    async with connect(url, additional_headers=bearer("socket")) as first:
        end = asyncio.Event()
        sending = asyncio.create_task(first.send(pieces(80_000, end)))
        await until(has_no_room(api, "socket", 30_000))
        async with connect(url, additional_headers=bearer("socket")) as second:
            refused = asyncio.create_task(second.send(pieces(60_000, end)))
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(second.recv(), 50)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too much is being received")
            end.set()
            await asyncio.gather(refused, return_exceptions=True)
        await sending
        assert json.loads(await first.recv())["error"]["code"] == "invalid_json"

        async def has_room() -> bool:
            return (await ask(api, "socket", 90_000)).status_code == 200

        await until(has_room)


async def test_refused_bodies_count_as_reads(api: httpx.AsyncClient) -> None:
    """The work of reading them has been done, and no other limit counts it."""
    for path in ("responses", "responses/compact", "responses"):
        bad = await api.post(f"/v1/{path}", json={"input": 5}, headers=bearer("bad"))
        assert bad.status_code == 400
    for answer in (await ask(api, "bad"), await api.get("/v1/models", headers=bearer("bad"))):
        is_error(answer, 429, "rate_limit_exceeded", None)
        assert int(answer.headers["retry-after"]) >= 1
    async with unfinished(api, "bad", 0, 1000) as reader:
        assert b" 429 " in await asyncio.wait_for(reader.readline(), 50), "the body is not waited for"


async def test_a_body_that_is_not_finished_counts_as_a_read(api: httpx.AsyncClient) -> None:
    assert (await ask(api, "leaves")).status_code == 200

    async def is_refused() -> bool:
        async with unfinished(api, "leaves", 10, 1000):
            pass
        return (await ask(api, "leaves")).status_code == 429

    await until(is_refused)


async def test_a_repeated_request_counts_as_a_read(api: httpx.AsyncClient) -> None:
    key = {"idempotency-key": os.urandom(8).hex()}
    for _ in range(3):
        assert (await ask(api, "replays", **key)).status_code == 200
    is_error(await ask(api, "replays", **key), 429, "rate_limit_exceeded", None)


async def test_what_begins_a_response_is_no_read(api: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await ask(api, "good")).status_code == 200


async def test_refused_turns_of_a_socket_count_as_reads(api: httpx.AsyncClient) -> None:
    url = f"ws://127.0.0.1:{api.base_url.port}/v1/responses"
    async with connect(url, additional_headers=bearer("bad-turns")) as socket:
        codes = []
        for message in ("nonsense", '{"type": "nonsense"}', '{"type": "response.create"}'):
            await socket.send(message)
            codes.append(json.loads(await socket.recv())["error"]["code"])
    assert codes == ["invalid_json", "invalid_value", "rate_limit_exceeded"]
