"""Open streams and sockets have a bound, for each key and for a process; however one ends, its place is free again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI
from websockets.exceptions import InvalidStatus

from tests.support.api_with_keys import api_of_the_module, bearer, blocks_of
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.slow_reader import SlowReader
from tests.support.stack import Stack, another_api, check_whole, events_of, until
from tests.support.websocket_client import Client, connected

pytestmark = pytest.mark.campaign

KEYS = {
    "two": "max_open_streams = 2",
    "one": "max_open_streams = 1",
    "sdk": "max_open_streams = 1",
    "slow": "max_open_streams = 1",
    "other": "",
    "reads": "reads_per_minute = 3",
}


api = api_of_the_module(*blocks_of("open", KEYS), SLOW_CLIENT_SECONDS="1")


@asynccontextmanager
async def stream(api: httpx.AsyncClient, key: str, prompt: str) -> AsyncIterator[httpx.Response]:
    body = {"model": "fake", "input": prompt, "stream": True}
    headers = bearer(key) if key else {}
    async with api.stream("POST", "/v1/responses", json=body, headers=headers) as answer:
        if answer.status_code != 200:
            await answer.aread()
        yield answer


@asynccontextmanager
async def socket(api: httpx.AsyncClient, key: str) -> AsyncIterator[Client]:
    async with connected(str(api.base_url).rstrip("/"), bearer(key)) as ws:
        yield ws


async def opened_socket(holding: AsyncExitStack, api: httpx.AsyncClient, key: str) -> Client:
    """As soon as there is a place: a client has the last byte of a stream a moment before its place is free."""
    found: list[Client] = []

    async def is_open() -> bool:
        with contextlib.suppress(InvalidStatus):
            found.append(await holding.enter_async_context(socket(api, key)))
        return bool(found)

    await until(is_open)
    return found[0]


async def socket_is_refused(api: httpx.AsyncClient, key: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket(api, key):
            pass
    answer = refused.value.response
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2"
    assert json.loads(answer.body or b"")["error"]["code"] == "rate_limit_exceeded"


async def is_let_in(api: httpx.AsyncClient, key: str) -> bool:
    async with stream(api, key, "hello") as answer:
        if answer.status_code == 200:
            await answer.aread()
        return answer.status_code == 200


async def test_one_stream_too_many_is_refused_before_anything_starts(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("held open", Script(words=3, hold_after=1))
    async with stream(api, "two", "held open") as first, socket(api, "two") as ws:
        assert first.status_code == 200
        await asyncio.wait_for(script.held.wait(), 50)
        before = len(upstream.requests)
        async with stream(api, "two", "hello") as refused:
            is_error(refused, 429, "rate_limit_exceeded")
            assert refused.json()["error"]["type"] == "too_many_requests"
            assert "2 open streams" in refused.json()["error"]["message"]
            assert refused.headers["retry-after"] == "2"
        replay = await api.get("/v1/responses/resp_" + "0" * 48, params={"stream": "true"}, headers=bearer("two"))
        is_error(replay, 429, "rate_limit_exceeded")
        await socket_is_refused(api, "two")
        assert len(upstream.requests) == before

        plain = await api.post("/v1/responses", json={"model": "fake", "input": "hello"}, headers=bearer("two"))
        assert plain.status_code == 200, "only what stays open is counted"
        assert (await api.get(f"/v1/responses/{plain.json()['id']}", headers=bearer("two"))).status_code == 200
        assert await is_let_in(api, "other")
        await ws.answer(input="hello")
    script.released.set()
    await until(lambda: is_let_in(api, "two"))


async def test_a_place_is_free_again_however_a_stream_ends(api: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("dropped again and again", Script(words=3, hold_after=1))
    for _ in range(3):
        async with AsyncExitStack() as holding:

            async def is_open(holding: AsyncExitStack = holding) -> bool:
                # The client has the last byte of the stream before, a moment before its place is free.
                answer = await holding.enter_async_context(stream(api, "one", "dropped again and again"))
                return answer.status_code == 200

            await until(is_open)
            async with stream(api, "one", "hello") as refused:
                assert refused.status_code == 429
        await until(lambda: is_let_in(api, "one"))
        async with AsyncExitStack() as holding:
            ws = await opened_socket(holding, api, "one")
            await ws.ask(input="dropped again and again")
            await ws.hear()
            await socket_is_refused(api, "one")
            ws.connection.transport.abort()
        await until(lambda: is_let_in(api, "one"))
    for body in ({"input": 7}, {"input": "x", "model": "no-such-model"}, {"input": "x", "previous_response_id": "r"}):
        refused = await api.post("/v1/responses", json={"model": "fake", "stream": True, **body}, headers=bearer("one"))
        assert refused.status_code in (400, 404)
    await until(lambda: is_let_in(api, "one"))
    script.released.set()


async def test_the_openai_sdk_waits_for_a_place(api: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("in the way", Script(words=3, hold_after=1))
    sdk = AsyncOpenAI(base_url=f"{api.base_url}/v1", api_key="sdk", max_retries=2)
    async with AsyncExitStack() as holding:
        await holding.enter_async_context(stream(api, "sdk", "in the way"))
        waiting = asyncio.create_task(sdk.responses.create(model="fake", input="hello", stream=True))
        await asyncio.wait({waiting}, timeout=1)
        assert not waiting.done()
        await holding.aclose()
        assert [event.type async for event in await waiting][-1] == "response.completed"
    script.released.set()
    await sdk.close()


async def test_a_process_has_a_bound_of_its_own(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("alone", Script(words=3, hold_after=1))
    async with another_api(stack, env={"OPEN_RESPONSES_MAX_OPEN_STREAMS": "1"}) as api:
        async with stream(api, "", "alone") as first:
            assert first.status_code == 200
            async with stream(api, "", "hello") as refused:
                is_error(refused, 503, "overloaded")
                assert refused.headers["retry-after"] == "2"
        script.released.set()
        await until(lambda: is_let_in(api, ""))


async def test_requests_that_begin_nothing_have_a_limit_of_their_own(api: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await api.get("/v1/models", headers=bearer("reads"))).status_code == 200
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/responses/resp_x/cancel"), ("POST", "/v1/conversations")):
        refused = await api.request(method, path, headers=bearer("reads"))
        is_error(refused, 429, "rate_limit_exceeded")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    begun = await api.post("/v1/responses", json={"model": "fake", "input": "hello"}, headers=bearer("reads"))
    assert begun.status_code == 200
    assert (await api.get("/v1/models", headers=bearer("other"))).status_code == 200


# --- readers that do not read


async def test_a_reader_that_stops_while_the_model_is_silent_is_dropped_and_its_place_is_free(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    """What it has not read would fit into the server's buffer for ever; with the keep-alives, for hours."""
    text = (1000 * "y" + " ") * 100
    script = upstream.says("stops reading", Script(literal=text, hold_after=60))
    reader = await SlowReader.open(str(api.base_url), {"input": "stops reading"}, bearer("slow"))
    while b"response.in_progress" not in reader.received:
        await reader.read(2000)
    await asyncio.wait_for(script.held.wait(), 50)
    assert not await is_let_in(api, "slow")
    await until(lambda: is_let_in(api, "slow"))
    script.released.set()
    with contextlib.suppress(ConnectionError):
        await reader.read_to_end()
    reader.close()
    heard = reader.events()
    assert b"[DONE]" not in reader.received
    api.headers.update(bearer("slow"))
    try:
        place = (heard[0]["response"]["id"], heard[-1]["sequence_number"])
        rest = [event async for event in events_of(api, resume=place)]
    finally:
        del api.headers["authorization"]
    check_whole([*heard, *rest], text)


async def test_a_reader_that_waits_for_a_silent_model_is_not_dropped(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("thinks for long", Script(words=5, hold_after=2))
    reader = await SlowReader.open(str(api.base_url), {"input": "thinks for long"}, bearer("other"))
    reading = asyncio.create_task(reader.read_to_end())
    # Several times what one that does not read is given.
    await asyncio.wait({reading}, timeout=4)
    assert not reading.done()
    script.released.set()
    await reading
    check_whole(reader.events(), script.text)


async def test_readers_that_take_nothing_cost_little_memory(stack: Stack, upstream: Upstream) -> None:
    """Twenty replays of an answer of 4 MB, which is sent five times over: in deltas, and in the events at its end."""
    upstream.says("for nobody", Script(literal=(5000 * "z" + " ") * 800))
    async with another_api(stack) as api:
        ended = (await api.post("/v1/responses", json={"model": "fake", "input": "for nobody"})).json()
        before = memory_of(stack, f"api-{api.base_url.port}")
        readers = [
            await SlowReader.open(str(api.base_url), None, path=f"/{ended['id']}?stream=true") for _ in range(20)
        ]
        for reader in readers:
            assert await reader.read(100)
        grown = memory_of(stack, f"api-{api.base_url.port}") - before
        for reader in readers:
            reader.close()
        # A list of all its events for each would be half a gigabyte.
        assert grown < 420_000_000


def memory_of(stack: Stack, name: str) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{stack.processes[name].pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
