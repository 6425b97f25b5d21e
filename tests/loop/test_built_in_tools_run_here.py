"""Built-in tools that this server runs for a provider that lacks them: OpenAI's item and events, for any model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from open_responses.io.redis.client import Redis
from tests.support.api_with_keys import bearer, key_block
from tests.support.built_in_engines import SECRET_TEXT, SOURCE
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.responses_http import create, is_error
from tests.support.scripts import script, types
from tests.support.stack import Event, Stack, another_api, check_whole, collect, events_of, until
from tests.support.vendor_scripts import Spoken, call

SEARCH = {"type": "web_search", "search_context_size": "low"}
LINK = "([example.com](https://www.example.com/berlin?a=1))"


def asks(query: str, function: str = "web_search", call_id: str = "call_1") -> Script:
    return calls((call_id, function, {"url" if function == "open_page" else "query": query}))


def notes(stack: Stack, response: dict[str, Any]) -> list[dict[str, Any]]:
    """What the engine was asked, attempt by attempt."""
    found = stack.data / "hosted" / f"{response['id']}.searches"
    return [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []


def names(events: list[Event], index: int) -> list[str]:
    """The types of the events of one item."""
    return [event["type"] for event in events if event.get("output_index") == index]


async def test_a_search_is_openais_item_with_its_events_and_the_model_reads_its_result(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack, redis: Redis
) -> None:
    answer = Script(literal="Berlin has lakes 【1:1】. And 【9:9】.")
    script(upstream, "lakes of Berlin", asks("Berlin lakes"), answer)
    events = await collect(client, {"input": "lakes of Berlin", "tools": [SEARCH]})
    response = check_whole(events, f"Berlin has lakes {LINK}. And 【9:9】.")
    search, message = response["output"]
    assert search == {
        "type": "web_search_call",
        "id": search["id"],
        "status": "completed",
        "action": {"type": "search", "query": "Berlin lakes"},
    }
    assert [name for name in names(events, 0) if name != "open_responses:tool_progress"] == [
        "response.output_item.added",
        "response.web_search_call.in_progress",
        "response.web_search_call.searching",
        "response.web_search_call.completed",
        "response.output_item.done",
    ]
    (part,) = message["content"]
    (cited,) = part["annotations"]
    assert part["text"][cited["start_index"] : cited["end_index"]] == LINK
    assert (cited["type"], cited["url"], cited["title"]) == ("url_citation", SOURCE["url"], SOURCE["title"])
    told = upstream.requests[-1]
    assert [tool["function"]["name"] for tool in told["tools"]] == ["web_search", "open_page", "find_in_page"]
    *_, made, result = told["messages"]
    (function,) = made["tool_calls"]
    assert (function["function"]["name"], json.loads(function["function"]["arguments"])) == (
        "web_search",
        {"query": "Berlin lakes"},
    )
    assert SECRET_TEXT in result["content"]
    assert "【1:1】" in result["content"]
    assert SECRET_TEXT not in json.dumps(events)
    (note,) = notes(stack, response)
    assert (note["settings"], note["tenant"], note["attempt"]) == (SEARCH, "default", 1)
    assert note["key"] == f"{response['id']}:{search['id']}"
    await redis.flushall()
    assert (await client.get(f"/v1/responses/{response['id']}")).json() == response
    assert [event async for event in events_of(client, resume=(response["id"], None))] == events


@pytest.mark.parametrize("model", ["anthropic-fake", "gemini-fake", "ollama-fake"])
async def test_any_provider_that_lacks_the_tool_searches(
    client: httpx.AsyncClient, vendors: Vendors, model: str
) -> None:
    vendors.says(
        f"search for {model}",
        Spoken(words=0, tool_calls=[call("web_search", query="Berlin")]),
        Spoken(literal="Lakes 【1:1】."),
    )
    body = {"model": model, "input": f"search for {model}", "tools": [SEARCH]}
    response = check_whole(await collect(client, body), f"Lakes {LINK}.")
    assert [kind for kind in types(response) if kind != "reasoning"] == ["web_search_call", "message"]
    assert SECRET_TEXT in json.dumps(vendors.asked(model.removesuffix("-fake"), f"search for {model}")[-1])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An API that prefers this server's search, with approvals of searches and code, and a key that may not search."""
    file = (session_stack.data / "open_responses.toml").read_text()
    guarding = file.replace("[web_search]\n", "[web_search]\nprefer = true\nrequire_approval = true\n")
    guarding = guarding.replace("[code_interpreter]\n", "[code_interpreter]\nrequire_approval = true\n")
    path = session_stack.data / "guarding.toml"
    keys = (key_block("default", "may-search"), key_block("default", "may-not", 'tools = ["get_weather"]'))
    path.write_text("\n".join([guarding, *keys]))
    async with another_api(session_stack, env={"OPEN_RESPONSES_CONFIG": str(path)}) as api:
        api.headers.update(bearer("may-search"))
        yield api


@pytest.mark.campaign
async def test_a_provider_that_has_the_tool_runs_it_itself_unless_ours_is_preferred(
    client: httpx.AsyncClient, guarded: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.says("whose search", Spoken(words=2))
    body = {"model": "openai-fake", "input": "whose search", "tools": [SEARCH]}
    await create(client, **body)
    assert vendors.asked("openai", "whose search")[-1]["tools"] == [SEARCH]
    await create(guarded, **body)
    sent = vendors.asked("openai", "whose search")[-1]["tools"]
    assert [(tool["type"], tool["name"]) for tool in sent] == [
        ("function", name) for name in ("web_search", "open_page", "find_in_page")
    ]


async def test_a_key_without_the_tool_is_refused_where_it_would_run_here(guarded: httpx.AsyncClient) -> None:
    body = {"model": "fake", "input": "x", "tools": [SEARCH]}
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        refused = await guarded.post(path, json=body, headers=bearer("may-not"))
        is_error(refused, 403, "permission_denied", "tools")
        assert "'web_search'" in refused.json()["error"]["message"]


async def test_a_search_waits_for_an_approval_and_runs_as_it_was_shown(
    guarded: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    answer = Script(literal="Lakes.")
    script(upstream, "approve it", asks("Berlin"), answer)
    asking = await create(guarded, model="fake", input="approve it", tools=[SEARCH])
    assert types(asking) == ["mcp_approval_request"]
    request = asking["output"][0]
    assert (request["server_label"], request["name"]) == ("open_responses:web_search", "web_search")
    decision = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    body = {"model": "fake", "input": [decision], "previous_response_id": asking["id"]}
    is_error(await guarded.post("/v1/responses", json=body), 400, "missing_tool", "input[0].approval_request_id")
    events = await collect(guarded, {**body, "tools": [SEARCH]})
    ran = events[-1]["response"]
    assert types(ran) == ["web_search_call", "message"], ran
    assert ran["output"][0]["approval_request_id"] == request["id"]
    assert names(events, 0)[1:3] == ["response.web_search_call.in_progress", "response.web_search_call.searching"]
    (note,) = notes(stack, ran)
    assert note["settings"] == SEARCH
    assert (await guarded.get(f"/v1/responses/{ran['id']}")).json() == ran


async def test_approved_code_goes_on_in_the_container_of_the_conversation(
    client: httpx.AsyncClient, guarded: httpx.AsyncClient, upstream: Upstream
) -> None:
    tool = {"type": "code_interpreter", "container": {"type": "auto"}}
    script(upstream, "x is 20", calls(("a", "code_interpreter", {"code": "x = 20"})), Script(words=1))
    first = await create(client, model="fake", input="x is 20", tools=[tool])
    container = first["output"][0]["container_id"]
    script(upstream, "add one", calls(("b", "code_interpreter", {"code": "x += 1\nx"})), Script(words=1))
    asked = {"model": "fake", "tools": [tool], "include": ["code_interpreter_call.outputs"]}
    asking = await create(guarded, input="add one", previous_response_id=first["id"], **asked)
    assert types(asking) == ["mcp_approval_request"]
    decision = {
        "type": "mcp_approval_response",
        "approval_request_id": asking["output"][0]["id"],
        "approve": True,
    }
    ran = await create(guarded, input=[decision], previous_response_id=asking["id"], **asked)
    assert ran["output"][0]["container_id"] == container
    assert ran["output"][0]["outputs"] == [{"type": "logs", "logs": "21\n"}]


async def test_code_that_is_approved_live_goes_on_in_the_container_of_the_conversation(
    client: httpx.AsyncClient, guarded: httpx.AsyncClient, upstream: Upstream
) -> None:
    tool = {"type": "code_interpreter", "container": {"type": "auto"}}
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    script(upstream, "x is 40", calls(("a", "code_interpreter", {"code": "x = 40"})), Script(words=1))
    first = await create(client, model="fake", input="x is 40", tools=[tool], conversation=conversation)
    script(upstream, "add two", calls(("b", "code_interpreter", {"code": "x += 2\nx"})), Script(words=1))
    asking = await create(
        guarded,
        model="fake",
        input="add two",
        tools=[tool],
        conversation=conversation,
        background=True,
        include=["code_interpreter_call.outputs"],
    )
    url = f"/v1/responses/{asking['id']}"

    async def response() -> dict[str, Any]:
        return (await guarded.get(url)).json()  # type: ignore[no-any-return]

    async def waits() -> bool:
        return bool((await response())["output"])

    await until(waits)
    decision = {"approval_request_id": (await response())["output"][0]["id"], "approve": True, "reason": None}
    assert (await guarded.post(f"{url}/approvals", json=decision)).status_code == 200

    async def has_ended() -> bool:
        return (await response())["status"] == "completed"

    await until(has_ended)
    ran = (await response())["output"][1]
    assert ran["container_id"] == first["output"][0]["container_id"]
    assert ran["outputs"] == [{"type": "logs", "logs": "42\n"}]


async def test_a_search_that_a_person_denies_does_not_run(
    guarded: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script(upstream, "deny it", asks("Berlin"), Script(words=1))
    asking = await create(guarded, model="fake", input="deny it", tools=[SEARCH], background=True)
    url = f"/v1/responses/{asking['id']}"

    async def response() -> dict[str, Any]:
        return (await guarded.get(url)).json()  # type: ignore[no-any-return]

    async def waits() -> bool:
        return bool((await response())["output"])

    await until(waits)
    decision = {"approval_request_id": (await response())["output"][0]["id"], "approve": False, "reason": "no"}
    assert (await guarded.post(f"{url}/approvals", json=decision)).status_code == 200

    async def has_ended() -> bool:
        return (await response())["status"] == "completed"

    await until(has_ended)
    ended = await response()
    assert types(ended) == ["mcp_approval_request", "web_search_call", "message"]
    assert ended["output"][1]["status"] == "failed"
    assert "did not approve" in upstream.requests[-1]["messages"][-1]["content"]
    assert notes(stack, ended) == []


async def test_a_failed_search_is_an_item_that_failed_and_the_response_goes_on(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    wanted = [("a", "web_search", {"query": "fails"}), ("b", "web_search", {"query": "breaks"})]
    broken = [("c", "web_search", {"query": "stumbles"}), ("d", "web_search", "{not json")]
    script(upstream, "all goes wrong", calls(*wanted, *broken), Script(words=2))
    response = check_whole(await collect(client, {"input": "all goes wrong", "tools": [SEARCH]}), "w0 w1 ")
    assert [item["status"] for item in response["output"]] == ["failed", "failed", "completed", "failed", "completed"]
    told = [message["content"] for message in upstream.requests[-1]["messages"] if message["role"] == "tool"]
    assert "the search engine is closed" in told[0]
    assert "the search engine broke" in told[1]
    assert SECRET_TEXT in told[2]
    assert "not valid JSON" in told[3]
    assert [note["attempt"] for note in notes(stack, response) if "stumbles" in json.dumps(note)] == [1, 2, 3]


async def test_a_chain_reads_the_earlier_result_and_may_cite_it(
    client: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    script(upstream, "search first", asks("Berlin"), Script(words=1))
    first = await create(client, model="fake", input="search first", tools=[SEARCH])
    await redis.flushall()
    script(upstream, "then cite", asks("Potsdam", call_id="call_2"), Script(literal="One 【1:1】, two 【2:1】."))
    body = {"input": "then cite", "tools": [SEARCH], "previous_response_id": first["id"]}
    response = check_whole(await collect(client, body), f"One {LINK}, two {LINK}.")
    assert [len(part["annotations"]) for part in response["output"][-1]["content"]] == [2]
    tools = [message["content"] for message in upstream.requests[-1]["messages"] if message["role"] == "tool"]
    assert ["【1:1】" in tools[0], "【2:1】" in tools[1]] == [True, True]
    assert (await client.get(f"/v1/responses/{first['id']}")).json()["output"] == first["output"]


async def test_redis_may_lose_all_while_a_search_runs(
    client: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    script(upstream, "lose all", asks("slow 0.3"), Script(literal="Found 【1:1】."))
    events: list[Event] = []
    async for event in events_of(client, {"input": "lose all", "tools": [SEARCH]}):
        events.append(event)
        if event["type"] == "response.web_search_call.searching":
            await redis.flushall()
    response = check_whole(events, f"Found {LINK}.")
    assert [item["status"] for item in response["output"]] == ["completed", "completed"]
    assert SECRET_TEXT not in json.dumps(events)
    assert [event async for event in events_of(client, resume=(response["id"], None))] == events


async def test_without_a_store_the_client_brings_the_result_back(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "kept by the client", asks("Berlin"), Script(words=1))
    first = await create(client, model="fake", input="kept by the client", tools=[SEARCH], store=False)
    assert SECRET_TEXT in json.dumps(first["output"])
    upstream.says("and on", Script(words=1))
    turns = [*first["output"], {"role": "user", "content": "and on"}]
    second = await create(client, model="fake", input=turns, store=True)
    assert SECRET_TEXT in json.dumps(upstream.requests[-1]["messages"])
    listed = (await client.get(f"/v1/responses/{second['id']}/input_items")).text
    assert SECRET_TEXT not in listed
    assert "web_search_call" in listed


async def test_sources_are_shown_where_include_names_them(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "with sources", asks("Berlin"), Script(words=1))
    included = ["web_search_call.action.sources"]
    response = await create(client, model="fake", input="with sources", tools=[SEARCH], include=included)
    assert response["output"][0]["action"]["sources"] == [{"type": "url", "url": SOURCE["url"]}]


async def test_a_client_that_reads_a_call_may_ask_for_more_of_it_than_the_request_did(
    client: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    sources, name = [{"type": "url", "url": SOURCE["url"]}], "web_search_call.action.sources"
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    script(upstream, "sources later", asks("Berlin"), Script(words=1))
    response = await create(client, model="fake", input="sources later", tools=[SEARCH], conversation=conversation)
    search, message = response["output"]
    assert "sources" not in search["action"]
    shown = {**search, "action": {**search["action"], "sources": sources}}
    upstream.says("names the call", Script(words=1))
    named = [{"type": "item_reference", "id": search["id"]}, {"role": "user", "content": "names the call"}]
    second = await create(client, model="fake", input=named)
    url, items = f"/v1/responses/{response['id']}", f"/v1/conversations/{conversation}/items"
    for _ in range(2):
        for query in (f"include={name}", f"include[]={name}&include[]=file_search_call.results"):
            assert (await client.get(f"{url}?{query}")).json() == {**response, "output": [shown, message]}
        assert (await client.get(url)).json() == response
        lines = (await client.get(f"{url}?stream=true&include={name}")).text.splitlines()
        streamed = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        done = [event["item"] for event in streamed if event["type"] == "response.output_item.done"]
        assert [done[0], streamed[-1]["response"]["output"][0]] == [shown, shown]
        listed = (await client.get(f"/v1/responses/{second['id']}/input_items?include={name}")).json()["data"]
        assert [item["action"] for item in listed if item["type"] == "web_search_call"] == [shown["action"]]
        found = (await client.get(f"{items}?include={name}")).json()["data"]
        assert shown in found
        assert (await client.get(f"{items}/{search['id']}?include={name}")).json() == shown
        assert search in (await client.get(items)).json()["data"]
        await redis.flushall()
    for path in (url, f"/v1/responses/{second['id']}/input_items", items):
        is_error(await client.get(f"{path}?include=everything"), 400, "invalid_value", "include")


async def test_tool_choice_allowed_tools_and_max_tool_calls_hold(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "forced to search", asks("Berlin"), Script(words=1))
    await create(client, model="fake", input="forced to search", tools=[SEARCH], tool_choice={"type": "web_search"})
    choices = [request.get("tool_choice") for request in list(upstream.requests)[-2:]]
    assert choices == [{"type": "function", "function": {"name": "web_search"}}, "auto"]
    clock = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}
    only_clock = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "clock"}]}
    script(upstream, "not allowed", asks("Berlin"), Script(words=1))
    refused = await create(client, model="fake", input="not allowed", tools=[SEARCH, clock], tool_choice=only_clock)
    assert types(refused) == ["open_responses:refused_call", "message"]
    only_search = {**only_clock, "tools": [{"type": "web_search"}]}
    script(upstream, "allowed", asks("Berlin"), Script(words=1))
    allowed = await create(client, model="fake", input="allowed", tools=[SEARCH, clock], tool_choice=only_search)
    assert types(allowed) == ["web_search_call", "message"]
    two = calls(("a", "web_search", {"query": "x"}), ("b", "open_page", {"url": "https://example.com"}))
    script(upstream, "one call", two, Script(words=1))
    bounded = await create(client, model="fake", input="one call", tools=[SEARCH], max_tool_calls=1)
    assert [item["status"] for item in bounded["output"]] == ["completed", "failed", "completed"]


async def test_a_function_of_the_client_with_the_same_name_is_an_error(client: httpx.AsyncClient) -> None:
    own = {"type": "function", "name": "open_page", "parameters": {"type": "object", "properties": {}}}
    body = {"model": "fake", "input": "x", "tools": [SEARCH, own]}
    is_error(await client.post("/v1/responses", json=body), 400, "invalid_value", "tools[1].name")


async def test_a_search_that_runs_is_cancelled(client: httpx.AsyncClient, upstream: Upstream, stack: Stack) -> None:
    script(upstream, "cancel it", asks("slow 600"), Script(words=1))
    started = await create(client, model="fake", input="cancel it", tools=[SEARCH], background=True)

    async def runs() -> bool:
        return bool(notes(stack, started))

    await until(runs)
    await client.post(f"/v1/responses/{started['id']}/cancel")
    ended = (await client.get(f"/v1/responses/{started['id']}")).json()
    assert ended["status"] == "cancelled"
    assert [item["status"] for item in ended["output"]] == ["incomplete"]


async def test_a_conversation_keeps_the_search(client: httpx.AsyncClient, upstream: Upstream) -> None:
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    script(upstream, "in a conversation", asks("Berlin"), Script(words=1))
    await create(client, model="fake", input="in a conversation", tools=[SEARCH], conversation=conversation)
    upstream.says("once more", Script(words=1))
    await create(client, model="fake", input="once more", conversation=conversation)
    assert SECRET_TEXT in json.dumps(upstream.requests[-1]["messages"])
    items = (await client.get(f"/v1/conversations/{conversation}/items?order=asc")).json()["data"]
    search = next(item for item in items if item["type"] == "web_search_call")
    assert search.keys() == {"type", "id", "status", "action"}
    assert (await client.get(f"/v1/conversations/{conversation}/items/{search['id']}")).json() == search


async def test_openais_prefix_shows_openais_item(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "by the prefix", asks("Berlin"), Script(words=1))
    body = {"model": "fake", "input": "by the prefix", "tools": [SEARCH]}
    response = (await client.post("/openai/v1/responses", json=body)).json()
    assert response["output"][0].keys() == {"type", "id", "status", "action"}


async def test_the_openai_sdk_reads_the_call_and_its_citations(stack: Stack, vendors: Vendors) -> None:
    vendors.says(
        "with the sdk",
        Spoken(words=0, tool_calls=[call("web_search", query="Berlin")]),
        Spoken(literal="Lakes 【1:1】."),
    )
    async with AsyncOpenAI(base_url=f"{stack.api_url}/openai/v1", api_key="none", max_retries=0) as sdk:
        response = await sdk.responses.create(
            model="anthropic-fake",
            input="with the sdk",
            tools=[{"type": "web_search"}],
            include=["web_search_call.action.sources"],
        )
        async with sdk.responses.stream(
            model="anthropic-fake", input="with the sdk", tools=[{"type": "web_search"}]
        ) as stream:
            kinds = [event.type async for event in stream]
            streamed = await stream.get_final_response()
        later = await sdk.responses.retrieve(response.id)
    search, message = response.output
    assert search.type == "web_search_call"
    assert search.action.type == "search"
    assert [source.url for source in search.action.sources or []] == [SOURCE["url"]]
    assert message.type == "message"
    text = message.content[0]
    assert text.type == "output_text"
    cited = text.annotations[0]
    assert cited.type == "url_citation"
    assert text.text[cited.start_index : cited.end_index] == LINK
    assert "response.web_search_call.searching" in kinds
    assert streamed.output_text == response.output_text == later.output_text == f"Lakes {LINK}."


@pytest.mark.campaign
async def test_a_search_whose_worker_is_killed_runs_again_with_the_same_key(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    answer = Script(literal="Found 【1:1】.")
    script(upstream, "kill the search", asks("slow 2"), answer)
    events: list[Event] = []
    stream = events_of(client, {"input": "kill the search", "tools": [SEARCH]})
    async for event in stream:
        events.append(event)
        if event["type"] == "response.web_search_call.searching":
            break
    response = events[0]["response"]

    async def runs() -> bool:
        return bool(notes(stack, response))

    await until(runs)
    await asyncio.gather(stack.kill("worker-0"), stack.kill("worker-1"))
    await asyncio.gather(stack.start("worker-0"), stack.start("worker-1"))
    async for event in stream:
        events.append(event)
    final = check_whole(events, f"Found {LINK}.")
    assert final["output"][0]["status"] == "completed"
    found = notes(stack, final)
    assert len(found) == 2
    assert {note["key"] for note in found} == {f"{final['id']}:{final['output'][0]['id']}"}
