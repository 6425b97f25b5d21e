"""Calls, outputs and references among the items of a conversation."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.conversations import Json, ask, items_of, new, respond, shown, texts, user
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.mcp_token import TOKEN
from tests.support.responses_http import is_error
from tests.support.stack import Stack

HOSTED = [{"type": "open_responses:hosted_tools"}]
MINE = [{"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}]


# --- calls


async def test_a_call_of_the_client_has_to_be_answered_in_the_next_turn(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("call mine", calls(("c7", "mine", {})))
    script.turns.append(Script(words=2))
    conversation = await new(client)
    await respond(client, conversation, "call mine", tools=MINE)
    is_error(await ask(client, conversation, "ignored it", tools=MINE), 400, "missing_tool_output", "input")
    output = {"type": "function_call_output", "call_id": "c7", "output": "done"}
    unknown = await ask(client, conversation, [output, {**output, "call_id": "c8"}], tools=MINE)
    is_error(unknown, 400, "unknown_tool_call", "input[1].call_id")
    answer = await respond(client, conversation, [output], tools=MINE)
    assert answer["output"][0]["content"][0]["text"] == script.turns[0].text
    items = await items_of(client, conversation)
    assert [item["type"] for item in items] == ["message", "function_call", "function_call_output", "message"]
    assert items[2]["status"] == "completed"


async def test_an_output_whose_call_was_deleted_stays_and_is_not_read(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}", "id": "fc_mine"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "forty-two", "id": "fco_mine"}
    conversation = await new(client, user("call it"), call, output)
    await respond(client, conversation, "with it")
    assert "forty-two" in json.dumps(upstream.requests[-1]["messages"])
    assert (await client.delete(f"/v1/conversations/{conversation}/items/fc_mine")).status_code == 200
    await respond(client, conversation, "without it")
    assert "forty-two" not in json.dumps(upstream.requests[-1]["messages"])
    assert "fco_mine" in [item["id"] for item in await items_of(client, conversation)]
    path = f"/v1/conversations/{conversation}/items"
    again = await client.post(path, json={"items": [{**output, "id": "fco_again"}]})
    is_error(again, 400, "unknown_tool_call", "items[0].call_id")
    # A new call under the same id is another one.
    ids = {"call": "fc_new", "output": "fco_new"}
    both = [{**call, "id": ids["call"]}, {**output, "id": ids["output"], "output": "forty-three"}]
    assert (await client.post(path, json={"items": both})).status_code == 200
    await respond(client, conversation, "and with the new one")
    told = json.dumps(upstream.requests[-1]["messages"])
    assert ("forty-three" in told, "forty-two" in told) == (True, False)


async def test_a_call_whose_output_was_deleted_has_to_be_answered_again(client: httpx.AsyncClient) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42", "id": "fco_mine"}
    conversation = await new(client, call, output)
    assert (await client.delete(f"/v1/conversations/{conversation}/items/fco_mine")).status_code == 200
    is_error(await ask(client, conversation, "go on"), 400, "missing_tool_output", "input")
    assert (await ask(client, conversation, [output, user("go on")])).status_code == 200


async def test_calls_and_outputs_may_be_added_by_the_client(client: httpx.AsyncClient, upstream: Upstream) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}"}
    conversation = await new(client, user("call it"), call)
    is_error(await ask(client, conversation, "and?"), 400, "missing_tool_output")
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [output]})
    assert added.json()["data"][0]["id"].startswith("fco_")
    assert (await ask(client, conversation, "and?")).status_code == 200
    assert "42" in json.dumps(upstream.requests[-1]["messages"])


async def test_an_output_is_added_once_behind_its_call(client: httpx.AsyncClient) -> None:
    """What no turn could go on from is refused when it is added, and nothing of the request is there."""
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    unknown, doubled = "unknown_tool_call", "duplicate_tool_output"
    bad: list[tuple[list[Json], str, int]] = [
        ([output], unknown, 0),
        ([user("x"), output, call], unknown, 1),
        ([call, output, output], doubled, 2),
        ([call, call], "invalid_value", 1),
    ]
    conversation = await new(client, user("before"))
    path = f"/v1/conversations/{conversation}/items"
    for items, code, index in bad:
        for url in ("/v1/conversations", path):
            is_error(await client.post(url, json={"items": items}), 400, code, f"items[{index}].call_id")
    assert texts(await items_of(client, conversation)) == ["before"]

    assert (await client.post(path, json={"items": [call]})).status_code == 200
    is_error(await client.post(path, json={"items": [user("x"), call]}), 400, "invalid_value", "items[1].call_id")
    named = {**output, "id": "fco_mine"}
    for _ in range(2):
        # The same item a second time is there already.
        assert (await client.post(path, json={"items": [named]})).status_code == 200
    is_error(await client.post(path, json={"items": [output]}), 400, doubled, "items[0].call_id")
    assert (await client.post(path, json={"items": [call, output]})).status_code == 200
    assert (await ask(client, conversation, "and?")).status_code == 200


async def test_hosted_tools_leave_their_calls_and_results(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("weather here", calls(("w", "get_weather", {"city": "Rome"})))
    script.turns.append(Script(words=2))
    upstream.says("thanks", Script(words=1))
    conversation = await new(client)
    await respond(client, conversation, "weather here", tools=HOSTED)
    types = [item["type"] for item in await items_of(client, conversation)]
    assert types == ["message", "function_call", "function_call_output", "message"]
    await respond(client, conversation, "thanks", tools=HOSTED)
    assert "Rome" in json.dumps(upstream.requests[-1]["messages"])


async def test_a_hosted_call_that_was_not_run_need_not_be_answered(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("cut at a call", calls(("w", "get_weather", {"city": "Oslo"}), finish="length"))
    for prompt in ("next after a cut", "and after that"):
        upstream.says(prompt, Script(words=1))
    conversation = await new(client)
    first = await respond(client, conversation, "cut at a call", tools=HOSTED)
    assert first["status"] == "incomplete", first
    for prompt in ("next after a cut", "and after that"):
        assert (await ask(client, conversation, prompt, tools=HOSTED)).status_code == 200


async def test_an_approval_is_given_in_the_conversation(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("delete in a conversation", calls(("d", "delete_all", {"what": "logs"})))
    script.turns.append(Script(words=2))
    conversation = await new(client)
    asking = (await respond(client, conversation, "delete in a conversation", tools=HOSTED))["output"][-1]
    assert asking["type"] == "mcp_approval_request"
    word = {"type": "mcp_approval_response", "approval_request_id": asking["id"], "approve": True}
    is_error(await ask(client, await new(client), [word], tools=HOSTED), 400, "approval_not_found")
    done = await respond(client, conversation, [word], tools=HOSTED)
    assert [item["type"] for item in done["output"]] == ["function_call", "function_call_output", "message"]
    is_error(await ask(client, conversation, [word], tools=HOSTED), 409, "approval_already_answered")


@pytest.mark.campaign
async def test_the_tools_of_an_mcp_server_are_listed_once_in_a_conversation(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """As long as the list is among its items, and the server is the same."""

    async def types(prompt: str, **tool: Any) -> list[str]:
        script = upstream.says(prompt, calls(("c", "add", {"a": 1, "b": 1})))
        script.turns.append(Script(words=2))
        response = await respond(client, conversation, prompt, tools=[{**calc, **tool}])
        return [item["type"] for item in response["output"]]

    calc = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
    conversation = await new(client)
    listed, known = ["mcp_list_tools", "mcp_call", "message"], ["mcp_call", "message"]
    assert await types("list it") == listed
    await stack.flush()
    assert await types("known by now") == known
    items = await items_of(client, conversation)
    assert sum(item["type"] == "mcp_list_tools" for item in items) == 1
    elsewhere = {"server_url": stack.mcp_url, "authorization": TOKEN}
    assert await types("at another address", **elsewhere) == listed
    assert await types("and there again", **elsewhere) == known
    for item in await items_of(client, conversation):
        if item["type"] == "mcp_list_tools":
            await client.delete(f"/v1/conversations/{conversation}/items/{item['id']}")
    assert await types("the list is gone") == listed


async def test_a_list_of_tools_that_a_client_wrote_is_asked_for_again(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("whose list", calls(("c", "add", {"a": 1, "b": 1})))
    script.turns.append(Script(words=2))
    forged = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "calc", "tools": [{"name": "sub"}]}
    calc = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
    response = await respond(client, await new(client, forged), "whose list", tools=[calc])
    assert [item["type"] for item in response["output"]] == ["mcp_list_tools", "mcp_call", "message"]


# --- items


async def test_a_reference_stands_for_an_item_of_the_conversation(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    conversation = await new(client, {**user("named by me"), "id": "msg_mine"}, user("second"))
    await respond(client, conversation, [{"type": "item_reference", "id": "msg_mine"}, user("what was it?")])
    assert "".join(shown(upstream)).count("named by me") == 2
    assert texts(await items_of(client, conversation))[:3] == ["named by me", "second", "what was it?"]
    elsewhere = await ask(client, await new(client), [{"type": "item_reference", "id": "msg_mine"}])
    is_error(elsewhere, 400, "item_not_found", "input[0].id")


async def test_an_item_of_a_response_can_be_added_by_reference_and_only_once(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("refer to me", Script(words=3))
    item = (await client.post("/v1/responses", json={"model": "fake", "input": "refer to me"})).json()["output"][0]
    conversation = await new(client)
    for given in ({"type": "item_reference", "id": item["id"]}, item):
        answer = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [given]})
        assert answer.json()["data"] == [item]
    assert await items_of(client, conversation) == [item]


async def test_an_input_whose_ids_are_taken_gets_its_own(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("another one", Script(words=1))
    conversation = await new(client, {**user("one"), "id": "msg_1"})
    await respond(client, conversation, [{**user("another one"), "id": "msg_1"}])
    items = await items_of(client, conversation)
    assert texts(items)[:2] == ["one", "another one"]
    assert len({item["id"] for item in items}) == 3
