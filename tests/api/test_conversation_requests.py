"""Responses in a conversation with idempotency keys, in the background, and over a WebSocket."""

from __future__ import annotations

import asyncio
import time

import httpx
import redis.asyncio as aioredis

from api.idempotency import idempotency_key
from open_responses.ids import new_id
from open_responses.io.store.redis_store import ResponseStore
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support.conversations import ask, items_of, new, respond, shown, texts
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, check_whole, collect, until
from tests.support.websocket_client import connected


async def test_an_idempotency_key_takes_the_lock_once(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = upstream.says("once in it", Script(words=3, delay=0.2))
    upstream.says("in between", Script(words=1))
    conversation = await new(client)
    body = {"model": "fake", "input": "once in it", "conversation": conversation}

    async def send() -> httpx.Response:
        return await client.post("/v1/responses", json=body, headers={"Idempotency-Key": f"key {conversation}"})

    answers = await asyncio.gather(*(send() for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    await respond(client, conversation, "in between")
    await stack.flush()
    answers.append(await send())
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert script.attempts == 1
    assert texts(await items_of(client, conversation))[::2] == ["once in it", "in between"]


async def test_a_request_left_behind_before_its_start_reads_the_conversation_again(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """Its record is in Redis, its lock is free, and its client sends it again."""
    earlier = upstream.says("came later", Script(words=1))
    script = upstream.says("left behind", Script(words=3))
    conversation = await new(client)
    body = {"model": "fake", "input": "left behind", "conversation": conversation}
    head = {"idempotency-key": f"key {conversation}"}
    key = idempotency_key("default", head, body)
    assert key is not None
    left = StartResponse(
        response_id=key.response_id,
        tenant="default",
        created_at=int(time.time()),
        request=CreateResponse.model_validate(body),
        provider="fake",
        upstream_model="fake",
        retry_window=20,
        body_digest=key.body_digest,
        nonce="nonce_1",
    )
    redis = aioredis.Redis.from_url(stack.redis_url)
    await ResponseStore(redis, ttl_seconds=600, log_ttl_seconds=600).begin(left, ())
    await redis.aclose()
    await respond(client, conversation, "came later")
    again = await client.post("/v1/responses", json=body, headers=head)
    assert (again.status_code, again.json()["id"]) == (200, key.response_id)
    assert shown(upstream) == ["came later", earlier.text, "left behind"]
    assert script.attempts == 1
    assert texts(await items_of(client, conversation))[::2] == ["came later", "left behind"]


async def test_a_background_response_has_the_lock_until_it_ends(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("in the background", Script(words=3, hold_after=1))
    conversation = await new(client)
    running = await respond(client, conversation, "in the background", background=True)
    assert running["conversation"] == {"id": conversation}
    is_error(await ask(client, conversation, "x"), 409, "conversation_busy")
    await asyncio.wait_for(script.held.wait(), 50)
    script.released.set()

    async def free() -> bool:
        return (await ask(client, conversation, "x")).status_code == 200

    await until(free)
    assert texts(await items_of(client, conversation))[0:3:2] == ["in the background", "x"]


async def test_a_socket_takes_turns_in_a_conversation(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    first = upstream.says("socket turn one", Script(words=3))
    upstream.says("socket turn two", Script(words=3))
    conversation = await new(client)
    async with connected(stack.api_url) as ws:
        answer = await ws.answer(input="socket turn one", conversation=conversation, store=False)
        assert answer["conversation"] == {"id": conversation}
        await ws.answer(input="socket turn two", conversation={"id": conversation})
        assert shown(upstream) == ["socket turn one", first.text, "socket turn two"]
        await ws.ask(input="x", conversation=new_id("conv_"))
        await ws.is_refused(404, "not_found", "conversation")
        await ws.ask(input="x", conversation=conversation, generate=False)
        await ws.is_refused(400, "invalid_value", "conversation")
    assert len(await items_of(client, conversation)) == 4


async def test_events_with_a_conversation_fit_the_schema(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("schema in it", Script(words=3))
    events = await collect(client, {"input": "schema in it", "conversation": await new(client)})
    check_whole(events, script.text)
