"""A request's own key for the provider: used once, and written nowhere."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import redis.asyncio as aioredis

from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Event, Stack, check_whole, collect, events_of

KEY = "sk-of-the-request-8d1f"


@pytest.mark.parametrize("way", ["body", "header"])
async def test_a_request_may_bring_its_own_key(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack, way: str
) -> None:
    script = upstream.says(f"own key by {way}", Script(words=4))
    body = {"model": "keyed", "input": f"own key by {way}", **({"api_key": KEY} if way == "body" else {})}
    answer = await client.post(
        "/v1/responses", json=body, headers={"X-Provider-Api-Key": KEY} if way == "header" else {}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"][0]["content"][0]["text"] == script.text
    assert f"Bearer {KEY}" in upstream.heads[-1]
    assert KEY not in answer.text
    await nowhere(stack, KEY)


async def test_a_refused_key_is_not_told(client: httpx.AsyncClient, upstream: Upstream, stack: Stack) -> None:
    upstream.says("refused key", Script(faults=[Fault(status=401)]))
    events = await collect(client, {"model": "keyed", "input": "refused key", "api_key": KEY})
    error = events[-1]["response"]["error"]
    assert error["code"] == "provider_authentication"
    assert "the provider key that you sent" in error["message"]
    assert KEY not in str(events)
    await nowhere(stack, KEY)


async def test_no_key_anywhere_is_a_400_that_names_the_variable(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/responses", json={"model": "keyed", "input": "no key"})
    is_error(answer, 400, "provider_key_missing", "api_key")
    assert "A_KEY_THAT_IS_NOT_SET" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["", "  ", 7, ["x"], "a\nb", "x" * 5000])
async def test_a_key_that_is_none_is_refused_and_not_repeated(client: httpx.AsyncClient, key: object) -> None:
    answer = await client.post("/v1/responses", json={"model": "keyed", "input": "bad key", "api_key": key})
    is_error(answer, 400, "invalid_value", "api_key")


async def test_the_key_is_not_inherited_by_the_chain(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("first of a chain", Script(words=2))
    body = {"model": "keyed", "input": "first of a chain", "api_key": KEY}
    first = (await client.post("/v1/responses", json=body)).json()
    body = {"model": "keyed", "input": "second", "previous_response_id": first["id"]}
    is_error(await client.post("/v1/responses", json=body), 400, "provider_key_missing", "api_key")


async def test_an_answer_with_a_key_continues_on_another_worker(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """The key is sealed in the workflow's start, so whoever takes over can open it."""
    script = upstream.says("key and kill", Script(words=30, gap=0.02))
    events: list[Event] = []
    async for event in events_of(client, {"model": "keyed", "input": "key and kill", "api_key": KEY}):
        events.append(event)
        if event["type"] == "response.output_text.delta" and event["delta"] == "w8 ":
            await stack.kill_seen(await stack.busy_worker())
    check_whole(events, script.text)
    assert script.attempts == 2
    assert f"Bearer {KEY}" in upstream.heads[-1]


async def nowhere(stack: Stack, secret: str) -> None:
    """Not in Redis, nor in any file: Temporal's database, payloads, logs."""
    redis = aioredis.Redis.from_url(stack.redis_url)
    needle = secret.encode()
    async for key in redis.scan_iter():
        kind = await redis.type(key)
        if kind == b"hash":
            assert needle not in b"".join((await redis.hgetall(key)).values())  # type: ignore[misc]
        elif kind == b"stream":
            assert needle not in repr(await redis.xrange(key)).encode()
        elif kind == b"string":
            assert needle not in (await redis.get(key) or b"")
    await redis.aclose()
    for file in Path(stack.data).rglob("*"):
        if file.is_file():
            assert needle not in file.read_bytes(), file


async def test_a_key_that_no_header_can_carry_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/responses", json={"model": "keyed", "input": "x", "api_key": "sk-é"})
    is_error(answer, 400, "invalid_value", "api_key")
