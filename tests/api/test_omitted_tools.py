"""A built-in tool that the route's provider lacks is left out and named, and refused where the request forces it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream
from tests.support.fake_vendors import Vendors
from tests.support.responses_http import create, is_error
from tests.support.stack import Stack, another_api, check_whole, collect
from tests.support.vendor_scripts import Spoken
from tests.support.websocket_client import connected

HEADER = "x-open-responses-omitted"
DRAWING = {"type": "image_generation", "quality": "low"}
CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}


def echoed(response: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each tool of the response, and whether it was left out."""
    return [(tool["type"], tool.get("open_responses:omitted", False)) for tool in response["tools"]]


async def test_a_tool_that_the_provider_lacks_is_left_out_and_named(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = upstream.says("without a drawing", Script(words=3))
    body = {"model": "fake", "input": "without a drawing", "tools": [CLOCK, DRAWING]}
    answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers[HEADER] == "image_generation"
    response = answer.json()
    assert echoed(response) == [("function", False), ("image_generation", True)]
    assert response["tools"][1]["quality"] == "low"
    assert [tool["function"]["name"] for tool in script.tools] == ["clock"]
    lines = [json.loads(line) for line in (stack.data / "logs" / "api.log").read_text().splitlines() if line[:1] == "{"]
    (line,) = [line for line in lines if line.get("event") == "request_narrowed" and response["id"] in line.values()]
    assert (line["omitted"], line["provider"]) == (["image_generation"], "fake")
    events = await collect(client, body)
    assert echoed(events[0]["response"]) == echoed(check_whole(events, script.text)) == echoed(response)
    again = await client.get(f"/v1/responses/{response['id']}")
    assert echoed(again.json()) == echoed(response)


async def test_nothing_is_named_where_the_provider_has_the_tool(client: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.says("with a drawing", Spoken(words=2))
    body = {"model": "openai-fake", "input": "with a drawing", "tools": [DRAWING]}
    answer = await client.post("/v1/responses", json=body)
    assert HEADER not in answer.headers
    assert echoed(answer.json()) == [("image_generation", False)]
    (sent,) = vendors.asked("openai", "with a drawing")
    assert sent["tools"] == [DRAWING]


@pytest.mark.parametrize(
    ("model", "tools", "choice", "param"),
    [
        ("fake", [DRAWING], "required", "tool_choice"),
        ("fake", [CLOCK, DRAWING], {"type": "image_generation"}, "tool_choice.type"),
        (
            "ollama-fake",
            [DRAWING],
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "image_generation"}]},
            "tool_choice.tools[0].type",
        ),
        ("anthropic-fake", [CLOCK, DRAWING], {"type": "image_generation"}, "tool_choice.type"),
        ("gemini-fake", [{"type": "google_search"}], {"type": "google_search"}, "tool_choice.type"),
        ("gemini-fake", [{"type": "google_search"}], "required", "tool_choice"),
    ],
)
async def test_a_forced_tool_that_the_provider_lacks_is_an_error_that_lists_what_it_has(
    client: httpx.AsyncClient, model: str, tools: list[Any], choice: Any, param: str
) -> None:
    body = {"model": model, "input": "x", "tools": tools, "tool_choice": choice}
    has = {"anthropic-fake": "web_search_20260318", "gemini-fake": "url_context"}.get(model, "It has none")
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        refused = await client.post(path, json=body)
        is_error(refused, 400, "unsupported_tool", param)
        assert has in refused.json()["error"]["message"]


@pytest.mark.campaign
async def test_with_strict_tools_each_tool_that_the_provider_lacks_is_an_error(stack: Stack) -> None:
    async with another_api(stack, "strict_tools = true") as api:
        refused = await api.post("/v1/responses", json={"model": "fake", "input": "x", "tools": [CLOCK, DRAWING]})
        is_error(refused, 400, "unsupported_tool", "tools[1].type")
        counted = await api.post("/v1/responses/input_tokens", json={"model": "fake", "input": "x", "tools": [DRAWING]})
        is_error(counted, 400, "unsupported_tool", "tools[0].type")


async def test_what_is_left_out_is_not_counted(client: httpx.AsyncClient) -> None:
    async def tokens(*tools: Any) -> tuple[int, str | None]:
        body = {"model": "fake", "input": "x", "tools": list(tools)}
        answer = await client.post("/v1/responses/input_tokens", json=body)
        return answer.json()["input_tokens"], answer.headers.get(HEADER)

    assert (await tokens(CLOCK, DRAWING))[0] == (await tokens(CLOCK))[0]
    assert (await tokens(DRAWING))[1] == "image_generation"


async def test_a_socket_and_a_chain_leave_the_tool_out_each_time(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    upstream.says("on a socket", Script(words=2))
    behind = upstream.says("behind it", Script(words=2))
    async with connected(stack.api_url) as socket:
        first = await socket.turn(input="on a socket", tools=[DRAWING])
    assert echoed(first[0]["response"]) == echoed(first[-1]["response"]) == [("image_generation", True)]
    after = {"input": "behind it", "previous_response_id": first[-1]["response"]["id"]}
    assert echoed(await create(client, **after)) == []
    assert behind.tools == []


@pytest.mark.campaign
async def test_a_fallback_gets_the_tools_that_it_has(stack: Stack, vendors: Vendors) -> None:
    vendors.says("on the fallback", Spoken(words=2))
    route = '[[routes]]\nmodel = "mixed"\nprovider = "down"\nfallbacks = ["openai-fake"]\n'
    async with another_api(stack, tail=route) as api:
        body = {"model": "mixed", "input": "on the fallback", "tools": [DRAWING, {"type": "google_search"}]}
        events = await collect(api, body)
    assert echoed(events[0]["response"]) == [("image_generation", True), ("google_search", True)]
    assert echoed(events[-1]["response"]) == [("image_generation", False), ("google_search", True)]
    (sent,) = vendors.asked("openai", "on the fallback")
    assert sent["tools"] == [DRAWING]


async def test_a_setting_of_cost_that_the_provider_lacks_is_left_out_and_named(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("cheaper", Script(words=2))
    body = {
        "model": "fake",
        "input": "cheaper",
        "service_tier": "flex",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"ttl": "12h"},
        "reasoning": {"context": "all_turns"},
        "user": "someone",
    }
    answer = await client.post("/v1/responses", json=body)
    named = ["service_tier", "prompt_cache_retention", "prompt_cache_options", "reasoning.context"]
    assert answer.headers[HEADER] == ", ".join(named)
    response = answer.json()
    assert response["open_responses:omitted"] == named
    # The tier is that of the run in this server's own queue, whatever the provider has (REQ-8).
    assert (response["service_tier"], response["user"]) == ("flex", "someone")
    assert "prompt_cache_retention" not in response


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"access_programs": {"cyber": "standard"}}, "access_programs"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
    ],
)
@pytest.mark.parametrize("model", ["fake", "anthropic-fake", "gemini-fake", "ollama-fake"])
async def test_a_setting_that_would_change_the_answer_is_an_error_where_the_provider_lacks_it(
    client: httpx.AsyncClient, model: str, given: dict[str, Any], param: str
) -> None:
    refused = await client.post("/v1/responses", json={"model": model, "input": "x", **given})
    is_error(refused, 400, "unsupported_parameter", param)


async def test_what_openai_says_about_the_response_reaches_the_client(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    moderated = {"input": {"type": "moderation_result", "flagged": False}, "output": None}
    reported = {"service_tier": "priority", "moderation": moderated, "tool_usage": {"web_search": {"num_requests": 1}}}
    vendors.says("moderated", Spoken(words=2, reported=reported))
    asked = {"moderation": {"model": "omni-moderation-latest"}, "service_tier": "fast", "tools": [DRAWING]}
    response = await create(client, model="openai-fake", input="moderated", **asked)
    assert {name: response[name] for name in reported} == reported
    (sent,) = vendors.asked("openai", "moderated")
    assert (sent["moderation"], sent["service_tier"]) == (asked["moderation"], "fast")
    assert (await client.get(f"/v1/responses/{response['id']}")).json() == response


async def test_required_is_met_by_a_tool_in_an_item_of_the_input(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """The tools of items are offered as those of the request, so they are what the choice may mean."""
    script = upstream.says("with a clock in an item", Script(words=3))
    items = [
        {"type": "additional_tools", "role": "developer", "tools": [CLOCK]},
        {"role": "user", "content": "with a clock in an item"},
    ]
    for tools in ([], [DRAWING]):
        response = await create(client, input=items, tools=tools, tool_choice="required")
        assert response["status"] == "completed"
        assert [tool["function"]["name"] for tool in script.tools] == ["clock"]
    searches = [{"type": "additional_tools", "role": "developer", "tools": [DRAWING]}, items[1]]
    body = {"model": "fake", "input": searches, "tool_choice": "required"}
    answer = await client.post("/v1/responses", json=body)
    is_error(answer, 400, "unsupported_tool", "tool_choice")
