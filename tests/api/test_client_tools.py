"""The client's tools that are no plain functions, over HTTP: the stream, its replay, chains, kills."""

from __future__ import annotations

import json
from typing import Any

import httpx

from open_responses.json_types import JsonObject
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import create, is_error
from tests.support.scripts import script
from tests.support.stack import Stack, collect, events_of

PATCH = {"type": "custom", "name": "patch", "description": "Edits a file."}
CRM = {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}]}


def written(upstream: Upstream) -> list[tuple[str, Any]]:
    """(role, text or calls) of each message that the model read last."""
    return [(m["role"], m.get("tool_calls") or m["content"]) for m in upstream.requests[-1]["messages"]]


def pieces(prompt: str, upstream: Upstream, *turns: Script, arguments: list[str]) -> Script:
    first = Script(words=0, tool_calls=[{"id": "c1", "name": "patch", "arguments": arguments}])
    return script(upstream, prompt, first, *turns)


async def test_a_custom_call_is_streamed_replayed_and_answered(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    answer = Script(words=3)
    pieces("patch it", upstream, answer, arguments=['{"input": "a\\', "nb \\u00", 'e9 \\"q', '\\""}'])
    events = await collect(client, {"input": "patch it", "tools": [PATCH], "store": True})
    deltas = [e["delta"] for e in events if e["type"] == "response.custom_tool_call_input.delta"]
    # On a busy machine, the pieces that a reader has not taken are one.
    assert "".join(deltas) == 'a\nb é "q"'
    response = events[-1]["response"]
    (call,) = response["output"]
    assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "patch", 'a\nb é "q"')
    assert response["tools"] == [PATCH]
    again = [e async for e in events_of(client, resume=(response["id"], None))]
    assert [{**e, "obfuscation": None} for e in again] == [{**e, "obfuscation": None} for e in events]

    output = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "patched"}
    after = await create(client, previous_response_id=response["id"], input=[output], tools=[PATCH])
    assert after["output"][0]["content"][0]["text"] == answer.text
    ((_, (called,)), (role, said)) = written(upstream)[-2:]
    assert json.loads(called["function"]["arguments"]) == {"input": call["input"]}
    assert (role, said) == ("tool", "patched")
    listed = (await client.get(f"/v1/responses/{after['id']}/input_items")).json()["data"]
    assert [item["type"] for item in listed] == ["custom_tool_call_output"]


async def test_tools_in_an_item_stay_for_the_chain(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "find a customer", calls(("c1", "crm__find", {})), Script(words=2))
    items: list[JsonObject] = [
        {"type": "additional_tools", "role": "developer", "tools": [CRM]},
        {"role": "user", "content": "find a customer"},
    ]
    first = await create(client, input=items)
    (call,) = first["output"]
    assert (call["name"], call["namespace"]) == ("find", "crm")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "found"}
    await create(client, previous_response_id=first["id"], input=[output])
    assert [tool["function"]["name"] for tool in upstream.requests[-1]["tools"]] == ["crm__find"]
    counted = await client.post("/v1/responses/input_tokens", json={"input": items})
    without = await client.post("/v1/responses/input_tokens", json={"input": items[1:]})
    assert counted.json()["input_tokens"] > without.json()["input_tokens"] + 10


async def test_a_call_of_a_shell_ends_the_response_beside_a_hosted_tool(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(
        upstream,
        "shell and weather",
        calls(("c1", "shell", {"commands": ["ls"]}), ("c2", "get_weather", {"city": "Oslo"})),
    )
    tools = [{"type": "shell"}, {"type": "function", "name": "get_weather"}]
    events = await collect(client, {"input": "shell and weather", "tools": tools})
    kinds = sorted(item["type"] for item in events[-1]["response"]["output"])
    assert kinds == ["function_call", "function_call_output", "shell_call"]
    shown = [(e["type"].rpartition(".")[2], e.get("command", e.get("delta"))) for e in events if "command_index" in e]
    assert shown == [("added", ""), ("delta", "ls"), ("done", "ls")]


async def test_a_conversation_keeps_custom_calls_and_what_items_offer(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    pieces("patch the conversation", upstream, Script(words=2), arguments=['{"input": "x"}'])
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    offer: JsonObject = {"type": "additional_tools", "role": "developer", "tools": [PATCH]}
    items = [offer, {"role": "user", "content": "patch the conversation"}]
    first = await create(client, conversation=conversation, input=items)
    output = {"type": "custom_tool_call_output", "call_id": first["output"][0]["call_id"], "output": "patched"}
    wrong = {**output, "type": "function_call_output"}
    answer = await client.post("/v1/responses", json={"model": "fake", "conversation": conversation, "input": [wrong]})
    is_error(answer, 400, "unknown_tool_call", "input[0].type")
    await create(client, conversation=conversation, input=[output])
    assert [tool["function"]["name"] for tool in upstream.requests[-1]["tools"]] == ["patch"]
    listed = (await client.get(f"/v1/conversations/{conversation}/items", params={"order": "asc"})).json()["data"]
    kinds = ["additional_tools", "message", "custom_tool_call", "custom_tool_call_output", "message"]
    assert [item["type"] for item in listed] == kinds


async def test_an_output_of_another_type_than_its_call_is_refused(client: httpx.AsyncClient) -> None:
    items = [
        {"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "x"},
    ]
    answer = await client.post("/v1/responses", json={"model": "fake", "input": items})
    is_error(answer, 400, "unknown_tool_call", "input[2].type")


async def test_a_worker_killed_within_a_custom_call_leaves_a_whole_call(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = Script(
        words=0,
        tool_calls=[{"id": "c1", "name": "patch", "arguments": ['{"input": "ha', "lf", '"}']}],
        hold_call_after=1,
    )
    script(upstream, "kill the patch", held)
    events: list[JsonObject] = []
    async for event in events_of(client, {"input": "kill the patch", "tools": [PATCH]}):
        events.append(event)
        if event["type"] == "response.custom_tool_call_input.delta" and not held.released.is_set():
            await stack.kill(await stack.busy_worker())
            held.released.set()
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    lost, whole = events[-1]["response"]["output"]
    assert (lost["input"], lost["status"]) == ("ha", "incomplete")
    assert (whole["input"], whole["status"], whole["name"]) == ("half", "completed", "patch")
    assert lost["call_id"] != whole["call_id"]
