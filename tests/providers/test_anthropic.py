"""Anthropic's Messages API over a real socket: streams in its true format, with our own words.

The format: platform.claude.com/docs (streaming, errors), the types of Anthropic's Python SDK 2.14. z.ai's usage, told
at the end alone: zai-org/GLM-5 issue 139.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
import pytest_asyncio

from activities.providers.anthropic import Anthropic
from activities.providers.anthropic.models import Model
from activities.providers.shared.http import open_http_client
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    ProviderItem,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    OpenResponsesError,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)
from open_responses.models import sealed_reasoning
from tests.support.provider_wire import (
    Answer,
    Wire,
    call,
    failure_of,
    finish_of,
    output_of,
    outputs_of,
    refusal,
    sampled,
    sse,
    text_of,
)

OPUS_5_5, OPUS_5, OPUS_4_6, SONNET_4_5 = "claude-opus-5-5", "claude-opus-5", "claude-opus-4-6", "claude-sonnet-4-5"
SONNET_5_5, FABLE_5_1, HAIKU_4_5 = "claude-sonnet-5-5", "claude-fable-5-1", "claude-haiku-4-5-20251001"
KEY, OWN_KEY = "sk-ant-configured", "sk-ant-own"
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}},
    "required": ["age"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_client() as client:
        yield client


# --- streams


def start(**usage: int) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1, **usage},
    }
    return {"type": "message_start", "message": message}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def tool(index: int, call_id: str, *pieces: str, name: str = "weather") -> list[dict[str, Any]]:
    content = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return block(index, content, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def thinking(index: int, *pieces: str, signature: str = "c2ln") -> list[dict[str, Any]]:
    content = {"type": "thinking", "thinking": "", "signature": ""}
    thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    return block(index, content, *thoughts, {"type": "signature_delta", "signature": signature})


def end(reason: str = "end_turn", details: dict[str, Any] | None = None, **usage: Any) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None, "stop_details": details}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7, **usage}},
        {"type": "message_stop"},
    ]


def stream(*events: dict[str, Any]) -> Answer:
    return sse(*events, named=True)


HELLO = stream(start(), *text(0, "Hel", "lo"), *end())
RICH = stream(
    start(cache_read_input_tokens=3, cache_creation_input_tokens=4),
    {"type": "ping"},
    *thinking(0, "Möw", "en fliegen. "),
    *block(1, {"type": "redacted_thinking", "data": "ZHVua2Vs"}),
    *text(2, "Schön, ", "日本 🎈"),
    *tool(3, "toolu_1", "", '{"ci', 'ty": "Zü', 'rich"}'),
    *tool(4, "toolu_2"),
    *end("tool_use", output_tokens_details={"thinking_tokens": 5}),
)


async def asked(http: httpx.AsyncClient, call_: SampleCall, *, answer: Answer = HELLO, **config: Any) -> dict[str, Any]:
    """The request's body."""
    async with Wire(answer) as wire:
        await sampled(Anthropic(wire.provider("anthropic", **config), http, KEY), call_)
    return wire.requests[0].json


async def answered(http: httpx.AsyncClient, answer: Answer, call_: SampleCall | None = None) -> list[Delta]:
    async with Wire(answer) as wire:
        return await sampled(Anthropic(wire.provider("anthropic"), http, KEY), call_ or call(model=SONNET_4_5))


async def failed(
    http: httpx.AsyncClient, answer: Answer, call_: SampleCall | None = None, **config: Any
) -> OpenResponsesError:
    async with Wire(answer) as wire:
        adapter = Anthropic(wire.provider("anthropic", **config), http, KEY)
        error = await failure_of(adapter, call_ or call(model=SONNET_4_5))
    assert not any(key in repr(error) + str(vars(error)) for key in (KEY, OWN_KEY))
    return error


async def refused(http: httpx.AsyncClient, call_: SampleCall) -> InvalidRequest:
    """What is refused before anything is sent."""
    async with Wire(HELLO) as wire:
        with pytest.raises(InvalidRequest) as caught:
            await sampled(Anthropic(wire.provider("anthropic"), http, KEY), call_)
    assert wire.requests == []
    return caught.value


def bare(value: Any) -> Any:
    """Without the cache's breakpoints."""
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if key != "cache_control"}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def called(call_id: str, arguments: str = "{}", name: str = "weather") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


# --- the request


async def test_a_request_holds_what_was_set_and_no_more(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        await sampled(Anthropic(wire.provider("anthropic", path="/api"), http, "secret"), call("hi", model=SONNET_4_5))
    (request,) = wire.requests
    assert (request.method, request.path) == ("POST", "/api/v1/messages")
    assert request.headers["x-api-key"] == "secret"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert not {"authorization", "anthropic-beta"} & request.headers.keys()
    assert bare(request.json) == {
        "model": SONNET_4_5,
        "max_tokens": 64_000,
        "stream": True,
        "messages": [user(said("hi"))],
    }


async def test_the_requests_own_key_goes_before_the_configured_one(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        await sampled(Anthropic(wire.provider("anthropic"), http, "configured"), call(api_key="own"))
    assert wire.requests[0].headers["x-api-key"] == "own"


async def test_settings_are_translated(http: httpx.AsyncClient) -> None:
    body = await asked(
        http,
        call(
            model=SONNET_4_5,
            max_output_tokens=100,
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            stop=["END", "STOP"],
            safety_identifier="u-1",
            service_tier="default",
            text={"verbosity": "low"},
        ),
    )
    assert body["max_tokens"] == 100
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.5, 0.9, 5)
    assert body["stop_sequences"] == ["END", "STOP"]
    assert body["metadata"] == {"user_id": "u-1"}
    assert body["service_tier"] == "standard_only"
    assert bare(body["system"]) == [said("Keep your answer short.")]


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-5-sonnet-20241022", 8192),
        ("claude-3-7-sonnet-latest", 64_000),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1-20250805", 32_000),
        (HAIKU_4_5, 64_000),
        ("anthropic.claude-opus-4-6-v1", 128_000),
        ("claude-mythos-preview", 128_000),
        (OPUS_5_5, 128_000),
        ("glm-4.6", 32_768),
    ],
)
async def test_the_models_own_limit_is_the_default_for_max_tokens(
    http: httpx.AsyncClient, model: str, limit: int
) -> None:
    assert (await asked(http, call(model=model)))["max_tokens"] == limit


async def test_more_tokens_than_the_model_has_are_cut_to_what_it_has(http: httpx.AsyncClient) -> None:
    assert (await asked(http, call(model=HAIKU_4_5, max_output_tokens=200_000)))["max_tokens"] == 64_000


async def test_neutral_sampling_settings_are_left_out_where_others_are_refused(http: httpx.AsyncClient) -> None:
    body = await asked(http, call(model=OPUS_5_5, temperature=1, top_p=1))
    assert not {"temperature", "top_p"} & body.keys()


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"model": SONNET_4_5, "temperature": 1.5}, "temperature"),
        ({"model": "claude-opus-4-7", "temperature": 0.2}, "temperature"),
        ({"model": OPUS_5_5, "top_p": 0.5}, "top_p"),
        ({"model": FABLE_5_1, "top_k": 3}, "top_k"),
        ({"model": SONNET_4_5, "temperature": 0.2, "reasoning": {"effort": "low"}}, "temperature"),
        ({"model": OPUS_4_6, "top_k": 3, "reasoning": {"effort": "low"}}, "top_k"),
        ({"model": OPUS_4_6, "top_p": 0.5, "reasoning": {"effort": "low"}}, "top_p"),
        ({"model": OPUS_5_5, "reasoning": {"effort": "none"}}, "reasoning.effort"),
        ({"model": OPUS_5_5, "tools": [WEATHER], "tool_choice": "required"}, "tool_choice"),
        (
            {"model": SONNET_5_5, "tools": [WEATHER], "tool_choice": {"type": "function", "name": "weather"}},
            "tool_choice",
        ),
    ],
)
async def test_what_the_model_cannot_do_is_refused_by_name(
    http: httpx.AsyncClient, request_: dict[str, Any], param: str
) -> None:
    assert (await refused(http, call(**request_))).param == param


# --- messages


async def test_the_systems_words_at_the_beginning_go_to_system(http: httpx.AsyncClient) -> None:
    items = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "input_text", "text": "Two."}]},
        {"role": "user", "content": "hi"},
    ]
    body = bare(await asked(http, call(items, instructions="Zero.")))
    assert body["system"] == [said("Zero."), said("One."), said("Two.")]
    assert body["messages"] == [user(said("hi"))]


MIDDLE = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "developer", "content": "Be terse."},
    {"role": "user", "content": "c"},
]


@pytest.mark.parametrize("model", ["claude-opus-4-8", OPUS_5_5, SONNET_5_5, "claude-haiku-5-5", FABLE_5_1])
async def test_the_systems_words_in_the_middle_follow_the_users_where_the_model_has_that_role(
    http: httpx.AsyncClient, model: str
) -> None:
    body = bare(await asked(http, call(MIDDLE, model=model)))
    assert body["messages"] == [
        user(said("a")),
        assistant(said("b")),
        user(said("c")),
        {"role": "system", "content": [said("Be terse.")]},
    ]


@pytest.mark.parametrize("model", [SONNET_4_5, "claude-opus-4-7", "claude-sonnet-5", "glm-4.6"])
async def test_the_systems_words_in_the_middle_are_a_reminder_where_it_has_not(
    http: httpx.AsyncClient, model: str
) -> None:
    body = bare(await asked(http, call(MIDDLE, model=model)))
    reminder = said("<system-reminder>\nBe terse.\n</system-reminder>")
    assert body["messages"][2] == user(said("c"), reminder)


async def test_the_systems_words_alone_after_an_answer_are_the_users_turn(http: httpx.AsyncClient) -> None:
    body = bare(await asked(http, call(MIDDLE[:3], model=OPUS_5_5)))
    assert body["messages"][2] == user(said("<system-reminder>\nBe terse.\n</system-reminder>"))


async def test_consecutive_roles_are_one_message_and_blank_text_is_left_out(http: httpx.AsyncClient) -> None:
    items = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "input_text", "text": " "}, {"type": "input_text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": ""}, {"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "content": "d", "phase": "commentary"},
        {"role": "user", "content": "e"},
    ]
    body = bare(await asked(http, call(items)))
    assert body["messages"] == [user(said("a"), said("b")), assistant(said("no"), said("d")), user(said("e"))]


async def test_a_conversation_begins_and_ends_with_the_user(http: httpx.AsyncClient) -> None:
    body = bare(await asked(http, call([{"role": "assistant", "content": "Hello."}], model=OPUS_5_5)))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert all(message["content"][0]["text"].strip() for message in body["messages"])


async def test_results_of_parallel_calls_come_first_in_one_message(http: httpx.AsyncClient) -> None:
    items = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "Let me see."},
        called("toolu_1", '{"city": "Bern"}'),
        called("toolu_2", ""),
        {"role": "user", "content": "and hurry"},
        output_of("toolu_2", "rain"),
        output_of("toolu_1", ""),
    ]
    body = bare(await asked(http, call(items, tools=[WEATHER])))
    assert body["messages"][1:] == [
        assistant(
            said("Let me see."),
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
            {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
        ),
        user(
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [said("rain")]},
            {"type": "tool_result", "tool_use_id": "toolu_1"},
            said("and hurry"),
        ),
    ]


@pytest.mark.parametrize("arguments", ['{"city": ', "[1]", "null", "Bern"])
async def test_arguments_that_are_no_object_are_shown_as_they_are(http: httpx.AsyncClient, arguments: str) -> None:
    body = await asked(http, call([{"role": "user", "content": "q"}, called("c", arguments), output_of("c", "no")]))
    assert body["messages"][1]["content"][0]["input"] == {"invalid_json": arguments}


async def test_ids_of_other_providers_are_made_to_fit_alike_in_call_and_output(http: httpx.AsyncClient) -> None:
    ids = ["functions.weather:0", "functions_weather:0"]
    items = [{"role": "user", "content": "q"}, *map(called, ids), *(output_of(call_id, "x") for call_id in ids)]
    messages = (await asked(http, call(items)))["messages"]
    sent = [part["id"] for part in messages[1]["content"]]
    assert sent == [part["tool_use_id"] for part in messages[2]["content"]]
    assert len(set(sent)) == 2
    assert all(name.replace("_", "").replace("-", "").isalnum() and name.isascii() for name in sent)


PIXEL = base64.b64encode(b"\x89PNG....").decode()
PDF = base64.b64encode(b"%PDF-1.7 ...").decode()
PARTS = [
    (
        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ),
    (
        {"type": "input_image", "image_url": f"data:image/jpg;base64,{PIXEL}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}},
    ),
    (
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "a.pdf",
        },
    ),
    (
        {"type": "input_file", "file_data": PDF},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    ),
    (
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
    ),
    (
        {"type": "input_file", "filename": "a.csv", "file_data": base64.b64encode("ä,b".encode()).decode()},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "ä,b"}, "title": "a.csv"},
    ),
    (
        {"type": "input_file", "file_data": f"data:image/webp;base64,{PIXEL}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": PIXEL}},
    ),
]


@pytest.mark.parametrize(("part", "block_"), PARTS)
async def test_images_and_files_go_along_in_messages_and_in_outputs(
    http: httpx.AsyncClient, part: dict[str, Any], block_: dict[str, Any]
) -> None:
    look = {"type": "input_text", "text": "Look."}
    items = [{"role": "user", "content": [look, part]}, called("c"), output_of("c", [look, part])]
    messages = bare(await asked(http, call(items)))["messages"]
    assert messages[0]["content"] == [said("Look."), block_]
    assert messages[2]["content"][0]["content"] == [said("Look."), block_]


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"type": "input_image", "file_id": "file-1"}, "unsupported_content"),
        ({"type": "input_image", "image_url": f"data:image/tiff;base64,{PIXEL}"}, "unsupported_content"),
        ({"type": "input_image", "image_url": "data:image/png,abc"}, "invalid_value"),
        ({"type": "input_file", "file_id": "file-1"}, "unsupported_content"),
        ({"type": "input_file", "file_data": "***"}, "invalid_value"),
        ({"type": "input_file", "file_data": base64.b64encode(b"PK\x03\x04\xff\x00").decode()}, "unsupported_content"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "unsupported_content"),
    ],
)
async def test_a_part_without_a_place_is_refused_with_its_path(
    http: httpx.AsyncClient, part: dict[str, Any], code: str
) -> None:
    error = await refused(http, call([{"role": "user", "content": [{"type": "input_text", "text": "x"}, part]}]))
    assert (error.param, error.error_code) == ("input[0].content[1]", code)


async def test_records_of_other_providers_are_left_out(http: httpx.AsyncClient) -> None:
    items = [
        {"role": "user", "content": "q"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "executable_code", "id": "x"},
        {"type": "open_responses:note", "id": "n"},
        {"role": "user", "content": "r"},
    ]
    assert bare(await asked(http, call(items)))["messages"] == [user(said("q"), said("r"))]


async def test_an_item_without_a_place_is_refused_with_its_path(http: httpx.AsyncClient) -> None:
    error = await refused(http, call([{"role": "user", "content": "q"}, {"type": "computer_call", "id": "x"}]))
    assert (error.param, error.error_code) == ("input[1]", "unsupported_item")


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


# --- structured output


def wants(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "person", "schema": schema, "strict": True}}


async def test_a_schema_goes_in_the_models_own_dialect(http: httpx.AsyncClient) -> None:
    schema = {
        "type": "object",
        "$defs": {"name": {"type": "string", "maxLength": 9, "description": "A name."}},
        "properties": {
            "names": {"type": "array", "items": {"$ref": "#/$defs/name"}, "minItems": 1, "maxItems": 3},
            "kind": {"enum": ["a", "b"]},
            "born": {"oneOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        "required": ["names", "kind", "born"],
    }
    body = await asked(http, call(model=SONNET_4_5, text=wants(schema)))
    assert "system" not in body
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "$defs": {"name": {"type": "string", "description": 'A name.\n{"maxLength": 9}'}},
            "type": "object",
            "properties": {
                "names": {
                    "type": "array",
                    "items": {"$ref": "#/$defs/name"},
                    "minItems": 1,
                    "description": '{"maxItems": 3}',
                },
                "kind": {"enum": ["a", "b"]},
                "born": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            },
            "additionalProperties": False,
            "required": ["names", "kind", "born"],
        },
    }


TREE = {
    "type": "object",
    "properties": {"child": {"$ref": "#/$defs/node"}},
    "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}},
}


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        ("claude-opus-4-1", SCHEMA),
        ("glm-4.6", SCHEMA),
        (SONNET_4_5, TREE),
        (SONNET_4_5, {"type": "object", "additionalProperties": {"type": "integer"}}),
        (SONNET_4_5, {"type": "object", "properties": {"any": {}}}),
        (SONNET_4_5, {"type": "object", "properties": {"x": {"$ref": "#/$defs/nowhere"}}}),
    ],
)
async def test_a_schema_that_cannot_be_told_natively_is_said_in_words(
    http: httpx.AsyncClient, model: str, schema: dict[str, Any]
) -> None:
    body = await asked(http, call(model=model, text=wants(schema), instructions="Be kind."))
    assert "output_config" not in body
    assert body["system"][0]["text"] == "Be kind."
    assert json.dumps(schema) in body["system"][1]["text"]


async def test_any_json_object_is_asked_for_in_words(http: httpx.AsyncClient) -> None:
    body = await asked(http, call(model=SONNET_4_5, text={"format": {"type": "json_object"}}))
    assert "JSON object" in body["system"][0]["text"]
    assert "output_config" not in body


# --- thinking

DROPS = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking_", "effort"),
    [
        (SONNET_4_5, None, None, None),
        (SONNET_4_5, {"effort": "none"}, None, None),
        (SONNET_4_5, {"effort": "minimal"}, {"type": "enabled", "budget_tokens": 1024}, None),
        (SONNET_4_5, {"effort": "high", "summary": "auto"}, {"type": "enabled", "budget_tokens": 16_384}, None),
        ("claude-opus-4-1", {"effort": "max"}, {"type": "enabled", "budget_tokens": 24_000}, None),
        ("claude-3-5-haiku-20241022", {"effort": "high"}, None, None),
        (OPUS_4_6, None, None, None),
        (OPUS_4_6, {"summary": "auto"}, None, None),
        (OPUS_4_6, {"effort": "none"}, None, None),
        (OPUS_4_6, {"effort": "minimal"}, {"type": "adaptive"}, "low"),
        (OPUS_4_6, {"effort": "xhigh"}, {"type": "adaptive"}, "high"),
        ("claude-opus-4-7", {"effort": "xhigh"}, {"type": "adaptive"}, "xhigh"),
        (OPUS_5, None, None, None),
        (OPUS_5, {"summary": "concise"}, {"type": "adaptive", "display": "summarized"}, None),
        (OPUS_5, {"effort": "none"}, {"type": "disabled"}, None),
        (OPUS_5_5, None, {"type": "adaptive", **DROPS}, None),
        (OPUS_5_5, {"effort": "max", "summary": "auto"}, {"type": "adaptive", "display": "summarized", **DROPS}, "max"),
        (SONNET_5_5, {"effort": "none"}, {"type": "between_tools"}, None),
        ("claude-haiku-5-5", {"effort": "none"}, {"type": "disabled"}, None),
        (FABLE_5_1, {"effort": "low"}, {"type": "adaptive", **DROPS}, "low"),
        ("claude-fable-5", {"effort": "low"}, {"type": "adaptive"}, "low"),
        ("glm-4.6", {"effort": "none"}, {"type": "disabled"}, None),
        ("glm-4.6", {"effort": "low"}, {"type": "enabled", "budget_tokens": 2048}, None),
    ],
)
async def test_effort_is_a_budget_or_adaptive_thinking_as_the_model_has_it(
    http: httpx.AsyncClient,
    model: str,
    reasoning: dict[str, Any] | None,
    thinking_: dict[str, Any] | None,
    effort: str | None,
) -> None:
    body = await asked(http, call(model=model, **({"reasoning": reasoning} if reasoning else {})))
    assert body.get("thinking") == thinking_
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(("limit", "budget"), [(100_000, 16_384), (4000, 3000), (1366, 1024), (1200, None)])
async def test_a_budget_stays_below_max_tokens_or_there_is_none(
    http: httpx.AsyncClient, limit: int, budget: int | None
) -> None:
    body = await asked(http, call(model=SONNET_4_5, max_output_tokens=limit, reasoning={"effort": "high"}))
    assert body.get("thinking", {}).get("budget_tokens") == budget


@pytest.mark.parametrize(
    ("model", "thinking_", "effort"),
    [(SONNET_4_5, None, None), (OPUS_4_6, None, "high"), (OPUS_5, {"type": "disabled"}, "high")],
)
async def test_a_forced_call_goes_before_thinking(
    http: httpx.AsyncClient, model: str, thinking_: dict[str, Any] | None, effort: str | None
) -> None:
    forced = call(model=model, tools=[WEATHER], tool_choice="required", reasoning={"effort": "max"})
    body = await asked(http, forced)
    assert body.get("thinking") == thinking_
    assert body.get("output_config", {}).get("effort") == effort


async def test_betas_are_named_where_a_feature_needs_them(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        adapter = Anthropic(wire.provider("anthropic"), http, KEY)
        await sampled(adapter, call(model=SONNET_4_5, tools=[WEATHER], reasoning={"effort": "low"}))
        await sampled(adapter, call(model=SONNET_4_5, reasoning={"effort": "low"}))
        await sampled(adapter, call(model=OPUS_5_5))
    assert [request.headers.get("anthropic-beta") for request in wire.requests] == [
        "interleaved-thinking-2025-05-14",
        None,
        "thinking-binding-controls-2026-08-01",
    ]


async def test_a_loop_that_another_provider_began_goes_on_without_a_budget(http: httpx.AsyncClient) -> None:
    items = [{"role": "user", "content": "q"}, called("c"), output_of("c", "rain")]
    body = await asked(http, call(items, model=SONNET_4_5, tools=[WEATHER], reasoning={"effort": "low"}))
    assert "thinking" not in body


# --- the answer


async def test_text_comes_as_it_is_streamed(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, HELLO)
    assert deltas == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Finish("stop", Usage(input_tokens=12, output_tokens=7), "claude-sonnet-4-5-20250929"),
    ]


async def test_everything_in_one_answer(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, RICH)
    seals = [json.loads(unsealed(delta)) for delta in deltas if isinstance(delta, ReasoningSeal)]
    assert seals == [
        {"type": "thinking", "thinking": "Möwen fliegen. ", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZHVua2Vs"},
    ]
    assert [delta for delta in deltas if not isinstance(delta, ReasoningSeal)] == [
        ReasoningSummaryDelta("Möw"),
        ReasoningSummaryDelta("en fliegen. "),
        TextDelta("Schön, "),
        TextDelta("日本 🎈"),
        ToolCallDelta(0, call_id="toolu_1", name="weather"),
        ToolCallDelta(0, '{"ci'),
        ToolCallDelta(0, 'ty": "Zü'),
        ToolCallDelta(0, 'rich"}'),
        ToolCallDelta(1, call_id="toolu_2", name="weather"),
        ToolCallDelta(1, "{}"),
        Finish(
            "tool_calls",
            Usage(input_tokens=19, output_tokens=7, cached_tokens=3, cache_write_tokens=4, reasoning_tokens=5),
            "claude-sonnet-4-5-20250929",
        ),
    ]


def unsealed(delta: ReasoningSeal) -> str:
    return sealed_reasoning.content_for("anthropic", delta.data) or ""


@pytest.mark.parametrize("cut", [1, 7, 1000])
async def test_a_stream_cut_anywhere_is_the_same_stream(http: httpx.AsyncClient, cut: int) -> None:
    pieces = Answer(RICH.body, content_type=RICH.content_type, cut=cut)
    assert await answered(http, pieces) == await answered(http, RICH)


async def test_a_server_that_does_not_stream_is_read_as_well(http: httpx.AsyncClient) -> None:
    message: dict[str, Any] = {
        "type": "message",
        "model": "glm-4.6",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            said("Hello"),
            {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Bern"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 5, "output_tokens": 6},
    }
    deltas = await answered(http, Answer(json.dumps(message).encode()), call(model="glm-4.6"))
    assert deltas[0] == ReasoningDelta("hm")
    assert deltas[2:] == [
        TextDelta("Hello"),
        ToolCallDelta(0, call_id="c", name="weather"),
        ToolCallDelta(0, '{"city": "Bern"}'),
        Finish("tool_calls", Usage(input_tokens=5, output_tokens=6), "glm-4.6"),
    ]


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause"),
        ("something_new", "stop"),
    ],
)
async def test_every_stop_reason_has_its_meaning(http: httpx.AsyncClient, reason: str, ours: str) -> None:
    assert finish_of(await answered(http, stream(start(), *end(reason)))).reason == ours


async def test_a_refusal_says_why(http: httpx.AsyncClient) -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "This could do harm."}
    deltas = await answered(http, stream(start(), *text(0, "Well"), *end("refusal", details)))
    assert deltas[:2] == [TextDelta("Well"), RefusalDelta("This could do harm.")]


async def test_calls_may_interleave(http: httpx.AsyncClient) -> None:
    one, two = tool(0, "a", '{"x"', ":1}"), tool(1, "b", "{}")
    deltas = await answered(http, stream(start(), one[0], one[1], *two, *one[2:], *end("tool_use")))
    assembled: dict[int, str] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            assembled[delta.index] = assembled.get(delta.index, "") + delta.arguments
    assert assembled == {0: '{"x":1}', 1: "{}"}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("claude-3-7-sonnet-20250219", ReasoningDelta),
        ("glm-4.6", ReasoningDelta),
        (SONNET_4_5, ReasoningSummaryDelta),
        (OPUS_5_5, ReasoningSummaryDelta),
    ],
)
async def test_thinking_is_a_summary_on_claude_from_4_on_and_raw_elsewhere(
    http: httpx.AsyncClient, model: str, kind: type[Delta]
) -> None:
    deltas = await answered(http, stream(start(), *thinking(0, "hm"), *end()), call(model=model))
    assert isinstance(deltas[0], kind)


async def test_thinking_that_is_not_shown_is_kept_by_its_signature(http: httpx.AsyncClient) -> None:
    seal, _ = await answered(http, stream(start(), *thinking(0), *end()))
    assert isinstance(seal, ReasoningSeal)
    assert json.loads(unsealed(seal)) == {"type": "thinking", "thinking": "", "signature": "c2ln"}


async def test_usage_told_at_the_end_alone_counts(http: httpx.AsyncClient) -> None:
    """z.ai's way; the other way round, zeros at the end take nothing back."""
    late = stream(start(input_tokens=0, output_tokens=0), *end(input_tokens=14, cache_read_input_tokens=2))
    early = stream(start(), *end(input_tokens=0))
    for answer, total in ((late, Usage(16, 7, cached_tokens=2)), (early, Usage(12, 7))):
        assert finish_of(await answered(http, answer)).usage == total


async def test_a_stream_without_usage_is_counted(http: httpx.AsyncClient) -> None:
    events = [start(), *text(0, "one two three four"), *end()]
    del events[0]["message"]["usage"]
    del events[-2]["usage"]
    usage = finish_of(await answered(http, stream(*events))).usage
    assert usage.estimated
    assert usage.output_tokens >= 4
    assert usage.input_tokens > 0


async def test_what_nobody_knows_is_passed_over(http: httpx.AsyncClient) -> None:
    strange = [
        {"type": "new_event", "x": 1},
        *block(0, {"type": "new_block", "id": "n"}, {"type": "new_delta"}),
        {"type": "content_block_delta", "index": 9, "delta": {"type": "new_delta", "text": "orphan"}},
    ]
    deltas = await answered(http, stream(start(), *strange, *text(1, "hi"), *end()))
    assert deltas[:-1] == [TextDelta("hi")]


# --- the provider's own tools

SEARCHED = [
    *text(0, "Let me look. "),
    *block(
        1,
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"query": '},
        {"type": "input_json_delta", "partial_json": '"gulls"}'},
    ),
    *block(
        2,
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {"type": "web_search_result", "url": "https://birds.example", "title": "B", "encrypted_content": "e"}
            ],
        },
    ),
    *text(3, "Gulls: "),
    *block(
        4,
        {"type": "text", "text": "", "citations": []},
        {
            "type": "citations_delta",
            "citation": {
                "type": "web_search_result_location",
                "url": "https://birds.example",
                "title": "Birds",
                "cited_text": "They fly.",
                "encrypted_index": "x",
            },
        },
        {"type": "text_delta", "text": "they fly"},
    ),
    *text(5, "."),
]


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


# --- from turn to turn


@pytest.mark.parametrize("model", [SONNET_4_5, OPUS_4_6, OPUS_5_5, "glm-4.6"])
async def test_a_signature_comes_back_on_the_next_turn(http: httpx.AsyncClient, model: str) -> None:
    items: list[dict[str, Any]] = [{"role": "user", "content": "q"}]
    items += outputs_of(await answered(http, RICH, call(model=model)))
    items += [output_of("toolu_1", "rain"), output_of("toolu_2", "sun")]
    messages = bare(await asked(http, call(items, model=model, tools=[WEATHER], reasoning={"effort": "low"})))[
        "messages"
    ]
    assert messages[1]["content"] == [
        {"type": "thinking", "thinking": "Möwen fliegen. ", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZHVua2Vs"},
        said("Schön, 日本 🎈"),
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich"}},
        {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
    ]


async def test_a_loop_with_thoughts_goes_on_thinking_by_budget(http: httpx.AsyncClient) -> None:
    items = [{"role": "user", "content": "q"}, *outputs_of(await answered(http, RICH)), output_of("toolu_1", "rain")]
    body = await asked(http, call(items, model=SONNET_4_5, tools=[WEATHER], reasoning={"effort": "low"}))
    assert body["thinking"]["type"] == "enabled"


@pytest.mark.parametrize(
    "encrypted",
    [
        None,
        "gAAAA-of-openai",
        sealed_reasoning.mark("another", '{"type": "thinking"}'),
        sealed_reasoning.mark("anthropic", "not json"),
        sealed_reasoning.mark("anthropic", '{"type": "text", "text": "smuggled"}'),
    ],
)
async def test_reasoning_of_others_is_left_out(http: httpx.AsyncClient, encrypted: str | None) -> None:
    thought = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": encrypted,
    }
    items = [{"role": "user", "content": "q"}, thought, {"role": "assistant", "content": "a"}, MIDDLE[3]]
    assert bare(await asked(http, call(items)))["messages"][1] == assistant(said("a"))


@pytest.mark.parametrize("model", [SONNET_4_5, OPUS_5_5])
async def test_each_turns_request_begins_as_the_one_before_ended(http: httpx.AsyncClient, model: str) -> None:
    items: list[dict[str, Any]] = [{"role": "system", "content": "s"}, *MIDDLE]
    settings: dict[str, Any] = {"instructions": "Go.", "tools": [WEATHER], "reasoning": {"effort": "low"}}
    bodies = []
    for turn in range(6):
        bodies.append(await asked(http, call(items, model=model, **settings)))
        wire_ids = {f"toolu_{n}": f"turn{turn}_{n}" for n in (1, 2)}
        for item in outputs_of(await answered(http, RICH, call(model=model))):
            items.append({**item, "call_id": wire_ids[item["call_id"]]} if "call_id" in item else item)
        items += [output_of(call_id, f"rain {turn}") for call_id in wire_ids.values()]
    for before, after in pairwise(bodies):
        begun = json.dumps(bare(before), ensure_ascii=False).removesuffix("]}")
        assert json.dumps(bare(after), ensure_ascii=False).startswith(begun + ", ")


def breakpoints(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(breakpoints, value.values()))
    return sum(map(breakpoints, value)) if isinstance(value, list) else 0


async def test_the_cache_breaks_after_tools_and_system_and_after_the_last_two_turns(http: httpx.AsyncClient) -> None:
    items: list[dict[str, Any]] = [{"role": "user", "content": "q"}]
    for turn in range(5):
        items += [called(f"c{turn}"), called(f"d{turn}"), output_of(f"c{turn}", "x"), output_of(f"d{turn}", "y")]
    body = await asked(http, call(items, instructions="Go.", tools=[WEATHER, {**WEATHER, "name": "other"}]))
    assert breakpoints(body) == 4
    assert "cache_control" in body["tools"][-1]
    assert "cache_control" in body["system"][-1]
    assert [i for i, message in enumerate(body["messages"]) if breakpoints(message)] == [8, 10]
    assert all("cache_control" in body["messages"][i]["content"][-1] for i in (8, 10))


# --- going on after a crash


@pytest.mark.parametrize(
    ("request_", "how"),
    [
        ({"model": SONNET_4_5}, "prefill"),
        ({"model": "claude-opus-4-5", "reasoning": {"effort": "none"}}, "prefill"),
        ({"model": SONNET_4_5, "tools": [WEATHER]}, "prefill"),
        ({"model": SONNET_4_5, "text": {"format": {"type": "json_object"}}}, "prefill"),
        ({"model": SONNET_4_5, "text": wants(TREE)}, "prefill"),
        ({"model": SONNET_4_5, "text": wants(SCHEMA)}, "none"),
        ({"model": SONNET_4_5, "reasoning": {"effort": "low"}}, "none"),
        ({"model": SONNET_4_5, "tools": [WEATHER], "tool_choice": "required"}, "none"),
        ({"model": OPUS_4_6}, "none"),
        ({"model": "claude-sonnet-4-6"}, "none"),
        ({"model": OPUS_5_5}, "none"),
        ({"model": "glm-4.6"}, "none"),
    ],
)
async def test_an_answer_goes_on_by_prefill_where_nothing_stands_against_it(
    http: httpx.AsyncClient, request_: dict[str, Any], how: str
) -> None:
    wire = Wire()
    assert Anthropic(wire.provider("anthropic"), http, KEY).resume_of(call(**request_)) == how
    configured = Anthropic(wire.provider("anthropic", resume="prefill"), http, KEY)
    assert configured.resume_of(call(**request_)) == "prefill"


@pytest.mark.parametrize(
    ("prefix", "pieces", "whole"),
    [
        ("Gulls ", [" fly"], "Gulls fly"),
        ("Gulls ", ["fly"], "Gulls fly"),
        ("Gulls", [" fly"], "Gulls fly"),
        ("Gulls\n\n", ["\n", "\n", "fly"], "Gulls\n\nfly"),
        ("Gulls ", ["\nfly"], "Gulls \nfly"),
        (" \n", ["\nfly"], " \n\nfly"),
    ],
)
async def test_prefix_and_continuation_neither_repeat_nor_lose(
    http: httpx.AsyncClient, prefix: str, pieces: list[str], whole: str
) -> None:
    async with Wire(stream(start(), *text(0, *pieces), *end())) as wire:
        asked_ = call("q", model=SONNET_4_5, prefix=prefix)
        deltas = await sampled(Anthropic(wire.provider("anthropic"), http, KEY), asked_)
    assert prefix + text_of(deltas) == whole
    sent = bare(wire.requests[0].json)["messages"]
    assert sent[1:] == ([assistant(said(prefix.rstrip()))] if prefix.strip() else [])


async def test_citations_in_a_continuation_point_into_the_whole_text(http: httpx.AsyncClient) -> None:
    asked_ = call("q", model=SONNET_4_5, prefix="So: ")
    deltas = await answered(http, stream(start(), *SEARCHED[12:16], *end()), asked_)
    (cited,) = [delta.annotation for delta in deltas if isinstance(delta, TextAnnotation)]
    assert (cited["start_index"], cited["end_index"]) == (4, 12)


# --- failures


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"}


FAILURES: list[tuple[int, str, str, type[OpenResponsesError], str]] = [
    (400, "invalid_request_error", "messages.1: bad", ProviderRejected, "provider_rejected_request"),
    (
        400,
        "invalid_request_error",
        "prompt is too long: 208310 tokens > 200000 maximum",
        ContextLengthExceeded,
        "context_length_exceeded",
    ),
    (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.",
        ProviderRejected,
        "insufficient_quota",
    ),
    (401, "authentication_error", "invalid x-api-key", ProviderAuthentication, "provider_authentication"),
    (402, "billing_error", "Check your billing.", ProviderRejected, "insufficient_quota"),
    (403, "permission_error", "not yours", ProviderAuthentication, "provider_authentication"),
    (404, "not_found_error", "model: claude-nope", ProviderRejected, "model_not_found"),
    (413, "request_too_large", "Request exceeds the maximum size", ProviderRejected, "provider_rejected_request"),
    (429, "rate_limit_error", "too many", ProviderRateLimited, "rate_limit_exceeded"),
    (500, "api_error", "Internal server error", ProviderUnavailable, "provider_unavailable"),
    (504, "timeout_error", "took too long", ProviderUnavailable, "provider_unavailable"),
    (529, "overloaded_error", "Overloaded", ProviderUnavailable, "provider_unavailable"),
]


@pytest.mark.parametrize("is_streaming", [False, True])
@pytest.mark.parametrize(("status", "kind", "message", "expected", "code"), FAILURES)
async def test_an_error_means_the_same_before_and_in_the_middle_of_a_stream(
    http: httpx.AsyncClient,
    status: int,
    kind: str,
    message: str,
    expected: type[OpenResponsesError],
    code: str,
    is_streaming: bool,
) -> None:
    body = error(kind, message)
    answer = stream(start(), *text(0, "Hel"), body) if is_streaming else refusal(status, body)
    caught = await failed(http, answer)
    assert type(caught) is expected
    assert caught.error_code == code


@pytest.mark.parametrize("status", [429, 529])
async def test_the_wait_is_the_vendors(http: httpx.AsyncClient, status: int) -> None:
    answer = refusal(status, error("rate_limit_error", "slow down"), retry_after="17")
    assert (await failed(http, answer)).retry_after == 17


async def test_a_wrong_key_is_whose_it_is(http: httpx.AsyncClient) -> None:
    answer = refusal(401, error("authentication_error", "invalid x-api-key"))
    configured = await failed(http, answer, api_key_env="ANTHROPIC_API_KEY")
    own = await failed(http, answer, call(api_key=OWN_KEY), api_key_env="ANTHROPIC_API_KEY")
    assert "ANTHROPIC_API_KEY" in configured.message
    assert "the provider key that you sent" in own.message


async def test_an_error_that_is_not_json_keeps_its_text(http: httpx.AsyncClient) -> None:
    caught = await failed(http, Answer(b"<html>Bad gateway</html>", 502, content_type="text/html"))
    assert isinstance(caught, ProviderUnavailable)
    assert "Bad gateway" in caught.message


async def test_an_error_with_status_200_is_an_error(http: httpx.AsyncClient) -> None:
    caught = await failed(http, Answer(b'{"code": 500, "msg": "busy", "success": false}'))
    assert isinstance(caught, ProviderUnavailable)
    assert "busy" in caught.message


async def test_a_stream_without_its_end_is_broken(http: httpx.AsyncClient) -> None:
    assert isinstance(await failed(http, stream(start(), *text(0, "Hello"))), ProviderStreamBroken)


async def test_a_connection_that_breaks_is_a_broken_stream(http: httpx.AsyncClient) -> None:
    cut = Answer(HELLO.body[:-200], content_type=HELLO.content_type, breaks=True)
    assert isinstance(await failed(http, cut), ProviderStreamBroken)


@pytest.mark.parametrize("sent", [0, 300])
async def test_silence_is_a_timeout(http: httpx.AsyncClient, sent: int) -> None:
    silent = Answer(HELLO.body[:sent], content_type=HELLO.content_type, stalls=True)
    assert isinstance(await failed(http, silent, timeout_seconds=0.2), ProviderTimeout)


async def test_a_server_that_is_not_there_is_unavailable(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        config = wire.provider("anthropic")
    with pytest.raises(ProviderUnavailable):
        await sampled(Anthropic(config, http, KEY), call())


@pytest.mark.parametrize("data", [b"{broken", b"[1]", b"\xff\xfe"])
async def test_what_is_not_json_is_a_broken_stream(http: httpx.AsyncClient, data: bytes) -> None:
    answer = Answer(b"event: message_start\ndata: " + data + b"\n\n", content_type="text/event-stream")
    assert isinstance(await failed(http, answer), ProviderStreamBroken)


async def test_a_built_in_tools_broken_input_is_a_broken_stream(http: httpx.AsyncClient) -> None:
    started = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    broken = block(0, started, {"type": "input_json_delta", "partial_json": "{"})
    assert isinstance(await failed(http, stream(start(), *broken, *end())), ProviderStreamBroken)


# --- names


@pytest.mark.parametrize(
    ("name", "family", "version"),
    [
        ("claude-sonnet-4-20250514", "sonnet", (4, 0)),
        ("claude-opus-4-5-20251101", "opus", (4, 5)),
        ("us.anthropic.claude-opus-4-6-v1", "opus", (4, 6)),
        ("claude-3-5-haiku-latest", "haiku", (3, 5)),
        ("claude-3-opus-20240229", "opus", (3, 0)),
        ("claude-haiku-4.5", "haiku", (4, 5)),
        ("claude-opus-5", "opus", (5, 0)),
        ("claude-fable-5-2", "fable", (5, 2)),
        ("glm-4.6", None, (0, 0)),
    ],
)
def test_a_models_name_tells_its_family_and_version(name: str, family: str | None, version: tuple[int, int]) -> None:
    assert Model.named(name) == Model(family, version)
