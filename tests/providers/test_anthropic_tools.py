"""The tools of the `anthropic` adapter: functions, and those that Anthropic runs itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from activities.providers.anthropic import Anthropic
from open_responses.deltas import ProviderItem, TextAnnotation
from tests.support.anthropic_events import (
    HELLO,
    KEY,
    OPUS_5_5,
    SCHEMA,
    SEARCHED,
    SONNET_4_5,
    WEATHER,
    answered,
    asked,
    assistant,
    bare,
    end,
    said,
    start,
    stream,
    text,
    thinking,
    tool,
)
from tests.support.provider_wire import Wire, call, outputs_of, sampled

# --- tools


async def test_functions_are_tools_with_a_schema(http: httpx.AsyncClient) -> None:
    plain = {"type": "function", "name": "now", "description": "The time."}
    strict = {"type": "function", "name": "age", "parameters": SCHEMA, "strict": True}
    body = bare(await asked(http, call(model=SONNET_4_5, tools=[plain, strict])))
    assert body["tools"] == [
        {"name": "now", "description": "The time.", "input_schema": {"type": "object", "properties": {}}},
        {
            "name": "age",
            "input_schema": {
                "type": "object",
                "properties": {"age": {"type": "integer", "description": '{"minimum": 0}'}},
                "additionalProperties": False,
                "required": ["age"],
            },
            "strict": True,
        },
    ]
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("model", "tools"),
    [
        ("claude-opus-4-1", 1),
        ("glm-4.6", 1),
        (SONNET_4_5, 21),
    ],
)
async def test_strict_is_left_out_where_the_model_has_it_not_or_not_for_so_many(
    http: httpx.AsyncClient, model: str, tools: int
) -> None:
    strict = [{"type": "function", "name": f"t{index}", "parameters": SCHEMA, "strict": True} for index in range(tools)]
    body = await asked(http, call(model=model, tools=strict))
    assert bare(body["tools"])[0] == {"name": "t0", "input_schema": SCHEMA}


@pytest.mark.parametrize(
    ("request_", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "name": "weather"}}, {"type": "tool", "name": "weather"}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "weather"}],
                }
            },
            {"type": "any"},
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "weather"}]}},
            {"type": "auto"},
        ),
    ],
)
async def test_tool_choice_in_every_form(
    http: httpx.AsyncClient, request_: dict[str, Any], choice: dict[str, Any] | None
) -> None:
    other = {**WEATHER, "name": "other"}
    body = await asked(http, call(model=SONNET_4_5, tools=[WEATHER, other], **request_))
    assert body.get("tool_choice") == choice
    assert [tool_["name"] for tool_ in body["tools"]] == ["weather", "other"]


@pytest.mark.parametrize(
    ("built_in", "beta"),
    [
        ({"type": "web_search_20250305", "name": "web_search", "max_uses": 2}, None),
        ({"type": "web_fetch_20250910", "name": "web_fetch"}, None),
        ({"type": "code_execution_20250825"}, None),
        ({"type": "code_execution_20250522", "name": "code_execution"}, "code-execution-2025-05-22"),
        ({"type": "code_execution_20260521"}, None),
        ({"type": "web_search_20260318", "response_inclusion": "excluded"}, None),
        ({"type": "web_fetch_20260318", "use_cache": False}, None),
        ({"type": "memory_20250818"}, None),
        ({"type": "bash_20250124"}, None),
        ({"type": "computer_20251124", "display_width_px": 800, "display_height_px": 600}, "computer-use-2025-11-24"),
        ({"type": "computer_20250124", "display_width_px": 800, "display_height_px": 600}, "computer-use-2025-01-24"),
    ],
)
async def test_built_in_tools_are_handed_on(
    http: httpx.AsyncClient, built_in: dict[str, Any], beta: str | None
) -> None:
    async with Wire(HELLO) as wire:
        asked_ = call(model=SONNET_4_5, tools=[WEATHER], provider_tools=[built_in])
        await sampled(Anthropic(wire.provider("anthropic"), http, KEY), asked_)
    assert wire.requests[0].headers.get("anthropic-beta") == beta
    sent = bare(wire.requests[0].json["tools"][1])
    assert sent == {"name": built_in["type"].rsplit("_", 1)[0], **built_in}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("text_editor_20250124", "str_replace_editor"),
        ("text_editor_20250429", "str_replace_based_edit_tool"),
        ("text_editor_20250728", "str_replace_based_edit_tool"),
    ],
)
async def test_the_text_editor_has_the_name_that_its_version_wants(
    http: httpx.AsyncClient, kind: str, name: str
) -> None:
    body = await asked(http, call(model=SONNET_4_5, provider_tools=[{"type": kind}]))
    assert bare(body["tools"][0]) == {"name": name, "type": kind}


@pytest.mark.parametrize("chosen", ["web_search", "web_search_20260318"])
async def test_a_built_in_tool_is_forced_by_its_name(http: httpx.AsyncClient, chosen: str) -> None:
    search = {"type": "web_search_20260318"}
    asked_ = call(model=SONNET_4_5, tools=[WEATHER, search], provider_tools=[search], tool_choice={"type": chosen})
    assert (await asked(http, asked_))["tool_choice"] == {"type": "tool", "name": "web_search"}


# --- the provider's own tools


async def test_a_search_is_items_of_the_vendors_types_and_a_citation(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, stream(start(), *SEARCHED, *end()))
    items = [delta.item for delta in deltas if isinstance(delta, ProviderItem)]
    assert items[0] == {
        "type": "server_tool_use",
        "name": "web_search",
        "input": {"query": "gulls"},
        "block_id": "srvtoolu_1",
    }
    assert (items[1]["type"], items[1]["tool_use_id"]) == ("web_search_tool_result", "srvtoolu_1")
    (cited,) = [delta.annotation for delta in deltas if isinstance(delta, TextAnnotation)]
    assert cited == {
        "type": "url_citation",
        "url": "https://birds.example",
        "title": "Birds",
        "start_index": 7,
        "end_index": 15,
    }


@pytest.mark.parametrize("between", [thinking(1), thinking(1, "hm"), tool(1, "toolu_1"), SEARCHED[3:7]])
async def test_a_citation_counts_from_the_message_that_it_stands_in(
    http: httpx.AsyncClient, between: list[dict[str, Any]]
) -> None:
    deltas = await answered(http, stream(start(), *text(0, "Before. "), *between, *SEARCHED[12:16], *end()))
    (cited,) = [delta.annotation for delta in deltas if isinstance(delta, TextAnnotation)]
    assert (cited["start_index"], cited["end_index"]) == (0, 8)


async def test_what_a_built_in_tool_did_is_sent_back_in_its_place(http: httpx.AsyncClient) -> None:
    first = await answered(http, stream(start(), *SEARCHED, *end()))
    items = [{"role": "user", "content": "q"}, *outputs_of(first), {"role": "user", "content": "more"}]
    messages = bare(await asked(http, call(items, model=SONNET_4_5)))["messages"]
    searched, result = (event["content_block"] for event in (SEARCHED[3], SEARCHED[7]))
    assert messages[1] == assistant(
        said("Let me look. "), {**searched, "input": {"query": "gulls"}}, result, said("Gulls: they fly.")
    )


async def test_a_paused_turn_is_handed_back_as_it_stands(http: httpx.AsyncClient) -> None:
    first = await answered(http, stream(start(), *SEARCHED[:7], *end("pause_turn")))
    body = await asked(http, call([{"role": "user", "content": "q"}, *outputs_of(first)], model=OPUS_5_5))
    assert body["messages"][-1]["role"] == "assistant"
    assert body["messages"][-1]["content"][-1]["id"] == "srvtoolu_1"
