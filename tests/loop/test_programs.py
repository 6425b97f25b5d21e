"""Programs that a model writes and that call tools: OpenAI's programmatic tool calling, for any model, and durable."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from temporalio.client import Client

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.responses_http import create
from tests.support.scripts import script, types
from tests.support.small_stack import small_stack
from tests.support.stack import Event, Stack, check_whole, collect, events_of, http_client
from tests.support.vendor_scripts import Spoken, call

PROGRAMS = {"type": "programmatic_tool_calling"}
WRITE = {"type": "function", "name": "once"}
WEATHER = {"type": "function", "name": "get_weather"}
CITIES = 'for city in ["Berlin", "Paris"]:\n    print((await get_weather(city=city))["city"])'


def program(code: str, call_id: str = "call_1") -> Script:
    return calls((call_id, "run_program", {"code": code}))


def told(upstream: Upstream) -> list[str]:
    return [message["content"] for message in upstream.requests[-1]["messages"] if message["role"] == "tool"]


def lines(stack: Stack, response_id: str) -> list[str]:
    """The lines that tools of this response have written, each behind its idempotency key."""
    file = Path(stack.data) / "hosted" / "lines"
    found = file.read_text().splitlines() if file.exists() else []
    return [line for line in found if line.startswith(response_id)]


async def test_a_program_calls_hosted_tools_and_the_model_reads_what_it_printed(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "both cities", program(CITIES), Script(words=1))
    events = await collect(client, {"input": "both cities", "tools": [PROGRAMS, WEATHER]})
    response = check_whole(events, "w0 ")
    assert [event async for event in events_of(client, resume=(response["id"], None))] == events
    assert types(response) == [
        "program",
        *["function_call", "function_call_output"] * 2,
        "program_output",
        "message",
    ]
    ran, first, answer, *_, output, _ = response["output"]
    assert (ran["code"], ran["status"]) == (CITIES, "completed")
    assert first["caller"] == answer["caller"] == {"type": "program", "caller_id": ran["call_id"]}
    assert (first["name"], json.loads(first["arguments"])) == ("get_weather", {"city": "Berlin"})
    assert json.loads(answer["output"])["weather"] == "12 C"
    assert output == {
        "type": "program_output",
        "id": output["id"],
        "call_id": ran["call_id"],
        "result": "Berlin\nParis\n",
        "status": "completed",
    }
    sent = upstream.requests[-1]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["get_weather", "run_program"]
    assert "- get_weather(city, unit)" in sent["tools"][1]["function"]["description"]
    assert told(upstream) == ["Berlin\nParis\n"]
    assert [len(message.get("tool_calls", ())) for message in sent["messages"] if message["role"] == "assistant"] == [1]
    assert (await client.get(f"/v1/responses/{response['id']}")).json() == response


async def test_the_openai_sdk_unchanged_reads_programs_and_a_chain_goes_on(upstream: Upstream, stack: Stack) -> None:
    script(upstream, "by the sdk", program(CITIES), Script(words=1))
    sdk = AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0)
    tools: Any = [{"type": "programmatic_tool_calling"}, WEATHER]
    response = await sdk.responses.create(model="fake", input="by the sdk", tools=tools)
    ran, called, *_ = response.output
    assert ran.type == "program"
    assert called.type == "function_call"
    assert called.caller is not None
    assert called.caller.type == "program"
    assert called.caller.caller_id == ran.call_id
    upstream.says("and then", Script(words=1))
    await sdk.responses.create(model="fake", input="and then", previous_response_id=response.id, tools=tools)
    assert told(upstream) == ["Berlin\nParis\n"]


async def test_anthropics_format_runs_programs_as_well(client: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.says(
        "cities for anthropic", Spoken(words=0, tool_calls=[call("run_program", code=CITIES)]), Spoken(words=1)
    )
    body = {"model": "anthropic-fake", "input": "cities for anthropic", "tools": [PROGRAMS, WEATHER]}
    response = await create(client, **body)
    assert types(response)[-2:] == ["program_output", "message"]
    assert "Berlin" in str(vendors.asked("anthropic", "cities for anthropic")[-1])


async def test_awaited_together_calls_run_side_by_side_mcp_tools_among_them(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    code = (
        "import asyncio\n"
        "a, b, c = await asyncio.gather(slow(seconds=1), slow(seconds=1), add(a=2, b=3))\n"
        "print(a, b, c)"
    )
    tools = [
        PROGRAMS,
        {"type": "function", "name": "slow"},
        {"type": "mcp", "server_label": "calc", "require_approval": "never"},
    ]
    script(upstream, "together", program(code), Script(words=1))
    events = await collect(client, {"input": "together", "tools": tools})
    response = check_whole(events, "w0 ")
    added = [event["item"]["type"] for event in events if event["type"] == "response.output_item.added"]
    begun = added.index("program")
    assert sorted(added[begun + 1 :][:5]) == [
        *["function_call"] * 2,
        *["function_call_output"] * 2,
        "mcp_call",
    ]
    assert told(upstream)[-1].startswith("slept 1 slept 1 ")
    assert response["output"][-2]["type"] == "program_output"


async def test_a_program_searches_the_web_and_the_model_cites_what_it_printed(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    code = (
        "import asyncio\nfor page in await asyncio.gather(web_search(query='a'), web_search(query='b')):\n"
        "    print(page)"
    )
    cites = Script(literal="Berlin 【100002:1】.")
    script(upstream, "search in a program", program(code), cites)
    events = await collect(client, {"input": "search in a program", "tools": [PROGRAMS, {"type": "web_search"}]})
    response = check_whole(events, "Berlin ([example.com](https://www.example.com/berlin?a=1)).")
    ran, *searches, _, message = response["output"]
    assert [(item["type"], item["status"]) for item in searches] == [("web_search_call", "completed")] * 2
    assert all(item["caller"]["caller_id"] == ran["call_id"] for item in searches)
    assert "【100001:1】 Berlin" in told(upstream)[0]
    assert message["content"][0]["annotations"][0]["type"] == "url_citation"


async def test_a_tool_for_programs_alone_is_not_offered_to_the_model(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    only = {**WEATHER, "allowed_callers": ["programmatic"]}
    other = {"type": "function", "name": "once", "allowed_callers": ["direct"]}
    direct = calls(("a", "get_weather", {"city": "Berlin"}), ("b", "run_program", {"code": "once(text='x')"}))
    script(upstream, "only in programs", direct, Script(words=1))
    response = await create(client, model="fake", input="only in programs", tools=[PROGRAMS, only, other])
    assert types(response) == ["open_responses:refused_call", "program", "program_output", "message"]
    assert "Only a program may call" in response["output"][0]["reason"]
    assert "'once' is not defined" in response["output"][2]["result"]
    offered = {tool["function"]["name"]: tool["function"]["description"] for tool in upstream.requests[-1]["tools"]}
    assert offered.keys() == {"once", "run_program"}
    assert "get_weather(city, unit): The weather of a city." in offered["run_program"]


async def test_max_tool_calls_holds_inside_a_program(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    code = (
        "for i in range(4):\n    try:\n        print(once(text=str(i)))\n"
        "    except RuntimeError as error:\n        print(error)"
    )
    tools = [PROGRAMS, WRITE]
    script(upstream, "bounded program", program(code), Script(words=1))
    response = await create(client, model="fake", input="bounded program", tools=tools, max_tool_calls=3)
    result = response["output"][-2]["result"].splitlines()
    assert result[:2] == ["written", "written"]
    assert "may make 3 tool calls" in result[2]
    assert len(lines(stack, response["id"])) == 2


async def test_a_program_that_fails_says_why_and_the_response_goes_on(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "goes wrong", program("print('before')\nawait fails()"), program("x = (", "b"), Script(words=1))
    tools = [PROGRAMS, {"type": "function", "name": "fails"}]
    response = await create(client, model="fake", input="goes wrong", tools=tools)
    assert [item["status"] for item in response["output"] if item["type"] == "program"] == ["failed", "failed"]
    results = [item["result"] for item in response["output"] if item["type"] == "program_output"]
    assert results[0].startswith("before\n")
    assert "the moon is in the way" in results[0]
    assert "SyntaxError" in results[1]


async def test_a_program_is_cancelled_between_two_calls(client: httpx.AsyncClient, upstream: Upstream) -> None:
    code = "for i in range(100):\n    slow(seconds=0.2)"
    script(upstream, "cancel the program", program(code), Script(words=1))
    events: list[Event] = []
    tools = [PROGRAMS, {"type": "function", "name": "slow"}]
    async for event in events_of(client, {"input": "cancel the program", "tools": tools}):
        events.append(event)
        if event["type"] == "response.output_item.added" and event["output_index"] == 3:
            await client.post(f"/v1/responses/{events[0]['response']['id']}/cancel")
    ended = events[-1]["response"]
    assert ended["status"] in ("cancelled", "incomplete")
    assert ended["output"][0]["status"] == "incomplete"
    assert all(item["status"] != "in_progress" for item in ended["output"])


@pytest.mark.campaign
async def test_a_loop_over_two_hundred_records_runs_each_call_once_while_all_processes_are_killed(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    code = "n = 0\nfor i in range(200):\n    if once(text=f'record {i}') == 'written':\n        n += 1\nprint(n)"
    script(upstream, "two hundred", program(code), Script(words=1))
    started = await create(client, model="fake", input="two hundred", tools=[PROGRAMS, WRITE], background=True)
    for seen in (20, 60, 100, 140):
        async with asyncio.timeout(120):
            while len(lines(stack, started["id"])) < seen:
                await asyncio.sleep(0.02)
        await asyncio.gather(*(stack.kill(name) for name in ("worker-0", "worker-1", "api")))
        await asyncio.gather(*(stack.start(name) for name in ("worker-0", "worker-1", "api")))
    async with asyncio.timeout(180):
        while (ended := (await client.get(f"/v1/responses/{started['id']}")).json())["status"] == "in_progress":
            await asyncio.sleep(0.2)
    assert ended["status"] == "completed"
    assert ended["output"][-2]["result"] == "200\n"
    written = Counter(line.partition(" ")[2] for line in lines(stack, started["id"]))
    # A tool that was running when its worker was killed may run again, with the same key; no other does.
    assert written.keys() == {f"record {i}" for i in range(200)}
    keys = Counter(line.partition(" ")[0] for line in lines(stack, started["id"]))
    assert len(keys) == 200
    assert sum(count - 1 for count in keys.values()) <= 4
    assert len([item for item in ended["output"] if item["type"] == "function_call"]) == 200


@pytest.mark.campaign
async def test_a_long_program_goes_on_in_the_next_run_of_its_workflow(tmp_path: Path, upstream: Upstream) -> None:
    code = (
        "import asyncio\nfor i in range(30):\n"
        "    await asyncio.gather(get_weather(city=str(i)), get_weather(city='x'))\nprint('done')"
    )
    script(upstream, "a long program", program(code), Script(words=1))
    async with small_stack(
        tmp_path,
        upstream,
        tail="[programmatic_tool_calling]\n",
        temporal={"limit.historyCount.suggestContinueAsNew": 80},
    ) as stack:
        async with http_client(stack.api_url) as client:
            events = await collect(client, {"input": "a long program", "tools": [PROGRAMS, WEATHER]})
        response = check_whole(events, "w0 ")
        runs = [
            run
            async for run in (await Client.connect(stack.temporal_address)).list_workflows(
                f"WorkflowId = '{response['id']}'"
            )
        ]
    assert response["output"][-2]["result"] == "done\n"
    called = [item for item in response["output"] if item["type"] == "function_call"]
    assert len(called) == len({item["call_id"] for item in called}) == 60
    assert len(runs) > 3
