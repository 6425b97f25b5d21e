"""Tools of MCP servers, real ones over HTTP, inside the loop; and the approvals that guard them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from temporalio.client import Client

from activities.tool_calls.mcp import shown_tools
from activities.tools.mcp_server import McpToolDefinition
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.mcp_requests import GUARDED, ask
from tests.support.mcp_token import TOKEN
from tests.support.scripts import HOSTED, outputs, script, types
from tests.support.stack import Stack, another_api, check_whole, collect, events_of, until

CALC = {"type": "mcp", "server_label": "calc", "require_approval": "never"}


async def test_an_mcp_tool_runs_inside_the_loop(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "mcp add", calls(("c", "add", {"a": 2, "b": 3})), Script(words=3))
    events = await collect(client, {"input": "mcp add", "tools": [CALC]})
    response = check_whole(events, Script(words=3).text)
    assert types(response) == ["mcp_list_tools", "mcp_call", "message"]
    listed, call, _ = response["output"]
    assert [tool["name"] for tool in listed["tools"]] == ["add", "count", "breaks", "huge", "sleeps", "note"]
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
    listed, called, _ = response["output"]
    assert (listed["error"], called["error"]) == (None, None)
    assert called["output"] == "23"


@pytest.mark.campaign
async def test_whatever_a_server_does_the_response_goes_on(client: httpx.AsyncClient, upstream: Upstream) -> None:
    wanted = [("a", "breaks", {}), ("b", "huge", {}), ("c", "sleeps", {"seconds": 30}), ("d", "add", {"a": "x"})]
    script(upstream, "mcp trouble", calls(*wanted), Script(words=3))
    # Two labels of one server: the one with the shorter limit has the tool that does not answer.
    tools = [
        {**CALC, "allowed_tools": ["breaks", "huge", "add"]},
        {**CALC, "server_label": "hurried", "allowed_tools": ["sleeps"]},
        {**CALC, "server_label": "down"},
    ]
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
        ({"server_label": "open_responses", "server_url": "https://example.com/mcp"}, "invalid_value"),
        ({"server_label": "x", "server_url": "https://exa mple.com/mcp"}, "invalid_value"),
        ({"server_label": "x", "server_url": "https://example.com/m\ncp"}, "invalid_value"),
        ({"server_label": "x", "server_url": "https://exa<mple.com/mcp"}, "invalid_value"),
        ({"server_label": "x", "server_url": "https://example.com:99999/mcp"}, "invalid_value"),
        ({"server_label": "calc", "headers": {"X-A": "a\r\nX-B: b"}}, "invalid_value"),
        ({"server_label": "calc", "headers": {"bad name": "x"}}, "invalid_value"),
        ({"server_label": "calc", "headers": {"Content-Length": "5"}}, "invalid_value"),
        ({"server_label": "calc", "authorization": "token\n"}, "invalid_value"),
        ({}, "missing_required_parameter"),
    ],
)
async def test_a_server_that_cannot_be_is_refused(client: httpx.AsyncClient, tool: dict[str, Any], code: str) -> None:
    answer = await client.post(
        "/v1/responses", json={"model": "fake", "input": "x", "tools": [{"type": "mcp", **tool}]}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == code


async def test_a_request_has_so_many_servers_at_the_most(client: httpx.AsyncClient) -> None:
    servers = [{**CALC, "server_label": f"s{i}", "server_url": "https://example.com/mcp"} for i in range(33)]
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "x", "tools": servers})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


@pytest.mark.campaign
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


@pytest.mark.campaign
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


ODD = {"type": "mcp", "server_label": "odd", "require_approval": "never"}


async def called(client: httpx.AsyncClient, upstream: Upstream, *names: str) -> list[dict[str, Any]]:
    """The `mcp_call` items of one turn that calls these tools of the odd server."""
    prompt = f"odd {names}"
    script(upstream, prompt, calls(*((f"c{i}", name, {}) for i, name in enumerate(names))), Script(words=2))
    response = (await collect(client, {"input": prompt, "tools": [ODD]}))[-1]["response"]
    assert response["status"] == "completed", response["error"]
    return [item for item in response["output"] if item["type"] == "mcp_call"]


async def tally(client: httpx.AsyncClient, upstream: Upstream) -> dict[str, int]:
    """How often each tool of the odd server has run."""
    (call,) = await called(client, upstream, "tally")
    counted: dict[str, int] = json.loads(call["output"])
    return counted


async def test_a_schema_that_is_none_is_left_out_and_the_list_says_so(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "lying", calls(("c", "odd_type", {"any": 1})), Script(words=2))
    response = (await collect(client, {"input": "lying", "tools": [ODD]}))[-1]["response"]
    assert response["status"] == "completed"
    listed = {tool["name"]: tool for tool in response["output"][0]["tools"]}
    for name, why in (("deep", "Goes deep. [The server's schema"), ("odd_type", "strnig")):
        assert listed[name]["input_schema"] == {"type": "object", "properties": {}}
        assert why in listed[name]["description"]
    assert response["output"][1]["output"] == "fine"


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object", "properties": {}, "required": "a"}, "'required' must be an array of strings"),
        ({"type": "array", "properties": {}}, "'type' must be 'object'"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}}, "example.com"),
        ({"type": "object", "properties": {"a": {"const": "\ud83d"}}}, "surrogate"),
    ],
)
async def test_what_is_wrong_with_a_schema_is_said_in_the_description(schema: dict[str, Any], why: str) -> None:
    (shown,) = await shown_tools([McpToolDefinition("t", "Does it.", schema)], SchemaChecks(), "tenant")
    assert shown["input_schema"] == {"type": "object", "properties": {}}
    assert shown["description"].startswith("Does it. [The server's schema of the arguments is left out: ")
    assert why in shown["description"]


async def test_a_list_that_a_client_sends_is_checked(client: httpx.AsyncClient, upstream: Upstream) -> None:
    shown = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "odd", "tools": [{"foo": 1}]}
    body = {"model": "fake", "input": [shown, {"role": "user", "content": "listed by me"}], "tools": [ODD]}
    refused = await client.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[0].tools[0].name")
    shown["tools"] = [{"name": "lies", "input_schema": {"type": "object", "required": "a"}}]
    assert (await client.post("/v1/responses", json=body)).json()["status"] == "completed"


async def test_a_call_that_may_have_run_is_made_again_only_where_the_server_says_that_it_may_be(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    before = await tally(client, upstream)
    pays, reads = await called(client, upstream, "pays", "reads")
    after = await tally(client, upstream)
    assert {name: after[name] - before.get(name, 0) for name in ("pays", "reads")} == {"pays": 1, "reads": 2}
    assert "502" in pays["error"]["content"]
    assert "Whether the call took effect is not known" in pays["error"]["content"]
    assert reads["output"] == "fine"


UNKNOWN_AFTER = (
    "closes_the_stream",
    "closes_the_connection",
    "sends_too_much",
    "sends_garbage",
    "sends_a_page",
    "sends_half_an_answer",
    "only_accepts",
    "is_elsewhere",
    "is_slowed_down",
    "breaks_its_word",
    "zipped",
)
KNOWN_AFTER = {
    "refuses": "422",
    "forbids": "refused the credentials",
    "has_an_error": "no such account",
    "has_an_error_on_a_stream": "no such account",
    "fails_by_itself": "too little money",
}


async def test_the_model_is_not_invited_to_repeat_a_call_that_was_sent_and_whose_answer_was_not_seen(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    before = await tally(client, upstream)
    items = await called(client, upstream, *UNKNOWN_AFTER)
    after = await tally(client, upstream)
    for item in items:
        said = item["error"]["content"]
        assert "Whether the call took effect is not known." in said, (item["name"], said)
        assert "must not be repeated without checking" in said, (item["name"], said)
        assert after[item["name"]] - before.get(item["name"], 0) == 1, item["name"]
    assert len(items) == len(UNKNOWN_AFTER)


async def test_a_server_that_says_that_a_call_failed_is_believed(client: httpx.AsyncClient, upstream: Upstream) -> None:
    items = await called(client, upstream, *KNOWN_AFTER)
    assert len(items) == len(KNOWN_AFTER)
    for item in items:
        said = item["error"]["content"]
        assert KNOWN_AFTER[item["name"]] in said, (item["name"], said)
        assert "not known" not in said, (item["name"], said)


async def test_a_call_that_may_be_repeated_is_made_again_when_its_stream_was_closed(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    before = await tally(client, upstream)
    (read,) = await called(client, upstream, "reads_and_closes")
    after = await tally(client, upstream)
    assert (read["output"], before.get("reads_and_closes", 0), after["reads_and_closes"]) == ("fine", 0, 2)


@pytest.mark.campaign
async def test_a_worker_killed_in_an_mcp_call_makes_it_again_only_where_that_does_no_harm(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    before = await tally(client, upstream)
    calling = asyncio.create_task(called(client, upstream, "pays_slowly", "reads_slowly"))

    async def are_running() -> bool:
        now = await tally(client, upstream)
        return all(now.get(name, 0) > before.get(name, 0) for name in ("pays_slowly", "reads_slowly"))

    await until(are_running)
    for name in ("worker-0", "worker-1"):
        await stack.kill_seen(name)
    await stack.heal()
    pays, reads = await calling
    after = await tally(client, upstream)
    ran = {name: after[name] - before.get(name, 0) for name in ("pays_slowly", "reads_slowly")}
    assert ran == {"pays_slowly": 1, "reads_slowly": 2}
    assert "was lost" in pays["error"]["content"]
    assert "not known" in pays["error"]["content"]
    assert reads["output"] == "fine"


async def test_a_compressed_answer_is_refused_since_nobody_knows_its_size(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    (call,) = await called(client, upstream, "zipped")
    assert "compressed" in call["error"]["content"]


async def test_a_cancelled_mcp_call_ends_as_failed(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "cancel mcp", calls(("c", "pays_slowly", {})), Script(words=2))
    body = {"model": "fake", "input": "cancel mcp", "tools": [ODD], "background": True}
    url = f"/v1/responses/{(await client.post('/v1/responses', json=body)).json()['id']}"

    async def runs() -> bool:
        return "mcp_call" in types((await client.get(url)).json())

    await until(runs)
    await client.post(f"{url}/cancel")
    kinds = [event["type"] async for event in events_of(client, resume=(url.rpartition("/")[2], None))]
    assert kinds[-3:] == ["response.mcp_call.failed", "response.output_item.done", "response.incomplete"]
