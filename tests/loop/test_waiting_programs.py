"""Programs that wait for the client: for outputs of its functions, and for a person's approvals."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from open_responses.io.redis.client import Redis
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.responses_http import create, is_error
from tests.support.scripts import script, types
from tests.support.stack import Stack, check_whole, collect, until
from tests.support.vendor_scripts import Spoken, call

PROGRAMS = {"type": "programmatic_tool_calling"}
WRITE = {"type": "function", "name": "once"}
DELETE = {"type": "function", "name": "delete_all"}
LOOKUP: Any = {
    "type": "function",
    "name": "lookup",
    "description": "Looks a customer up.",
    "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
    "strict": False,
    "allowed_callers": ["programmatic"],
}
LOOP = "total = 0\nfor id in range(3):\n    total += (await lookup(id=id))['sum']\nprint(total)"


def program(code: str, call_id: str = "call_1") -> Script:
    return calls((call_id, "run_program", {"code": code}))


def told(upstream: Upstream) -> list[str]:
    return [message["content"] for message in upstream.requests[-1]["messages"] if message["role"] == "tool"]


def lines(stack: Stack, *response_ids: str) -> list[str]:
    """What the tool `once` has written for these responses."""
    file = Path(stack.data) / "hosted" / "lines"
    found = file.read_text().splitlines() if file.exists() else []
    return [line.partition(" ")[2] for line in found if line.startswith(response_ids)]


def output_for(item: dict[str, Any], output: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": item["call_id"], "output": output}


def open_calls(response: dict[str, Any]) -> list[dict[str, Any]]:
    answered = {item["call_id"] for item in response["output"] if item["type"] == "function_call_output"}
    return [item for item in response["output"] if item["type"] == "function_call" and item["call_id"] not in answered]


async def test_the_openai_sdk_unchanged_answers_the_calls_of_a_program_and_it_goes_on(
    upstream: Upstream, stack: Stack
) -> None:
    script(upstream, "three customers", program(LOOP), Script(words=1))
    sdk = AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0)
    tools: Any = [PROGRAMS, LOOKUP]
    response = await sdk.responses.create(model="fake", input="three customers", tools=tools)
    (ran, *_) = response.output
    assert ran.type == "program"
    asked = []
    for _ in range(3):
        assert response.status == "completed"
        made = response.output[-1]
        assert made.type == "function_call"
        assert made.caller is not None
        assert made.caller.type == "program"
        assert made.caller.caller_id == ran.call_id
        asked.append(json.loads(made.arguments)["id"])
        given: Any = [
            {
                "type": "function_call_output",
                "call_id": made.call_id,
                "output": json.dumps({"sum": 10 + asked[-1]}),
                "caller": made.caller.model_dump(),
            }
        ]
        response = await sdk.responses.create(model="fake", input=given, tools=tools, previous_response_id=response.id)
    assert asked == [0, 1, 2]
    assert [item.type for item in response.output] == ["program", "program_output", "message"]
    assert told(upstream) == ["33\n"], "the model reads one call with one output"
    messages = upstream.requests[-1]["messages"]
    assert [len(one.get("tool_calls", ())) for one in messages if one["role"] == "assistant"] == [1]
    (offered,) = upstream.requests[-1]["tools"]
    assert "- lookup(id): Looks a customer up." in offered["function"]["description"]
    upstream.says("and then", Script(words=1))
    await sdk.responses.create(model="fake", input="and then", previous_response_id=response.id, tools=tools)
    assert told(upstream) == ["33\n"]


async def test_calls_of_the_server_beside_run_once_in_the_response_that_made_them(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    code = (
        "import asyncio\n"
        "a, b, c = await asyncio.gather(once(text='beside'), lookup(id=1), lookup(id=2))\n"
        "print(a, b, c)\nprint(await once(text='after'))"
    )
    tools = [PROGRAMS, LOOKUP, WRITE]
    script(upstream, "side by side", program(code), Script(words=1))
    first = check_whole(await collect(client, {"input": "side by side", "tools": tools}), "")
    one, two = open_calls(first)
    assert lines(stack, first["id"]) == ["beside"]
    body = {"tools": tools, "previous_response_id": first["id"]}
    lacking = await client.post("/v1/responses", json={"model": "fake", "input": [output_for(one, "x")], **body})
    is_error(lacking, 400, "missing_tool_output", "input")
    answers = [output_for(two, "second"), output_for(one, "first")]
    second = check_whole(await collect(client, {"input": answers, **body}), "w0 ")
    assert second["output"][-2]["result"] == "written first second\nwritten\n"
    assert lines(stack, first["id"], second["id"]) == ["beside", "after"]
    assert (await client.get(f"/v1/responses/{second['id']}")).json() == second


async def test_a_conversation_and_another_provider_go_on_with_a_program(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    code = "print(lookup(id=5))"
    vendors.says("wait for anthropic", Spoken(words=0, tool_calls=[call("run_program", code=code)]), Spoken(words=1))
    body = {"model": "anthropic-fake", "tools": [PROGRAMS, LOOKUP], "conversation": conversation}
    first = await create(client, input="wait for anthropic", **body)
    (asked,) = open_calls(first)
    second = await create(client, input=[output_for(asked, "five")], **body)
    assert types(second) == ["program", "program_output", "message"]
    assert "five" in str(vendors.asked("anthropic", "wait for anthropic")[-1])


async def test_what_the_next_request_does_not_bring_the_program_cannot_call(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    code = "lookup(id=1)\ntry:\n    once(text='forbidden')\nexcept NameError as error:\n    print(error)"
    script(upstream, "fewer tools", program(code), Script(words=1))
    first = await create(client, model="fake", input="fewer tools", tools=[PROGRAMS, LOOKUP, WRITE])
    (asked,) = open_calls(first)
    body = {"model": "fake", "input": [output_for(asked, "x")], "previous_response_id": first["id"]}
    is_error(await client.post("/v1/responses", json={**body, "tools": [LOOKUP]}), 400, "missing_tool", "tools")
    second = await create(client, **body, tools=[PROGRAMS, LOOKUP])
    assert "'once' is not defined" in second["output"][-2]["result"]
    direct_only = {**WRITE, "allowed_callers": ["direct"]}
    third = await create(client, **body, tools=[PROGRAMS, LOOKUP, direct_only])
    assert "'once' is not defined" in third["output"][-2]["result"]
    assert lines(stack, first["id"], second["id"], third["id"]) == []


async def test_a_response_that_is_not_stored_cannot_wait_for_the_client(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    code = "try:\n    lookup(id=1)\nexcept RuntimeError as error:\n    print(error)"
    script(upstream, "not stored", program(code), Script(words=1))
    response = await create(client, model="fake", input="not stored", tools=[PROGRAMS, LOOKUP], store=False)
    assert "this response is not stored" in response["output"][-2]["result"]


async def test_a_program_waits_for_an_approval_and_runs_the_call_as_it_was_shown(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    code = "once(text='before')\nprint(delete_all(what='x'))\nprint(once(text='after'))"
    tools = [PROGRAMS, WRITE, DELETE]
    script(upstream, "approve in a program", program(code), Script(words=1))
    first = check_whole(await collect(client, {"input": "approve in a program", "tools": tools}), "")
    request = first["output"][-1]
    assert (request["type"], request["name"]) == ("mcp_approval_request", "delete_all")
    assert json.loads(request["arguments"]) == {"what": "x"}
    assert request["caller"] == {"type": "program", "caller_id": first["output"][0]["call_id"]}
    body = {"model": "fake", "tools": tools, "previous_response_id": first["id"]}
    is_error(await client.post("/v1/responses", json={**body, "input": "so?"}), 400, "missing_tool_output", "input")
    decision = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    second = await create(client, **body, input=[decision])
    assert types(second) == [
        "program",
        *["function_call", "function_call_output"] * 2,
        "program_output",
        "message",
    ]
    assert second["output"][1]["approval_request_id"] == request["id"]
    assert second["output"][-2]["result"].endswith("written\n")
    assert len(told(upstream)) == 1
    assert lines(stack, first["id"], second["id"]) == ["before", "after"]
    again = await client.post("/v1/responses", json={**body, "input": [decision]})
    is_error(again, 409, "approval_already_answered")


async def test_a_denied_call_is_an_error_in_the_program(client: httpx.AsyncClient, upstream: Upstream) -> None:
    code = "try:\n    delete_all(what='x')\nexcept RuntimeError as error:\n    print('no:', error)"
    tools = [PROGRAMS, DELETE]
    script(upstream, "deny in a program", program(code), Script(words=1))
    first = await create(client, model="fake", input="deny in a program", tools=tools)
    decision = {
        "type": "mcp_approval_response",
        "approval_request_id": first["output"][-1]["id"],
        "approve": False,
        "reason": "too much",
    }
    second = await create(client, model="fake", input=[decision], tools=tools, previous_response_id=first["id"])
    assert types(second) == ["program", "program_output", "message"]
    assert "did not approve this call: too much" in second["output"][1]["result"]


async def test_a_background_response_waits_inside_its_program(client: httpx.AsyncClient, upstream: Upstream) -> None:
    code = (
        "import asyncio\nasync def tries(what):\n"
        "    try:\n        return await delete_all(what=what)\n"
        "    except RuntimeError as error:\n        return str(error)\n"
        "for done in await asyncio.gather(tries('a'), tries('b')):\n    print(done)"
    )
    script(upstream, "wait live", program(code), Script(words=1))
    started = await create(client, model="fake", input="wait live", tools=[PROGRAMS, DELETE], background=True)
    url = f"/v1/responses/{started['id']}"

    async def requests() -> list[dict[str, Any]]:
        return [one for one in (await client.get(url)).json()["output"] if one["type"] == "mcp_approval_request"]

    async def both_wait() -> bool:
        return len(await requests()) == 2

    await until(both_wait)
    for request in await requests():
        approve = json.loads(request["arguments"])["what"] == "a"
        answer = {"approval_request_id": request["id"], "approve": approve, "reason": None}
        assert (await client.post(f"{url}/approvals", json=answer)).status_code == 200

    async def has_ended() -> bool:
        return (await client.get(url)).json()["status"] == "completed"

    await until(has_ended)
    ended = (await client.get(url)).json()
    first, second = ended["output"][-2]["result"].splitlines()
    assert "did not approve" not in first
    assert "did not approve" in second
    assert len(told(upstream)) == 1


@pytest.mark.campaign
async def test_a_program_that_waits_goes_on_after_all_processes_were_killed_and_redis_was_flushed(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    code = "done = []\nfor id in range(3):\n    done.append(once(text=f'record {id}') + lookup(id=id))\nprint(done)"
    tools = [PROGRAMS, LOOKUP, WRITE]
    script(upstream, "killed while it waits", program(code), Script(words=1))
    response = await create(client, model="fake", input="killed while it waits", tools=tools)
    ids = [response["id"]]
    for number in range(3):
        (asked,) = open_calls(response)
        names = ("worker-0", "worker-1", "api")
        await asyncio.gather(*(stack.kill(name) for name in names))
        await redis.flushall()
        await asyncio.gather(*(stack.start(name) for name in names))
        response = await create(
            client,
            model="fake",
            input=[output_for(asked, f" {number}")],
            tools=tools,
            previous_response_id=response["id"],
        )
        ids.append(response["id"])
    assert response["output"][-2]["result"] == "['written 0', 'written 1', 'written 2']\n"
    assert lines(stack, *ids) == ["record 0", "record 1", "record 2"]
