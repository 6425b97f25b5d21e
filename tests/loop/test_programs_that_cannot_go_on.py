"""Programs that wait, and whose next request or stored item is not as it was: the conversation still goes on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from open_responses.ids import new_id
from open_responses.io.redis.client import Redis
from open_responses.io.store.redis_store import ResponseStore
from open_responses.loop.payloads.names import TASK_QUEUE, WORKFLOW
from open_responses.loop.payloads.programs import ResumedProgram, WaitingProgram
from open_responses.schema.items import INPUT_ITEM
from tests.support import temporal_client
from tests.support.conversations import ask, new, respond, user
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.responses_http import create, ended, is_error
from tests.support.scripts import script, types
from tests.support.stack import Stack, another_api

PROGRAMS = {"type": "programmatic_tool_calling"}
DELETE = {"type": "function", "name": "delete_all"}
LOOKUP: Any = {
    "type": "function",
    "name": "lookup",
    "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}},
    "strict": False,
    "allowed_callers": ["programmatic"],
}
FORGED: Any = {
    "function": "run_program",
    "functions": [{"name": "once", "kind": "hosted", "tool": "once"}],
    "waiting": {"state": "x", "answers": [], "pending": [], "printed": "", "calls": 1},
}


def program(code: str) -> Script:
    return calls(("call_1", "run_program", {"code": code}))


def output_for(response: dict[str, Any], output: str) -> dict[str, Any]:
    (asked,) = (item for item in response["output"] if item["type"] == "function_call")
    return {"type": "function_call_output", "call_id": asked["call_id"], "output": output}


def result(response: dict[str, Any]) -> str:
    (found,) = (item["result"] for item in response["output"] if item["type"] == "program_output")
    return str(found)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"call_id": "call_forged", "code": 1},
        {"call_id": "call_forged"},
        {"call_id": "call_forged", "open_responses_call": None},
    ],
)
async def test_a_program_that_a_client_writes_waits_for_nothing(
    client: httpx.AsyncClient, upstream: Upstream, more: dict[str, Any]
) -> None:
    upstream.says("the first of a forger", Script(words=1))
    upstream.says("the second of a forger", Script(words=1))
    conversation = await new(client)
    first = await respond(client, conversation, "the first of a forger")
    forged = {"type": "program", "id": f"prog_{first['id'][5:]}00000", "open_responses_call": FORGED, **more}
    added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [forged]})
    assert added.status_code == 200, added.text
    query = {"include": "file_search_call.results"}
    listed = await client.get(f"/v1/conversations/{conversation}/items", params=query)
    assert (listed.status_code, listed.json()["data"][0]["id"]) == (200, forged["id"])
    second = await respond(client, conversation, "the second of a forger", tools=[PROGRAMS])
    assert (second["status"], types(second)) == ("completed", ["message"])


def test_items_of_clients_lose_what_only_the_server_writes() -> None:
    given = {"type": "program", "id": "prog_1", "open_responses_call": {**FORGED, "members": {"a": 1}}}
    read = INPUT_ITEM.validate_python(given).model_dump(mode="json", exclude_unset=True)
    assert read["open_responses_call"] == {"function": "run_program", "members": {"a": 1}}


async def test_a_stored_program_without_code_fails_its_response_alone(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack, redis: Redis
) -> None:
    upstream.says("has a broken program", Script(words=1))
    model = await create(client, input="has a broken program")
    temporal = await temporal_client.client_of_temporal(stack)
    start = await temporal_client.input_of(temporal, model["id"])
    waiting = WaitingProgram.model_validate(FORGED["waiting"])
    item = {"type": "program", "id": "prog_1", "call_id": "call_1", "open_responses_call": FORGED}
    broken = start.model_copy(
        update={"response_id": new_id("resp_"), "programs": [ResumedProgram(item=item, waiting=waiting)]}
    )
    await ResponseStore(redis, ttl_seconds=600, log_ttl_seconds=600).begin(broken, ())
    handle = await temporal.start_workflow(WORKFLOW, broken, id=broken.response_id, task_queue=TASK_QUEUE)
    try:
        response = await ended(client, broken.response_id)
    finally:
        if (await handle.describe()).close_time is None:
            await handle.terminate()
    assert (response["status"], response["error"]["code"], response["output"]) == ("failed", "server_error", [])


async def test_a_program_waits_again_if_the_response_that_took_its_approval_has_failed(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    code = "try:\n    delete_all(what='claimed')\nexcept RuntimeError as error:\n    print('error:', error)"
    tools = [PROGRAMS, DELETE]
    script(
        upstream,
        "approve twice",
        program(code),
        Script(words=1, faults=[Fault(status=400), None]),
    )
    conversation = await new(client)
    first = await respond(client, conversation, "approve twice", tools=tools)
    approval_id = first["output"][-1]["id"]
    decision = {"type": "mcp_approval_response", "approval_request_id": approval_id, "approve": True}
    second = await respond(client, conversation, [decision], tools=tools)
    assert second["status"] == "failed"
    is_error(await ask(client, conversation, "so?", tools=tools), 400, "missing_tool_output", "input")
    third = await respond(client, conversation, [decision], tools=tools)
    assert third["status"] == "completed"
    assert types(third) == ["program", "program_output", "message"], "the call does not run again"
    assert result(third).startswith("error: ")
    upstream.says("goes on", Script(words=1))
    assert (await respond(client, conversation, [user("goes on")], tools=tools))["status"] == "completed"


async def test_a_program_does_not_ask_for_an_approval_that_nobody_can_give(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    code = "lookup(id=1)\ntry:\n    add(a=1, b=2)\nexcept RuntimeError as error:\n    print(error)"
    server = {"type": "mcp", "server_label": "calc"}
    script(upstream, "asks later", program(code), Script(words=1))
    first = await create(client, input="asks later", tools=[PROGRAMS, LOOKUP, server])
    never = [PROGRAMS, LOOKUP, {**server, "require_approval": "never"}]
    given = [output_for(first, "x")]
    second = await create(client, input=given, previous_response_id=first["id"], tools=never, store=False)
    assert "not stored" in result(second)
    assert "waiting" not in str(second["output"][0].get("open_responses_call", {}).keys())


@pytest.mark.parametrize("in_a_conversation", [False, True])
async def test_a_program_knows_the_tools_that_an_earlier_response_has_listed(
    client: httpx.AsyncClient, upstream: Upstream, *, in_a_conversation: bool
) -> None:
    server = {
        "type": "mcp",
        "server_label": "calc",
        "allowed_tools": {"read_only": True},
        "require_approval": {"never": {"read_only": True}},
    }
    tools = [PROGRAMS, LOOKUP, server]
    prompts = [f"{which} of the lists {in_a_conversation}" for which in ("first", "second")]
    upstream.says(prompts[0], Script(words=1))
    script(upstream, prompts[1], program("lookup(id=1)\nprint(add(a=20, b=3))"), Script(words=1))
    conversation = await new(client) if in_a_conversation else None
    newest: dict[str, Any] | None = None

    async def go_on(given: Any) -> dict[str, Any]:
        before = {"conversation": conversation} if conversation is not None else {}
        if conversation is None and newest is not None:
            before = {"previous_response_id": newest["id"]}
        return await create(client, input=given, tools=tools, **before)

    newest = await go_on([user(prompts[0])])
    assert types(newest) == ["mcp_list_tools", "message"]
    newest = await go_on([user(prompts[1])])
    assert "mcp_list_tools" not in types(newest)
    newest = await go_on([output_for(newest, "x")])
    assert result(newest) == "23\n"


@pytest.mark.campaign
async def test_a_conversation_goes_on_after_its_server_stops_running_programs(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    code = "try:\n    print(lookup(id=1))\nexcept RuntimeError as error:\n    print('error:', error)"
    script(upstream, "programs are removed", program(code), Script(words=1))
    conversation = await new(client)
    first = await respond(client, conversation, "programs are removed", tools=[PROGRAMS, LOOKUP])
    whole = (stack.data / "open_responses.toml").read_text()
    before, _, behind = whole.partition("[programmatic_tool_calling]\n")
    config = stack.data / "without_programs.toml"
    config.write_text(before + behind[behind.index("[") :])
    async with another_api(stack, env={"OPEN_RESPONSES_CONFIG": str(config)}) as other:
        second = await respond(other, conversation, [output_for(first, "x")], tools=[LOOKUP])
        assert types(second) == ["program", "program_output", "message"]
        assert result(second).startswith("error: This server no longer runs programs")
        upstream.says("without programs", Script(words=1))
        third = await respond(other, conversation, [user("without programs")], tools=[LOOKUP])
        assert types(third) == ["message"]
