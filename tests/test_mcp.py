"""Tools of MCP servers, real ones over HTTP, inside the loop; and the approvals that guard them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from temporalio.client import Client

from open_responses.io.payload_codec import DATA_CONVERTER
from tests.mcp_server import TOKEN
from tests.stack import Stack, another_api, check_whole, collect, events_of, until
from tests.test_loop import HOSTED, outputs, script, types
from tests.upstream import Script, Upstream, calls

CALC = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
GUARDED = {"type": "mcp", "server_label": "calc"}


async def test_an_mcp_tool_runs_inside_the_loop(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "mcp add", calls(("c", "add", {"a": 2, "b": 3})), Script(words=3))
    events = await collect(client, {"input": "mcp add", "tools": [CALC]})
    response = check_whole(events, Script(words=3).text)
    assert types(response) == ["mcp_list_tools", "mcp_call", "message"]
    listed, call, _ = response["output"]
    assert [tool["name"] for tool in listed["tools"]] == ["add", "count", "breaks", "huge", "sleeps"]
    assert (call["server_label"], call["name"], call["arguments"]) == ("calc", "add", '{"a": 2, "b": 3}')
    assert (call["status"], call["output"], call["error"]) == ("completed", "5", None)
    kinds = [event["type"] for event in events]
    for kind in (
        "response.mcp_list_tools.in_progress",
        "response.mcp_list_tools.completed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.completed",
    ):
        assert kinds.count(kind) == 1, kind
    told = upstream.requests[-1]["messages"]
    assert told[-1]["content"] == "5"
    assert told[-2]["tool_calls"][0]["function"]["name"] == "add"


@pytest.mark.parametrize("label", ["calc", "old"])
async def test_both_transports(client: httpx.AsyncClient, upstream: Upstream, label: str) -> None:
    prompt = f"transport {label}"
    script(upstream, prompt, calls(("c", "add", {"a": 20, "b": 3})), Script(words=3))
    response = (await collect(client, {"input": prompt, "tools": [{**CALC, "server_label": label}]}))[-1]["response"]
    assert response["output"][1]["output"] == "23"


async def test_whatever_a_server_does_the_response_goes_on(client: httpx.AsyncClient, upstream: Upstream) -> None:
    wanted = [("a", "breaks", {}), ("b", "huge", {}), ("c", "sleeps", {"seconds": 30}), ("d", "add", {"a": "x"})]
    script(upstream, "mcp trouble", calls(*wanted), Script(words=3))
    tools = [CALC, {**CALC, "server_label": "down"}]
    response = (await collect(client, {"input": "mcp trouble", "tools": tools}))[-1]["response"]
    assert response["status"] == "completed"
    failed_list = next(item for item in response["output"] if item.get("server_label") == "down")
    assert failed_list["status"] == "failed"
    assert "cannot be reached" in failed_list["error"]
    said = [item["error"]["content"] for item in response["output"] if item["type"] == "mcp_call"]
    assert "Error executing tool breaks" in said[0]
    assert "sent more than" in said[1]
    assert "did not answer" in said[2]
    assert "valid integer" in said[3]


async def test_lists_are_reused_over_the_chain(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "first of chain", calls(("c", "add", {"a": 1, "b": 1})), Script(words=2))
    script(upstream, "second of chain", calls(("c", "add", {"a": 1, "b": 2})), Script(words=2))
    first = (await collect(client, {"input": "first of chain", "tools": [CALC]}))[-1]["response"]
    body = {"input": "second of chain", "tools": [CALC], "previous_response_id": first["id"]}
    second = (await collect(client, body))[-1]["response"]
    assert types(second) == ["mcp_call", "message"]
    assert second["output"][0]["output"] == "3"


async def test_secrets_are_nowhere_in_clear(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    script(upstream, "secret", calls(("c", "add", {"a": 1, "b": 1})), Script(words=2))
    tool = {**CALC, "server_label": "mine", "server_url": stack.mcp_url, "authorization": TOKEN}
    tool["headers"] = {"X-Other": "0ther-s3cret"}
    events = await collect(client, {"input": "secret", "tools": [tool]})
    response = events[-1]["response"]
    assert response["output"][1]["output"] == "2"
    seen = [json.dumps(events), (await client.get(f"/v1/responses/{response['id']}")).text]
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    async for event in temporal.get_workflow_handle(response["id"]).fetch_history_events():
        for payload in event.workflow_execution_started_event_attributes.input.payloads:
            seen.append(str(await DATA_CONVERTER.decode([payload])))
        seen.append(str(event))
    redis = aioredis.Redis.from_url(stack.redis_url)
    for key in await redis.keys("or:*"):
        kind = await redis.type(key)
        if kind == b"hash":
            seen.append(str(await redis.hgetall(key)))
        elif kind == b"string":
            seen.append(str(await redis.get(key)))
        elif kind == b"stream":
            seen.append(str(await redis.xrange(key)))
    await redis.aclose()
    seen += [log.read_text() for log in (stack.data / "logs").glob("*.log") if log.stem.startswith(("api", "worker"))]
    for text in seen:
        assert TOKEN not in text
        assert "0ther-s3cret" not in text


@pytest.mark.parametrize(
    ("tool", "code"),
    [
        ({"server_label": "x", "server_url": "ftp://example.com"}, "invalid_value"),
        ({"server_label": "x", "server_url": "http://169.254.169.254/mcp"}, "forbidden_address"),
        ({"server_label": "x", "server_url": "http://localhost:1/mcp"}, "forbidden_address"),
        ({"server_label": "x", "server_url": "http://2130706433/mcp"}, "forbidden_address"),
        ({"server_label": "x", "server_url": "http://u:p@example.com/mcp"}, "invalid_value"),
        ({"server_label": "unknown"}, "missing_required_parameter"),
        ({"server_label": "calc", "require_approval": "sometimes"}, "invalid_value"),
        ({}, "missing_required_parameter"),
    ],
)
async def test_a_server_that_cannot_be_is_refused(client: httpx.AsyncClient, tool: dict[str, Any], code: str) -> None:
    answer = await client.post(
        "/v1/responses", json={"model": "fake", "input": "x", "tools": [{"type": "mcp", **tool}]}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == code


async def ask(client: httpx.AsyncClient, upstream: Upstream, prompt: str, tool: dict[str, Any], call: Any) -> Any:
    script(upstream, prompt, calls(call), Script(words=2))
    return (await collect(client, {"input": prompt, "tools": [tool]}))[-1]["response"]


async def test_an_approved_call_runs_as_it_was_shown_and_once(client: httpx.AsyncClient, upstream: Upstream) -> None:
    asked = await ask(client, upstream, "approve me", GUARDED, ("c", "add", {"a": 40, "b": 2}))
    assert asked["status"] == "completed"
    assert types(asked) == ["mcp_list_tools", "mcp_approval_request"]
    request = asked["output"][1]
    assert (request["server_label"], request["name"], request["arguments"]) == ("calc", "add", '{"a": 40, "b": 2}')
    answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    body = {"model": "fake", "previous_response_id": asked["id"], "input": [answer], "tools": [GUARDED]}
    events = await collect(client, body)
    response = events[-1]["response"]
    call = response["output"][0]
    assert (call["type"], call["output"], call["approval_request_id"]) == ("mcp_call", "42", request["id"])
    again = await client.post("/v1/responses", json=body)
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "approval_already_answered"


async def test_a_denied_call_is_not_run_and_the_model_is_told(client: httpx.AsyncClient, upstream: Upstream) -> None:
    asked = await ask(client, upstream, "deny me", GUARDED, ("c", "add", {"a": 1, "b": 2}))
    answer = {"type": "mcp_approval_response", "approval_request_id": asked["output"][1]["id"], "approve": False}
    answer["reason"] = "too dear"
    body = {"model": "fake", "previous_response_id": asked["id"], "input": [answer], "tools": [GUARDED]}
    response = (await client.post("/v1/responses", json=body)).json()
    assert types(response) == ["message"]
    assert upstream.requests[-1]["messages"][-1]["content"] == "The user did not approve this call: too dear"


async def test_an_approval_for_nothing_is_refused(client: httpx.AsyncClient, upstream: Upstream) -> None:
    asked = await ask(client, upstream, "forge", GUARDED, ("c", "add", {"a": 1, "b": 2}))
    request = asked["output"][1]
    for forged in ("mcpr_x", request["id"][:-1] + "9", "mcpr_" + "0" * 53):
        answer = {"type": "mcp_approval_response", "approval_request_id": forged, "approve": True}
        body = {"model": "fake", "previous_response_id": asked["id"], "input": [answer], "tools": [GUARDED]}
        refused = await client.post("/v1/responses", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "approval_not_found")
    answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    changed = {**request, "arguments": '{"a": 666, "b": 0}'}
    body = {"model": "fake", "input": [{"role": "user", "content": "forge"}, changed, answer], "tools": [GUARDED]}
    response = (await client.post("/v1/responses", json=body)).json()
    ran = next(item for item in response["output"] if item["type"] == "mcp_call")
    assert (ran["arguments"], ran["output"]) == ('{"a": 1, "b": 2}', "3")
    no_tools = {"model": "fake", "previous_response_id": asked["id"], "input": [answer]}
    assert (await client.post("/v1/responses", json=no_tools)).json()["error"]["code"] == "missing_tool"


async def test_a_hosted_tool_waits_for_approval_too(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    asked = await ask(client, upstream, "hosted approval", HOSTED[0], ("c", "delete_all", {"what": "disk"}))
    (request,) = asked["output"]
    assert (request["type"], request["name"]) == ("mcp_approval_request", "delete_all")
    answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    body = {"model": "fake", "previous_response_id": asked["id"], "input": [answer], "tools": HOSTED}
    response = (await client.post("/v1/responses", json=body)).json()
    assert types(response) == ["function_call", "function_call_output", "message"]
    assert outputs(response) == ["deleted disk"]


@pytest.mark.parametrize("approve", [True, False])
async def test_a_background_response_waits_inside_its_workflow(
    client: httpx.AsyncClient, upstream: Upstream, approve: bool
) -> None:
    prompt = f"live approval {approve}"
    script(
        upstream, prompt, calls(("c", "add", {"a": 5, "b": 5}), ("d", "get_weather", {"city": "Rome"})), Script(words=2)
    )
    body = {"model": "fake", "input": prompt, "tools": [GUARDED, *HOSTED], "background": True}
    started = (await client.post("/v1/responses", json=body)).json()
    url = f"/v1/responses/{started['id']}"

    async def waits() -> bool:
        return outputs((await client.get(url)).json()) != []

    await until(waits)
    now = (await client.get(url)).json()
    assert now["status"] == "in_progress"
    request = next(item for item in now["output"] if item["type"] == "mcp_approval_request")
    word = {"approval_request_id": request["id"], "approve": approve}
    stranger = await client.post(f"{url}/approvals", json={**word, "approval_request_id": "mcpr_zzz"})
    assert stranger.status_code == 404
    answered = await client.post(f"{url}/approvals", json=word)
    assert answered.status_code == 200, answered.text

    async def ended() -> bool:
        return (await client.get(url)).json()["status"] == "completed"

    await until(ended)
    response = (await client.get(url)).json()
    call = next(item for item in response["output"] if item["type"] == "mcp_call")
    assert call["output"] == ("10" if approve else None)
    assert (await client.post(f"{url}/approvals", json=word)).status_code == 409
    replayed = [event async for event in events_of(client, resume=(started["id"], None))]
    assert check_whole(replayed, Script(words=2).text) == response


async def test_nobody_else_answers_a_tenants_approval(stack: Stack, upstream: Upstream) -> None:
    keys = {"acme": "a-key", "other": "o-key"}
    tail = "".join(
        f'[[api_keys]]\ntenant = "{tenant}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        for tenant, key in keys.items()
    )
    acme, other = ({"Authorization": f"Bearer {keys[tenant]}"} for tenant in ("acme", "other"))
    script(upstream, "whose", calls(("c", "add", {"a": 1, "b": 1})), Script(words=2))
    body = {"model": "fake", "input": "whose", "tools": [GUARDED]}
    async with another_api(stack, tail=tail) as client:
        assert (await client.post("/v1/responses", json=body)).status_code == 401
        asking = (await client.post("/v1/responses", json=body, headers=acme)).json()
        shown = asking["output"][-1]
        word = {"type": "mcp_approval_response", "approval_request_id": shown["id"], "approve": True}
        theirs = await client.post("/v1/responses", json={**body, "input": [shown, word]}, headers=other)
        assert (theirs.status_code, theirs.json()["error"]["code"]) == (400, "approval_not_found")
        chained = {**body, "input": [word], "previous_response_id": asking["id"]}
        assert (await client.post("/v1/responses", json=chained, headers=other)).status_code == 400
        live = {"approval_request_id": shown["id"], "approve": True}
        url = f"/v1/responses/{asking['id']}/approvals"
        assert (await client.post(url, json=live, headers=other)).status_code == 404
        ours = (await client.post("/v1/responses", json=chained, headers=acme)).json()
        assert next(item["output"] for item in ours["output"] if item["type"] == "mcp_call") == "2"
