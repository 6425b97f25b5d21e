"""What a request resolves to has a bound, looked at before it is read: references, chains, conversations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis.asyncio as aioredis

from open_responses.io.redis import key_names
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream
from tests.support.record_reads import record_reads
from tests.support.responses_http import is_error
from tests.support.stack import Stack

pytestmark = pytest.mark.campaign

BODY_BYTES = 20_000
CONTEXT_BYTES = 40_000
KEY = bearer("bounded-key")


@pytest_asyncio.fixture(scope="module")
async def api(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    await session_stack.heal()
    env = {"MAX_BODY_BYTES": str(BODY_BYTES), "MAX_CONTEXT_BYTES": str(CONTEXT_BYTES)}
    async with keyed_api(session_stack, key_block("bounded", "bounded-key"), **env) as client:
        client.headers.update(KEY)
        yield client


async def ask(api: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await api.post("/v1/responses", json={"model": "fake", **body})


async def stored(api: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    answer = await ask(api, input=[user(text)], **more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def given_id(api: httpx.AsyncClient, response_id: str) -> str:
    listed = await api.get(f"/v1/responses/{response_id}/input_items")
    found: str = listed.json()["data"][0]["id"]
    return found


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


@pytest.fixture
def needle(upstream: Upstream, request: pytest.FixtureRequest) -> str:
    words = f"bounded in {request.node.name}"
    upstream.says(words, Script(words=1))
    return words


async def test_references_cannot_make_an_input_larger_than_a_body(api: httpx.AsyncClient, needle: str) -> None:
    """A reference has 90 bytes, and stands for thousands, as often as it is sent."""
    response = await stored(api, needle + " " + "x" * 6000)
    reference = {"type": "item_reference", "id": await given_id(api, response["id"])}
    assert (await ask(api, input=[reference] * 3)).status_code == 200
    refused = [await ask(api, input=[reference] * 4)]
    for path in ("responses/input_tokens", "responses/compact"):
        body = {"model": "fake", "input": [reference] * 4}
        refused.append(await api.post(f"/v1/{path}", json=body))
    for answer in refused:
        is_error(answer, 413, "request_too_large", "input[3].id")
    answer = await api.post("/v1/conversations", json={"items": [reference] * 4})
    is_error(answer, 413, "request_too_large", "items[3].id")
    conversation = (await api.post("/v1/conversations", json={"items": [{**user("held"), "id": "msg_held"}]})).json()
    answer = await api.post(f"/v1/conversations/{conversation['id']}/items", json={"items": [reference] * 4})
    is_error(answer, 413, "request_too_large", "items[3].id")


async def test_the_items_of_a_conversation_cannot_be_multiplied(api: httpx.AsyncClient, needle: str) -> None:
    items = [{**user(needle + " " + "x" * 6000), "id": "msg_large"}]
    conversation = (await api.post("/v1/conversations", json={"items": items})).json()["id"]
    answer = await ask(api, conversation=conversation, input=[{"type": "item_reference", "id": "msg_large"}] * 4)
    is_error(answer, 413, "request_too_large", "input[3].id")


async def test_a_record_is_read_once_however_often_it_is_named(
    api: httpx.AsyncClient, stack: Stack, needle: str
) -> None:
    response = await stored(api, needle)
    reference = {"type": "item_reference", "id": await given_id(api, response["id"])}
    async with record_reads(stack.redis_url, response["id"]) as reads:
        assert (await ask(api, input=[reference] * 40)).status_code == 200
    assert len(reads) == 1


async def test_records_that_are_too_large_together_are_not_read(api: httpx.AsyncClient, needle: str) -> None:
    """Each item that is named is small, and each is in a response that is large."""
    references = []
    for number in range(4):
        items = [{**user(needle)}, user(str(number) + "x" * 12_000)]
        response = (await ask(api, input=items)).json()
        references.append({"type": "item_reference", "id": response["output"][0]["id"]})
    assert (await ask(api, input=[*references[:2], user(needle)])).status_code == 200
    is_error(await ask(api, input=[*references, user(needle)]), 400, "context_too_large", "input[2].id")


async def test_a_chain_has_a_bound_and_a_shorter_one_still_goes_on(
    api: httpx.AsyncClient, stack: Stack, needle: str
) -> None:
    first = await stored(api, needle + " " + "x" * 10_000)
    second = await stored(api, needle + " " + "y" * 10_000, previous_response_id=first["id"])
    assert (await ask(api, input="short", previous_response_id=second["id"])).status_code == 200
    for flushed in (False, True):
        if flushed:
            await stack.flush()
        long = {"input": "z" * 18_000, "previous_response_id": second["id"]}
        is_error(await ask(api, **long), 400, "context_too_large", "previous_response_id")
        counted = await api.post("/v1/responses/input_tokens", json={"model": "fake", **long})
        is_error(counted, 400, "context_too_large", "previous_response_id")


async def test_a_conversation_and_its_next_input_have_a_bound(api: httpx.AsyncClient, needle: str) -> None:
    conversation = (await api.post("/v1/conversations", json={})).json()["id"]
    for _ in range(2):
        answer = await api.post(f"/v1/conversations/{conversation}/items", json={"items": [user("x" * 14_000)]})
        assert answer.status_code == 200
    assert (await ask(api, conversation=conversation, input=needle)).status_code == 200
    answer = await ask(api, conversation=conversation, input="z" * 18_000)
    is_error(answer, 400, "context_too_large", "conversation")


async def test_a_record_of_an_earlier_version_has_its_owner_and_its_bound(
    api: httpx.AsyncClient, stack: Stack, needle: str
) -> None:
    """These name the tenant, and nothing of their chain's length, in the start alone."""
    first = await stored(api, needle + " " + "x" * 10_000)
    second = await stored(api, needle, previous_response_id=first["id"])
    redis = aioredis.Redis.from_url(stack.redis_url, decode_responses=True)
    for one in (first["id"], second["id"]):
        start = await redis.hget(key_names.record(one), "start")  # type: ignore[misc]
        assert '"earlier_bytes":' in start
        await redis.hset(key_names.record(one), "start", start.replace('"earlier_bytes":', '"carried":null,"_":'))  # type: ignore[misc]
        await redis.hdel(key_names.record(one), "tenant")  # type: ignore[misc]
    assert (await api.get(f"/v1/responses/{second['id']}")).json() == second
    assert await redis.hget(key_names.record(second["id"]), "tenant") == "bounded"  # type: ignore[misc]
    await redis.aclose()
    third = await stored(api, needle + " " + "y" * 14_000, previous_response_id=second["id"])
    assert (await ask(api, input="short", previous_response_id=third["id"])).status_code == 200
    answer = await ask(api, input="z" * 14_000, previous_response_id=third["id"])
    is_error(answer, 400, "context_too_large", "previous_response_id")
