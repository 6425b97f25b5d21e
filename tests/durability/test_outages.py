"""A Redis that says nothing, and a Temporal that is not there: each request is answered, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.service import RPCStatusCode

from api.application import create_app
from dev import services
from open_responses.io.ports import is_taken
from open_responses.io.settings import load_settings
from open_responses.io.temporal.client import TemporalAway, WorkflowAlreadyStartedError
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import create, is_error
from tests.support.stack import Event, Stack, another_api, check_whole, events_of, http_client, until
from tests.support.websocket_client import Client, connected

pytestmark = pytest.mark.campaign

# Far less than a frozen process would stay so.
ANSWERED_SECONDS = 30.0


@asynccontextmanager
async def frozen(stack: Stack, name: str) -> AsyncIterator[None]:
    """Its sockets take what they are sent, and nothing comes back."""
    stack.signal(name, signal.SIGSTOP)
    try:
        yield
    finally:
        stack.signal(name, signal.SIGCONT)


async def rest_of(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


async def first_bytes(client: httpx.AsyncClient, prompt: str, into: list[str]) -> list[Event]:
    """A stream whose first line, a keep-alive, tells that its request was let in; then its events."""
    body = {"model": "fake", "input": prompt, "stream": True}
    async with client.stream("POST", "/v1/responses", json=body) as answer:
        assert answer.status_code == 200
        lines = []
        async for line in answer.aiter_lines():
            into.append(line)
            lines.append(line)
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


# --- a frozen Redis


@pytest.mark.timeout(180)
async def test_a_frozen_redis_holds_up_no_request_and_loses_nothing(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    running = upstream.says("frozen while it runs", Script(words=150, gap=0.05))
    cancelled = upstream.says("cancelled while frozen", Script(words=10, hold_after=3))
    for prompt in ("frozen, at once", "frozen, streamed", "frozen, later", "frozen, on a socket"):
        upstream.says(prompt, Script(words=5))
    ended = await create(client, input="before the frost")
    before = [event async for event in events_of(client, resume=(ended["id"], None))]
    begun = await create(client, input="cancelled while frozen", background=True)
    await asyncio.wait_for(cancelled.held.wait(), 50)
    async with AsyncExitStack() as open_:
        ws = await open_.enter_async_context(connected(stack.api_url))
        stream = events_of(client, {"input": "frozen while it runs"})
        events = [await anext(stream) for _ in range(10)]
        following = asyncio.create_task(rest_of(stream))
        lines: list[str] = []
        async with frozen(stack, "valkey"):
            at_once = asyncio.create_task(create(client, input="frozen, at once"))
            streamed = asyncio.create_task(first_bytes(client, "frozen, streamed", lines))
            await ws.ask(input="frozen, on a socket")
            async with asyncio.timeout(ANSWERED_SECONDS):
                later, found, again, half, cancelling, other, ready = await asyncio.gather(
                    create(client, input="frozen, later", background=True),
                    client.get(f"/v1/responses/{ended['id']}"),
                    rest_of(events_of(client, resume=(ended["id"], None))),
                    client.get(f"/v1/responses/{begun['id']}"),
                    client.post(f"/v1/responses/{begun['id']}/cancel"),
                    open_.enter_async_context(connected(stack.api_url)),
                    client.get("/readyz"),
                )
            assert found.json() == ended
            assert again == before
            # Its workflow knows of a turn when that has ended.
            assert half.json()["status"] in ("queued", "in_progress")
            assert cancelling.status_code == 200
            assert ready.status_code == 503
            assert ready.json()["missing"].keys() == {"redis"}
            await until(lambda: is_true(any(line.startswith(":") for line in lines)))
            assert not any(task.done() for task in (at_once, streamed, following))
        check_whole(await streamed, "w0 w1 w2 w3 w4 ")
        check_whole([event async for event in ws.events()], "w0 w1 w2 w3 w4 ")
        check_whole([*events, *await following], running.text)
        assert (await at_once)["status"] == "completed"
        await other.answer(input="after the frost")
    await until(lambda: has_status(client, later["id"], "completed"))
    await until(lambda: has_status(client, begun["id"], "cancelled"))
    assert [request["messages"][-1]["content"] for request in upstream.requests].count("frozen while it runs") == 1


async def test_a_frozen_redis_opens_no_limit(stack: Stack) -> None:
    async with keyed_api(stack, key_block("t-frozen", "frozen", "requests_per_minute = 3")) as api:

        async def ask() -> int:
            body = {"model": "fake", "input": "hello", "background": True}
            return (await api.post("/v1/responses", json=body, headers=bearer("frozen"))).status_code

        assert await ask() == 200
        async with frozen(stack, "valkey"), asyncio.timeout(ANSWERED_SECONDS):
            assert sorted(await asyncio.gather(*(ask() for _ in range(4)))) == [200, 200, 429, 429]


# --- without Temporal


@asynccontextmanager
async def without_temporal(stack: Stack) -> AsyncIterator[None]:
    await stack.kill("temporal")
    try:
        yield
    finally:
        await stack.heal()


async def is_away(answer: httpx.Response) -> None:
    is_error(answer, 503, "unavailable")
    assert answer.json()["error"]["type"] == "server_error"
    assert int(answer.headers["retry-after"]) >= 1


async def is_away_on(ws: Client) -> None:
    await ws.ask(input="hello")
    error = await ws.is_refused(503, "unavailable")
    assert int(error["headers"]["retry-after"]) >= 1


@pytest.mark.timeout(240)
async def test_without_temporal_every_door_says_so_and_all_open_again_by_themselves(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    """For a process that has been connected, and for one that has never been."""
    held = upstream.says("outlives Temporal", Script(words=5, hold_after=2))
    key = key_block("default", "three", "max_concurrent = 3")
    patience = {"OPEN_RESPONSES_START_PATIENCE_SECONDS": "2"}
    ended = await create(client, input="stored")
    begun = await create(client, input="outlives Temporal", background=True)
    await asyncio.wait_for(held.held.wait(), 50)
    async with (
        keyed_api(stack, key, START_PATIENCE_SECONDS="2") as known,
        connected(str(known.base_url).rstrip("/"), bearer("three")) as old,
    ):
        known.headers.update(bearer("three"))
        assert (await known.post("/v1/responses", json={"model": "fake", "input": "hello"})).status_code == 200
        async with (
            without_temporal(stack),
            unready_api(stack, patience) as fresh,
            connected(str(fresh.base_url).rstrip("/")) as new,
        ):
            for api, ws in ((known, old), (fresh, new)):
                found = await api.get(f"/v1/responses/{ended['id']}")
                assert found.json() == ended, "what Redis has needs no Temporal"
                answers = await asyncio.gather(
                    api.post("/v1/responses", json={"model": "fake", "input": "hello"}),
                    api.post("/v1/responses", json={"model": "fake", "input": "hello", "stream": True}),
                    api.get("/v1/responses/resp_" + "0" * 48),
                    api.post(f"/v1/responses/{begun['id']}/cancel"),
                    api.delete(f"/v1/responses/{ended['id']}"),
                    api.post("/v1/conversations", json={}),
                    is_away_on(ws),
                )
                for answer in answers[:-1]:
                    assert answer is not None
                    await is_away(answer)
            await stack.start("temporal")
            await until(lambda: is_answered(fresh), 60)
            await new.answer(input="hello")
            # Three of its starts had an unknown outcome, and took all of its places until Temporal was asked.
            await until(lambda: is_answered(known), 60)
            await old.answer(input="hello")
            assert (await fresh.delete(f"/v1/responses/{ended['id']}")).status_code == 200
            cancelled = await fresh.post(f"/v1/responses/{begun['id']}/cancel")
            assert cancelled.json()["status"] == "cancelled"


@pytest.mark.timeout(180)
async def test_a_frozen_temporal_holds_up_no_request_for_longer_than_documented(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    """The SDK waits for 30 seconds for a reply, and then tries again."""
    upstream.says("after the frost", Script(words=3))
    ended = await create(client, input="before the frost of Temporal")
    body = {"model": "fake", "input": "hello"}
    async with another_api(stack, env={"OPEN_RESPONSES_START_PATIENCE_SECONDS": "2"}) as api:
        async with frozen(stack, "temporal"), asyncio.timeout(ANSWERED_SECONDS / 2):
            # Less than the SDK's 30 seconds, and more than the 10 that any call may take.
            found, ready, *refused = await asyncio.gather(
                api.get(f"/v1/responses/{ended['id']}"),
                api.get("/readyz"),
                api.post("/v1/responses", json=body),
                api.post("/v1/responses", json={**body, "stream": True}),
                api.get("/v1/responses/resp_" + "0" * 48),
                api.post("/v1/conversations", json={}),
            )
            assert found.json() == ended
            assert ready.status_code == 503
            assert ready.json()["missing"].keys() == {"temporal"}
            for answer in refused:
                await is_away(answer)
        await until(lambda: is_answered(api), 60)


async def test_a_start_whose_answer_got_lost_is_found_again_by_its_key(
    stack: Stack, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal goes away between taking the start and saying so."""
    upstream.says("began all the same", Script(words=4))
    config = stack.data / "lost.toml"
    blocks = [(stack.data / "open_responses.toml").read_text(), key_block("lost", "lost", "max_concurrent = 1")]
    config.write_text("\n".join(blocks))
    environment = {**stack.env, "OPEN_RESPONSES_CONFIG": config, "OPEN_RESPONSES_START_PATIENCE_SECONDS": "0.5"}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    app = create_app(load_settings())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app), timeout=60) as api,
    ):
        temporal = app.state.open_responses.temporal
        start = temporal.start_workflow

        async def start_and_lose_the_answer(*args: Any, **options: Any) -> None:
            with contextlib.suppress(WorkflowAlreadyStartedError):
                await start(*args, **options)
            raise TemporalAway("connection reset", RPCStatusCode.UNAVAILABLE, b"", was_sent=True)

        body = {"model": "fake", "input": "began all the same"}
        headers = {**bearer("lost"), "Idempotency-Key": "of a lost answer"}
        with monkeypatch.context() as patch:
            patch.setattr(temporal, "start_workflow", start_and_lose_the_answer)
            answer = await api.post("/v1/responses", json=body, headers=headers)
        await is_away(answer)
        assert "not known whether" in answer.json()["error"]["message"]
        assert "same Idempotency-Key" in answer.json()["error"]["message"]
        again = await api.post("/v1/responses", json=body, headers=headers)
        assert again.status_code == 200, again.text
        assert again.json()["output"][0]["content"][0]["text"] == "w0 w1 w2 w3 "
        sent = [request["messages"][-1]["content"] for request in upstream.requests]
        assert sent.count("began all the same") == 1
        await until(lambda: is_answered(api, bearer("lost")))


async def is_answered(api: httpx.AsyncClient, headers: dict[str, str] | None = None) -> bool:
    answer = await api.post("/v1/responses", json={"model": "fake", "input": "hello"}, headers=headers)
    assert answer.status_code in (200, 429, 503), answer.text
    return answer.status_code == 200


async def has_status(client: httpx.AsyncClient, response_id: str, status: str) -> bool:
    return bool((await client.get(f"/v1/responses/{response_id}")).json()["status"] == status)


async def is_true(condition: bool) -> bool:
    return condition


@asynccontextmanager
async def unready_api(stack: Stack, env: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """An API that begins while a part is away: it answers, and is not ready."""
    port = services.free_port()
    service = services.api(port, {**stack.env, **env})
    process = service.start(stack.data / "logs")
    try:
        async with http_client(f"http://127.0.0.1:{port}", seconds=600) as client:
            await until(lambda: is_listening(port), 60)
            assert (await client.get("/healthz")).status_code == 200
            yield client
    finally:
        await services.stop(process)


async def is_listening(port: int) -> bool:
    return is_taken(port)
