"""`item_reference` in the input (ITEM-10)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import redis.asyncio as aioredis

from open_responses.ids import member_id, new_id
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until


async def respond(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/responses", json={"model": "fake", **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_reference_stands_for_the_stored_item(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    answer = upstream.says("remember this", Script(words=3))
    upstream.says("what was it", Script(words=2))
    first = await respond(client, input="remember this")
    given = (await client.get(f"/v1/responses/{first['id']}/input_items")).json()["data"][0]["id"]
    redis = aioredis.Redis.from_url(stack.redis_url)
    for flush in (False, True):
        if flush:
            await redis.flushall()
        second = await respond(
            client,
            input=[{"id": given}, {"type": "item_reference", "id": first["output"][0]["id"]}, user("what was it")],
        )
        assert [m["content"] for m in upstream.requests[-1]["messages"]] == [
            "remember this",
            answer.text,
            "what was it",
        ]
        listed = (await client.get(f"/v1/responses/{second['id']}/input_items?order=asc")).json()["data"]
        assert [item["type"] for item in listed] == ["message"] * 3
    await redis.aclose()


async def test_a_call_by_reference_may_be_answered(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("call me by reference", calls(("c9", "mine", {})))
    script.turns.append(Script(words=2))
    tools = [{"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}]
    first = await respond(client, input="call me by reference", tools=tools)
    output = {"type": "function_call_output", "call_id": "c9", "output": "done"}
    second = await respond(
        client,
        tools=tools,
        input=[user("call me by reference"), {"type": "item_reference", "id": first["output"][0]["id"]}, output],
    )
    assert second["output"][0]["content"][0]["text"] == script.turns[0].text


async def test_an_items_own_id_is_found_in_the_chain_that_is_continued(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("named by the client", Script(words=1))
    upstream.says("again", Script(words=1))
    first = await respond(client, input=[{**user("named by the client"), "id": "msg_client"}])
    await respond(client, input=[{"id": "msg_client"}, user("again")], previous_response_id=first["id"])
    assert str(upstream.requests[-1]["messages"]).count("named by the client") == 2
    unknown = await client.post("/v1/responses", json={"model": "fake", "input": [{"id": "msg_client"}]})
    is_error(unknown, 400, "item_not_found", "input[0].id")


async def test_what_is_unknown_or_not_stored_is_refused_before_anything_starts(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("unstored", Script(words=1))
    unstored = await respond(client, input="unstored", store=False)
    for reference in ("msg_" + "0" * 53, "nonsense", unstored["output"][0]["id"]):
        answer = await client.post("/v1/responses", json={"model": "fake", "input": [{"id": reference}]})
        is_error(answer, 400, "item_not_found", "input[0].id")


async def test_what_is_still_written_can_be_named_at_its_end(client: httpx.AsyncClient, upstream: Upstream) -> None:
    held = upstream.says("still written", Script(words=3, hold_after=1))
    upstream.says("named at last", Script(words=1))
    running = await respond(client, input="still written", background=True)
    await asyncio.wait_for(held.held.wait(), 50)
    ids = [member_id("msg_", running["id"], index) for index in (0, 7)]
    for item_id in ids:
        # Whether there will be an eighth item, nobody knows yet.
        answer = await client.post("/v1/responses", json={"model": "fake", "input": [{"id": item_id}]})
        is_error(answer, 400, "item_in_progress", "input[0].id")
    given = (await client.get(f"/v1/responses/{running['id']}/input_items")).json()["data"][0]["id"]
    await respond(client, input=[{"id": given}, user("named at last")])
    held.released.set()

    async def ended() -> bool:
        return (await client.get(f"/v1/responses/{running['id']}")).json()["status"] == "completed"

    await until(ended)
    await respond(client, input=[{"id": ids[0]}, user("named at last")])
    answer = await client.post("/v1/responses", json={"model": "fake", "input": [{"id": ids[1]}]})
    is_error(answer, 400, "item_not_found", "input[0].id")


async def test_what_another_tenant_still_writes_looks_unknown(stack: Stack, upstream: Upstream) -> None:
    held = upstream.says("written by the owner", Script(words=3, hold_after=1))
    async with keyed_api(stack, key_block("owner", "owner-r"), key_block("stranger", "stranger-r")) as api:
        body = {"model": "fake", "input": "written by the owner", "background": True}
        running = (await api.post("/v1/responses", json=body, headers=bearer("owner-r"))).json()
        await asyncio.wait_for(held.held.wait(), 50)
        seen = []
        for item_id in (member_id("msg_", running["id"], 0), member_id("msg_", new_id("resp_"), 0)):
            asked = {"model": "fake", "input": [{"id": item_id}]}
            answer = await api.post("/v1/responses", json=asked, headers=bearer("stranger-r"))
            is_error(answer, 400, "item_not_found", "input[0].id")
            seen.append(answer.text.replace(item_id, "<id>"))
        assert seen[0] == seen[1]
        held.released.set()


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}
