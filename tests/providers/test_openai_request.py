"""The request of the `openai` adapter: the key, the settings, and the tools."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from activities.providers.openai import OpenAIResponses
from open_responses.deltas import Finish, Usage
from open_responses.models import sealed_reasoning
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.tool_choice import AllowedTools
from tests.support.openai_events import function, heard, message, part, sent, spoken, stream, tool
from tests.support.provider_wire import Wire, call, sampled

# --- what is sent


async def test_a_question_is_posted_with_the_key_and_stored_nowhere(http: httpx.AsyncClient) -> None:
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1"), http, "sk-configured")
        await sampled(provider, call("hello", model="gpt-5"))
    (request,) = wire.requests
    assert (request.method, request.path) == ("POST", "/v1/responses")
    assert request.headers["authorization"] == "Bearer sk-configured"
    assert request.json == {
        "model": "gpt-5",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "input": [{"type": "message", "role": "user", "content": "hello"}],
    }


async def test_the_requests_own_key_goes_before_the_configured_one(http: httpx.AsyncClient) -> None:
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        provider = OpenAIResponses(wire.provider("openai"), http, "sk-configured")
        await sampled(provider, call(api_key="sk-own"))
    assert wire.requests[0].headers["authorization"] == "Bearer sk-own"


async def test_a_server_without_a_key_gets_no_authorization(http: httpx.AsyncClient) -> None:
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        await sampled(OpenAIResponses(wire.provider("openai"), http, None), call())
    assert "authorization" not in wire.requests[0].headers


async def test_settings_are_passed_on_under_their_own_names(http: httpx.AsyncClient) -> None:
    settings = {
        "instructions": "Be brief.",
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "service_tier": "flex",
        "prompt_cache_key": "key-1",
        "safety_identifier": "user-1",
        "reasoning": {"effort": "low", "summary": "auto"},
    }
    body = await sent(http, call(model="gpt-5", max_output_tokens=400, **settings))
    assert {name: body[name] for name in settings} == settings
    assert body["max_output_tokens"] == 400
    assert body["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]


async def test_what_is_the_servers_own_business_is_not_sent(http: httpx.AsyncClient) -> None:
    asked = call(metadata={"a": "b"}, max_tool_calls=3, truncation="auto", stream=True, background=True)
    body = await sent(http, asked)
    assert set(body) == {"model", "stream", "store", "include", "input"}


@pytest.mark.parametrize(
    "text",
    [
        {"format": {"type": "json_object"}},
        {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}},
        {
            "format": {
                "type": "json_schema",
                "name": "answer",
                "description": "The answer.",
                "schema": {"type": "object", "properties": {}},
                "strict": True,
            },
            "verbosity": "low",
        },
        {"verbosity": "high"},
    ],
)
async def test_the_text_format_is_openais_own(http: httpx.AsyncClient, text: dict[str, Any]) -> None:
    assert (await sent(http, call(text=text)))["text"] == text


async def test_a_model_without_reasoning_is_not_asked_to_encrypt_any(http: httpx.AsyncClient) -> None:
    seal = sealed_reasoning.mark("openai", json.dumps({"id": "rs_1", "encrypted_content": "gAA", "summary": []}))
    items = [
        {"type": "reasoning", "id": "rs_ours", "summary": [], "encrypted_content": seal},
        {"role": "assistant", "content": "Yes."},
    ]
    for model in ("gpt-4.1-mini", "openai/gpt-4o", "ft:gpt-4.1:org::id", "gpt-5-chat-latest"):
        body = await sent(http, call(items, model=model, include=["reasoning.encrypted_content"]))
        assert "include" not in body
        assert [item["type"] for item in body["input"]] == ["message"]


async def test_with_less_budget_than_openai_grants_the_answer_is_over_at_once(http: httpx.AsyncClient) -> None:
    asked = replace(call(), max_output_tokens=15)
    assert await heard(http, stream(), asked) == [Finish("length", Usage())]


# --- tools


async def test_a_function_is_not_strict_unless_the_client_asks_for_it(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    strict = {**schema, "additionalProperties": False}
    tools = [
        tool(description="The weather.", parameters=schema),
        tool("exact", parameters=strict, strict=True),
        tool("bare"),
        tool("bare_and_exact", strict=True),
    ]
    body = await sent(http, call(tools=tools, parallel_tool_calls=False))
    empty = {"type": "object", "properties": {}}
    assert body["parallel_tool_calls"] is False
    assert body["tools"] == [
        {"type": "function", "name": "weather", "description": "The weather.", "parameters": schema, "strict": False},
        {"type": "function", "name": "exact", "parameters": strict, "strict": True},
        {"type": "function", "name": "bare", "parameters": empty, "strict": False},
        {
            "type": "function",
            "name": "bare_and_exact",
            "parameters": {**empty, "required": [], "additionalProperties": False},
            "strict": True,
        },
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        (
            {"$defs": {"P": {"type": "string"}}, "properties": {"p": {"$ref": "#/$defs/P"}}},
            {"type": "object", "$defs": {"P": {"type": "string"}}, "properties": {"p": {"$ref": "#/$defs/P"}}},
        ),
        (
            {
                "type": "object",
                "properties": {"a": {}},
                "required": ["a"],
                "anyOf": [{"properties": {"b": {}}, "required": ["b"]}, {"properties": {"c": {}}}],
            },
            {"type": "object", "properties": {"b": {}, "c": {}, "a": {}}, "required": ["a"]},
        ),
        (
            {"allOf": [{"properties": {"b": {}}, "required": ["b"]}, True]},
            {"type": "object", "properties": {"b": {}}, "required": ["b"]},
        ),
    ],
)
async def test_a_schema_is_an_object_without_unions_at_its_top(
    http: httpx.AsyncClient, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = await sent(http, call(tools=[tool(parameters=given)]))
    assert body["tools"][0]["parameters"] == expected


async def test_built_in_tools_are_handed_on_as_they_are(http: httpx.AsyncClient) -> None:
    search = {"type": "web_search", "search_context_size": "low"}
    body = await sent(http, call(tools=[tool()], provider_tools=[search]))
    assert body["tools"][1:] == [search]


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "web_search"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}, {"type": "function", "name": "a"}]},
    ],
)
async def test_a_choice_of_a_built_in_tool_is_openais_own(http: httpx.AsyncClient, choice: dict[str, Any]) -> None:
    search = {"type": "web_search"}
    body = await sent(http, call(tools=[tool("a"), search], provider_tools=[search], tool_choice=choice))
    assert body["tool_choice"] == choice


async def test_a_bound_on_calls_goes_along_with_the_tools_that_openai_runs(http: httpx.AsyncClient) -> None:
    assert (await sent(http, call(provider_tools=[{"type": "web_search"}], max_tool_calls=3)))["max_tool_calls"] == 3


OPENAIS_OWN: dict[str, Any] = {
    "access_programs": {"cyber": "standard"},
    "image": {"context_compression": "enabled"},
    "moderation": {"model": "omni-moderation-latest", "policy": {"input": {"mode": "block"}}},
    "prompt": {"id": "pmpt_1", "version": "2", "variables": {"city": "Paris"}},
    "prompt_cache_options": {"mode": "explicit", "ttl": "12h", "comparison_response_id": "resp_1"},
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "high", "summary": "auto", "context": "current_turn", "mode": "pro"},
    "safety_identifier": "s" * 128,
    "service_tier": "ultrafast",
    "user": "someone",
}


@pytest.mark.parametrize("name", sorted(OPENAIS_OWN))
async def test_a_setting_of_openais_is_sent_as_it_came(http: httpx.AsyncClient, name: str) -> None:
    assert (await sent(http, call(**{name: OPENAIS_OWN[name]})))[name] == OPENAIS_OWN[name]


@pytest.mark.parametrize("tier", ["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"])
async def test_every_service_tier_is_sent(http: httpx.AsyncClient, tier: str) -> None:
    assert (await sent(http, call(service_tier=tier)))["service_tier"] == tier


async def test_the_former_name_of_a_summary_is_read(http: httpx.AsyncClient) -> None:
    assert (await sent(http, call(reasoning={"generate_summary": "concise"})))["reasoning"] == {"summary": "concise"}


async def test_a_stored_prompt_needs_no_input(http: httpx.AsyncClient) -> None:
    body = await sent(http, call([], prompt={"id": "pmpt_1"}))
    assert (body["prompt"], body["input"]) == ({"id": "pmpt_1"}, [])


def allowed(*names: str, mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": name} for name in names]}


@pytest.mark.parametrize(
    "choice",
    ["none", "auto", "required", {"type": "function", "name": "a"}, allowed("a"), allowed("b", "a", mode="required")],
)
async def test_the_tool_choice_is_openais_own(http: httpx.AsyncClient, choice: Any) -> None:
    assert (await sent(http, call(tools=[tool("a"), tool("b")], tool_choice=choice)))["tool_choice"] == choice


async def test_a_set_that_may_call_nothing_is_the_mode_alone(http: httpx.AsyncClient) -> None:
    body = await sent(http, call(tools=[tool("a")], tool_choice=allowed("a", mode="none")))
    assert body["tool_choice"] == "none"


@pytest.mark.parametrize("other", [{"type": "mcp", "server_label": "wiki"}, {"type": "function", "name": "unknown"}])
async def test_a_set_that_openai_cannot_name_is_the_mode_alone(http: httpx.AsyncClient, other: dict[str, Any]) -> None:
    choice = AllowedTools.model_validate(
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "a"}, other]}
    )
    body = await sent(http, replace(call(tools=[tool("a")]), tool_choice=choice))
    assert body["tool_choice"] == "required"


async def test_a_choice_without_tools_is_not_sent(http: httpx.AsyncClient) -> None:
    body = await sent(http, replace(call(parallel_tool_calls=True), tool_choice="auto"))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


# --- the SDK


def test_the_modules_name_does_not_hide_openais_sdk() -> None:
    assert hasattr(openai, "AsyncOpenAI")


def test_every_item_of_an_answer_is_one_that_the_input_takes() -> None:
    output = [message(part("Yes.")), function("{}"), {"type": "web_search_call", "id": "ws_1", "status": "completed"}]
    assert len(INPUT_ITEMS.validate_python(output)) == 3
