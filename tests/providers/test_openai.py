"""OpenAI's Responses API as a provider, over a real socket.

The streams have the form of those recorded in vercel/ai, `packages/openai/src/responses/__fixtures__`, and of the types
of openai's SDK; words and ids are ours. The bodies of errors are OpenAI's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from activities.providers.openai import OpenAIResponses
from activities.providers.shared.http import open_http_client
from open_responses.deltas import (
    Delta,
    Finish,
    ItemEnd,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    ResumeToken,
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
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.tool_choice import AllowedTools
from tests.support.provider_wire import Answer, Wire, call, refusal, sampled, sse, text_of

USAGE = {
    "input_tokens": 120,
    "input_tokens_details": {"cache_write_tokens": 8, "cached_tokens": 64},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 12},
    "total_tokens": 150,
}
COUNTED = Usage(input_tokens=120, output_tokens=30, cached_tokens=64, cache_write_tokens=8, reasoning_tokens=12)
PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_client() as client:
        yield client


# --- the upstream's events


def response(status: str = "in_progress", **members: Any) -> dict[str, Any]:
    given = {"id": "resp_up", "object": "response", "status": status, "model": "gpt-5-2025-08-07", "output": []}
    return {**given, "error": None, "incomplete_details": None, "usage": None, **members}


def created() -> list[dict[str, Any]]:
    return [
        {"type": "response.created", "response": response()},
        {"type": "response.in_progress", "response": response()},
    ]


def completed(**members: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": response("completed", usage=USAGE, **members)}


def added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def at(kind: str, index: int, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": index, "item_id": "changes_from_event_to_event", **members}


def part(text: str, annotations: Any = ()) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


def message(*parts: dict[str, Any], status: str = "completed", **members: Any) -> dict[str, Any]:
    return {"type": "message", "id": "msg_up", "role": "assistant", "status": status, "content": list(parts), **members}


def spoken(index: int, *pieces: str, **members: Any) -> list[dict[str, Any]]:
    """All events of a message with one text."""
    text = "".join(pieces)
    place = {"content_index": 0}
    return [
        added(index, message(status="in_progress", **members)),
        at("content_part.added", index, **place, part=part("")),
        *[at("output_text.delta", index, **place, delta=piece, logprobs=[], obfuscation="x7Gd") for piece in pieces],
        at("output_text.done", index, **place, text=text, logprobs=[]),
        at("content_part.done", index, **place, part=part(text)),
        done(index, message(part(text), **members)),
    ]


def function(arguments: str, name: str = "weather", call_id: str = "call_up", **members: Any) -> dict[str, Any]:
    given = {"type": "function_call", "id": "fc_up", "call_id": call_id, "name": name, "arguments": arguments}
    return {"status": "completed", **given, **members}


def called(index: int, *pieces: str, **members: Any) -> list[dict[str, Any]]:
    whole = "".join(pieces)
    return [
        added(index, function("", status="in_progress", **members)),
        *[at("function_call_arguments.delta", index, delta=piece) for piece in pieces],
        at("function_call_arguments.done", index, arguments=whole),
        done(index, function(whole, **members)),
    ]


def reasoned(index: int, *summaries: str, encrypted: str | None = "gAAAA-all") -> list[dict[str, Any]]:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "content": []}
    events = [added(index, {**item, "encrypted_content": "gAAAA-not-all-of-it"})]
    for number, text in enumerate(summaries):
        place = {"summary_index": number}
        events += [
            at("reasoning_summary_part.added", index, **place, part={"type": "summary_text", "text": ""}),
            at("reasoning_summary_text.delta", index, **place, delta=text[:4]),
            at("reasoning_summary_text.delta", index, **place, delta=text[4:]),
            at("reasoning_summary_text.done", index, **place, text=text),
            at("reasoning_summary_part.done", index, **place, part={"type": "summary_text", "text": text}),
        ]
    summary = [{"type": "summary_text", "text": text} for text in summaries]
    return [*events, done(index, {**item, "summary": summary, "encrypted_content": encrypted})]


def stream(*events: dict[str, Any]) -> Answer:
    return sse(*created(), *events, completed(), named=True)


# --- helpers


async def heard(http: httpx.AsyncClient, answer: Answer, asked: Any = None, **settings: Any) -> list[Delta]:
    async with Wire(answer) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", **settings), http, "sk-configured")
        return await sampled(provider, asked or call())


async def sent(http: httpx.AsyncClient, asked: Any, **settings: Any) -> dict[str, Any]:
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", **settings), http, "sk-configured")
        await sampled(provider, asked)
        return wire.requests[0].json


async def broken_off(provider: OpenAIResponses) -> tuple[list[Delta], OpenResponsesError | None]:
    """What was heard before the error."""
    deltas: list[Delta] = []
    try:
        async for delta in provider.sample(call()):
            deltas.append(delta)
    except OpenResponsesError as error:
        return deltas, error
    return deltas, None


async def written(http: httpx.AsyncClient, *items: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    return (await sent(http, call(list(items)), **settings))["input"]


def tool(name: str = "weather", **members: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, **members}


def kinds(deltas: list[Delta]) -> list[str]:
    return [type(delta).__name__ for delta in deltas]


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


# --- items


async def test_messages_of_all_roles_stand_where_they_stood(http: httpx.AsyncClient) -> None:
    items = [
        {"role": "system", "content": "One."},
        {"role": "user", "content": "Two."},
        {"role": "user", "content": [{"type": "input_text", "text": "Three."}]},
        {"role": "developer", "content": "Four."},
        {"type": "message", "id": "msg_ours", "status": "completed", "role": "assistant", "content": "Five."},
        {"role": "developer", "content": [{"type": "input_text", "text": "Six."}]},
    ]
    assert await written(http, *items) == [
        {"type": "message", "role": "system", "content": "One."},
        {"type": "message", "role": "user", "content": "Two."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Three."}]},
        {"type": "message", "role": "developer", "content": "Four."},
        {"type": "message", "role": "assistant", "content": "Five."},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Six."}]},
    ]


async def test_an_answer_goes_back_with_its_phase_and_without_its_id(http: httpx.AsyncClient) -> None:
    answer = message(part("Let me look."), id="msg_ours", phase="commentary")
    assert await written(http, answer) == [
        {"type": "message", "role": "assistant", "content": "Let me look.", "phase": "commentary"}
    ]


async def test_an_answer_of_several_parts_goes_back_part_by_part(http: httpx.AsyncClient) -> None:
    citation = {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 5}
    foreign = {"type": "char_location", "cited_text": "x"}
    answer = message(part("First", [citation, foreign]), {"type": "refusal", "refusal": "No more."})
    (item,) = await written(http, answer)
    assert item["content"] == [
        {"type": "output_text", "text": "First", "annotations": [citation]},
        {"type": "refusal", "refusal": "No more."},
    ]


IMAGES = [
    ({"image_url": "https://a.test/cat.png"}, {"image_url": "https://a.test/cat.png", "detail": "auto"}),
    ({"image_url": PNG, "detail": "low"}, {"image_url": PNG, "detail": "low"}),
    ({"file_id": "file-1"}, {"file_id": "file-1", "detail": "auto"}),
]
PDF = "data:application/pdf;base64,JVBERi0="
FILES = [
    ({"file_data": PDF, "filename": "a.pdf"}, {"file_data": PDF, "filename": "a.pdf"}),
    ({"file_data": PDF}, {"file_data": PDF, "filename": "file.pdf"}),
    ({"file_data": "JVBERi0="}, {"file_data": PDF, "filename": "file.pdf"}),
    ({"file_data": "YSxi", "filename": "a.csv"}, {"file_data": "data:text/csv;base64,YSxi", "filename": "a.csv"}),
    ({"file_url": "https://a.test/a.pdf", "filename": "a.pdf"}, {"file_url": "https://a.test/a.pdf"}),
    ({"file_id": "file-1", "detail": "low"}, {"file_id": "file-1", "detail": "low"}),
]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [("input_image", *pair) for pair in IMAGES] + [("input_file", *pair) for pair in FILES],
)
async def test_images_and_files_are_passed_on_in_a_message(
    http: httpx.AsyncClient, kind: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    (item,) = await written(http, {"role": "user", "content": [{"type": kind, **given}]})
    assert item["content"] == [{"type": kind, **expected}]


async def test_a_tools_output_may_be_text_or_parts(http: httpx.AsyncClient) -> None:
    output = [
        {"type": "input_text", "text": "Here:"},
        {"type": "input_image", "image_url": PNG},
        {"type": "input_file", "file_data": "JVBERi0="},
    ]
    items = await written(
        http,
        function('{"city":"Oslo"}', id="fc_ours"),
        {"type": "function_call_output", "id": "fco_ours", "call_id": "call_up", "output": "rain"},
        function("{}", call_id="call_2", id="fc_ours2"),
        {"type": "function_call_output", "call_id": "call_2", "output": output},
    )
    assert items == [
        {"type": "function_call", "call_id": "call_up", "name": "weather", "arguments": '{"city":"Oslo"}'},
        {"type": "function_call_output", "call_id": "call_up", "output": "rain"},
        {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "call_2",
            "output": [
                {"type": "input_text", "text": "Here:"},
                {"type": "input_image", "image_url": PNG},
                {"type": "input_file", "filename": "file.pdf", "file_data": PDF},
            ],
        },
    ]


@pytest.mark.parametrize(("given", "expected"), [("", "{}"), ('{"city":', '{"city":')])
async def test_empty_and_broken_arguments_of_an_earlier_call_go_back(
    http: httpx.AsyncClient, given: str, expected: str
) -> None:
    items = await written(
        http, function(given), {"type": "function_call_output", "call_id": "call_up", "output": "Error: not JSON"}
    )
    assert items[0]["arguments"] == expected


async def test_members_that_openai_does_not_know_stay_here(http: httpx.AsyncClient) -> None:
    extra = {"approval_request_id": "apr_1", "open_responses:note": "x"}
    items = await written(
        http,
        {"role": "user", "content": [{"type": "input_text", "text": "Hi", "colour": "red"}], "name": "Ann"},
        function("{}", **extra),
        {"type": "function_call_output", "call_id": "call_up", "output": "ok", "status": "completed", **extra},
    )
    assert items[0] == {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    assert set(items[1]) == {"type", "call_id", "name", "arguments"}
    assert set(items[2]) == {"type", "call_id", "output"}


async def test_a_cache_breakpoint_of_the_clients_is_kept(http: httpx.AsyncClient) -> None:
    marked = {"type": "input_text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}
    (item,) = await written(http, {"role": "user", "content": [marked]})
    assert item["content"] == [marked]


AUDIO = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}


@pytest.mark.parametrize(
    ("items", "param", "code"),
    [
        (
            [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}, AUDIO]}],
            "input[0].content[1]",
            "unsupported_content",
        ),
        (
            [function("{}"), {"type": "function_call_output", "call_id": "call_up", "output": [AUDIO]}],
            "input[1].output[0]",
            "unsupported_content",
        ),
        ([{"type": "compaction", "encrypted_content": "x"}], "input[0]", "unsupported_item"),
    ],
)
async def test_what_openai_cannot_take_is_named_before_any_call(
    http: httpx.AsyncClient, items: list[Any], param: str, code: str
) -> None:
    async with Wire(stream()) as wire:
        with pytest.raises(InvalidRequest) as caught:
            await sampled(OpenAIResponses(wire.provider("openai"), http, "sk"), call(items))
    assert (caught.value.param, caught.value.error_code, wire.requests) == (param, code, [])


async def test_records_of_other_providers_and_our_extensions_are_left_out(http: httpx.AsyncClient) -> None:
    items = await written(
        http,
        {"type": "server_tool_use", "id": "st_1", "name": "web_search", "input": {}},
        {"type": "executable_code", "code": "1"},
        {"type": "open_responses:tool_progress", "text": "x"},
        {"role": "user", "content": "Hi"},
    )
    assert [item["type"] for item in items] == ["message"]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("web_search_call", "ws_0a76", "ws_0a76"),
        ("web_search_call", "item_0a76", "ws_0a76"),
        ("file_search_call", "0a76", "fs_0a76"),
        ("code_interpreter_call", None, "ci_0"),
        ("image_generation_call", "pi_0a76", "ig_0a76"),
    ],
)
async def test_openais_built_in_tools_go_back_whole_with_an_id_that_it_takes(
    http: httpx.AsyncClient, kind: str, given: str | None, expected: str
) -> None:
    members = {"status": "completed", "action": {"type": "search", "query": "x"}}
    item = {"type": kind, **members} | ({} if given is None else {"id": given})
    assert await written(http, item) == [{"type": kind, **members, "id": expected}]


# --- reasoning


async def test_reasoning_comes_back_on_the_next_turn_as_it_was(http: httpx.AsyncClient) -> None:
    deltas = await heard(http, stream(*reasoned(0, "Weighing it."), *called(1, "{}")))
    (seal,) = [delta.data for delta in deltas if isinstance(delta, ReasoningSeal)]
    items = await written(
        http,
        {"type": "reasoning", "id": "rs_ours", "summary": [], "encrypted_content": seal},
        function("{}"),
        {"type": "function_call_output", "call_id": "call_up", "output": "rain"},
    )
    assert items[0] == {
        "type": "reasoning",
        "id": "rs_up",
        "summary": [{"type": "summary_text", "text": "Weighing it."}],
        "encrypted_content": "gAAAA-all",
    }


async def test_reasoning_that_a_server_does_not_encrypt_comes_back_in_plain(http: httpx.AsyncClient) -> None:
    content = [{"type": "reasoning_text", "text": "Hmm."}]
    item = {"type": "reasoning", "id": "rs_vllm", "summary": [], "content": content}
    deltas = await heard(http, stream(done(0, item), *called(1, "{}")))
    (seal,) = [delta.data for delta in deltas if isinstance(delta, ReasoningSeal)]
    sealed = {"type": "reasoning", "id": "rs_ours", "summary": [], "content": content, "encrypted_content": seal}
    assert (await written(http, sealed, function("{}")))[0] == item


async def test_reasoning_that_a_client_got_from_openai_is_passed_on(http: httpx.AsyncClient) -> None:
    summary = [{"type": "summary_text", "text": "Weighing it."}]
    own = {"type": "reasoning", "id": "rs_stored_there", "summary": summary, "encrypted_content": "gAAAA-own"}
    assert (await written(http, own, message(part("Yes."))))[0] == {
        "type": "reasoning",
        "summary": summary,
        "encrypted_content": "gAAAA-own",
    }


@pytest.mark.parametrize(
    "encrypted",
    [None, sealed_reasoning.mark("anthropic", "signature"), sealed_reasoning.mark("openai", "not JSON"), "orx1.broken"],
)
async def test_reasoning_that_openai_could_not_read_is_left_out(http: httpx.AsyncClient, encrypted: str | None) -> None:
    foreign = {"type": "reasoning", "summary": [], "encrypted_content": encrypted}
    items = await written(http, foreign, message(part("Yes.")))
    assert [item["type"] for item in items] == ["message"]


async def test_reasoning_that_led_to_nothing_is_left_out(http: httpx.AsyncClient) -> None:
    lone = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    items = await written(http, {"role": "user", "content": "Hi"}, lone, {"role": "user", "content": "Well?"}, lone)
    assert [item["type"] for item in items] == ["message", "message"]


async def test_the_request_of_the_next_turn_begins_with_the_bytes_of_the_last(http: httpx.AsyncClient) -> None:
    seal = sealed_reasoning.mark("openai", json.dumps({"id": "rs_1", "summary": [], "encrypted_content": "gAA"}))
    turn = [
        {"role": "user", "content": "Weather?"},
        {"type": "reasoning", "id": "rs_ours", "summary": [], "encrypted_content": seal},
        function("{}", id="fc_ours"),
        {"type": "function_call_output", "call_id": "call_up", "output": "rain"},
    ]
    more = [message(part("Rain."), id="msg_ours"), {"role": "user", "content": "And tomorrow?"}]
    bodies = []
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        provider = OpenAIResponses(wire.provider("openai"), http, "sk")
        for items, left in ((turn, 500), (turn + more, 470)):
            asked = call(
                items, tools=[tool()], tool_choice="auto", instructions="Be brief.", reasoning={"effort": "low"}
            )
            await sampled(provider, replace(asked, max_output_tokens=left))
        bodies = [request.body for request in wire.requests]
    prefix = bodies[0][: bodies[0].index(b'],"tool_choice"')]
    assert len(prefix) > 300
    assert bodies[1].startswith(prefix)


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


# --- what is heard


async def test_text_comes_as_it_is_spoken_and_once(http: httpx.AsyncClient) -> None:
    assert await heard(http, stream(*spoken(0, "Grüß ", "dich, 世界 🎈"))) == [
        TextDelta("Grüß "),
        TextDelta("dich, 世界 🎈"),
        ItemEnd(),
        Finish("stop", COUNTED, "gpt-5-2025-08-07"),
    ]


FULL = stream(
    *reasoned(0, "First, **look**.", "Then — say it."),
    *spoken(1, "Ich sehe nach … ", "🎈", phase="commentary"),
    *called(2, '{"city":', '"Zürich"}'),
    done(3, {"type": "web_search_call", "id": "ws_up", "status": "completed", "action": {"type": "search"}}),
)


async def test_a_stream_cut_at_every_byte_says_the_same(http: httpx.AsyncClient) -> None:
    whole = await heard(http, FULL)
    assert await heard(http, replace(FULL, cut=1)) == whole
    assert kinds(whole) == [
        *["ReasoningSummaryDelta"] * 4,
        "ReasoningSeal",
        *["TextDelta"] * 2,
        "ItemEnd",
        *["ToolCallDelta"] * 3,
        "ProviderItem",
        "Finish",
    ]


async def test_phases_and_message_boundaries_are_kept(http: httpx.AsyncClient) -> None:
    events = [*spoken(0, "I look.", phase="commentary"), *spoken(1, "Done.", phase="final_answer")]
    assert (await heard(http, stream(*events)))[:-1] == [
        TextDelta("I look.", phase="commentary"),
        ItemEnd(),
        TextDelta("Done.", phase="final_answer"),
        ItemEnd(),
    ]


async def test_two_texts_of_one_message_stay_apart(http: httpx.AsyncClient) -> None:
    events = [
        at("output_text.delta", 0, content_index=0, delta="First."),
        at("output_text.delta", 0, content_index=1, delta="Sec"),
        at("output_text.delta", 0, content_index=1, delta="ond."),
        done(0, message(part("First."), part("Second."))),
    ]
    expected = [TextDelta("First."), ItemEnd(), TextDelta("Sec"), TextDelta("ond."), ItemEnd()]
    assert (await heard(http, stream(*events)))[:-1] == expected


@pytest.mark.parametrize("content", [[], [part("")]])
async def test_an_empty_answer_is_an_answer(http: httpx.AsyncClient, content: list[Any]) -> None:
    assert (await heard(http, stream(done(0, message(*content)))))[:-1] == [TextDelta(""), ItemEnd()]


async def test_a_refusal_is_no_text(http: httpx.AsyncClient) -> None:
    events = [
        at("refusal.delta", 0, content_index=0, delta="I can"),
        at("refusal.delta", 0, content_index=0, delta="not."),
        at("refusal.done", 0, content_index=0, refusal="I cannot."),
        done(0, message({"type": "refusal", "refusal": "I cannot."})),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [RefusalDelta("I can"), RefusalDelta("not."), ItemEnd()]


async def test_annotations_come_once_each(http: httpx.AsyncClient) -> None:
    first, second = (
        {"type": "url_citation", "url": f"https://a.test/{n}", "title": "A", "start_index": n, "end_index": 4}
        for n in (0, 1)
    )
    place = {"content_index": 0}
    events = [
        at("output_text.delta", 0, **place, delta="Text"),
        at("output_text.annotation.added", 0, **place, annotation_index=0, annotation=first),
        at("content_part.done", 0, **place, part=part("Text", [first])),
        done(0, message(part("Text", [first, second]))),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [
        TextDelta("Text"),
        TextAnnotation(first),
        TextAnnotation(second),
        ItemEnd(),
    ]


async def test_logprobs_have_the_specifications_shape(http: httpx.AsyncClient) -> None:
    top = {"token": "Hé", "logprob": -0.1}
    logprob = {**top, "top_logprobs": [top, {"token": "Ho", "logprob": -2.5, "bytes": [72, 111]}]}
    deltas = await heard(http, stream(at("output_text.delta", 0, content_index=0, delta="Hé", logprobs=[logprob])))
    full = {**top, "bytes": [72, 195, 169]}
    tops = [full, {"token": "Ho", "logprob": -2.5, "bytes": [72, 111]}]
    assert deltas[0] == TextDelta("Hé", [{**full, "top_logprobs": tops}])


async def test_parallel_calls_may_interleave(http: httpx.AsyncClient) -> None:
    events = [
        added(0, function("", name="a", call_id="call_a")),
        added(1, function("", name="b", call_id="call_b")),
        at("function_call_arguments.delta", 1, delta='{"x":'),
        at("function_call_arguments.delta", 0, delta="{}"),
        at("function_call_arguments.delta", 1, delta="1}"),
        at("function_call_arguments.done", 0, arguments="{}"),
        at("function_call_arguments.done", 1, arguments='{"x":1}'),
        done(0, function("{}", name="a", call_id="call_a")),
        done(1, function('{"x":1}', name="b", call_id="call_b")),
    ]
    assert await heard(http, stream(*events)) == [
        ToolCallDelta(0, "", "call_a", "a"),
        ToolCallDelta(1, "", "call_b", "b"),
        ToolCallDelta(1, '{"x":'),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(1, "1}"),
        Finish("tool_calls", COUNTED, "gpt-5-2025-08-07"),
    ]


@pytest.mark.parametrize(
    "events",
    [
        called(4, '{"a":1}'),
        [added(4, function("")), at("function_call_arguments.done", 4, arguments='{"a":1}'), done(4, function(""))],
        [added(4, function("")), done(4, function('{"a":1}'))],
        [added(4, function('{"a":')), at("function_call_arguments.delta", 4, delta="1}"), done(4, function('{"a":1}'))],
        [added(4, function("")), at("function_call_arguments.delta", 4, delta='{"a'), done(4, function('{"a":1}'))],
        [done(4, function('{"a":1}'))],
    ],
)
async def test_arguments_are_heard_once_wherever_they_stand(
    http: httpx.AsyncClient, events: list[dict[str, Any]]
) -> None:
    deltas = await heard(http, stream(*events))
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert "".join(delta.arguments for delta in calls) == '{"a":1}'
    assert (calls[0].index, calls[0].call_id, calls[0].name) == (4, "call_up", "weather")


async def test_a_call_without_arguments_is_a_call(http: httpx.AsyncClient) -> None:
    deltas = await heard(http, stream(*called(0)))
    assert deltas == [ToolCallDelta(0, "", "call_up", "weather"), Finish("tool_calls", COUNTED, "gpt-5-2025-08-07")]


async def test_a_reasonings_summary_has_parts_and_its_seal_is_the_last_word(http: httpx.AsyncClient) -> None:
    deltas = await heard(http, stream(*reasoned(0, "First.", "Then."), *spoken(1, "Yes.")))
    assert deltas[:4] == [
        ReasoningSummaryDelta("Firs"),
        ReasoningSummaryDelta("t."),
        ReasoningSummaryDelta("Then", 1),
        ReasoningSummaryDelta(".", 1),
    ]
    seal = deltas[4]
    assert isinstance(seal, ReasoningSeal)
    assert json.loads(sealed_reasoning.content_for("openai", seal.data) or "") == {
        "id": "rs_up",
        "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
        "encrypted_content": "gAAAA-all",
    }


async def test_reasoning_without_a_seal_ends(http: httpx.AsyncClient) -> None:
    deltas = await heard(http, stream(*reasoned(0, "First.", encrypted=None), *spoken(1, "Yes.")))
    assert kinds(deltas[:3]) == ["ReasoningSummaryDelta", "ReasoningSummaryDelta", "ItemEnd"]


@pytest.mark.parametrize("name", ["reasoning_text", "reasoning"])
async def test_raw_reasoning_is_heard_under_both_of_its_names(http: httpx.AsyncClient, name: str) -> None:
    events = [
        at(f"{name}.delta", 0, content_index=0, delta="Hm"),
        at(f"{name}.done", 0, content_index=0, text="Hmm."),
        *spoken(1, "Yes."),
    ]
    assert (await heard(http, stream(*events)))[:2] == [ReasoningDelta("Hm"), ReasoningDelta("m.")]


async def test_the_progress_of_a_built_in_tool_precedes_its_whole_item(http: httpx.AsyncClient) -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_up",
        "status": "completed",
        "action": {"type": "search", "query": "news"},
    }
    events = [
        added(0, {"type": "web_search_call", "id": "ws_up", "status": "in_progress"}),
        at("web_search_call.in_progress", 0),
        at("web_search_call.searching", 0),
        at("web_search_call.completed", 0),
        done(0, search),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [
        ProviderItemStart(0, {"type": "web_search_call", "id": "ws_up", "status": "in_progress"}),
        ProviderItemProgress(0, "response.web_search_call.in_progress"),
        ProviderItemProgress(0, "response.web_search_call.searching"),
        ProviderItemProgress(0, "response.web_search_call.completed"),
        ProviderItem(search, 0),
    ]


async def test_a_built_in_tool_without_progress_is_one_item(http: httpx.AsyncClient) -> None:
    search = {"type": "web_search_call", "id": "ws_up", "status": "completed"}
    assert (await heard(http, stream(done(0, search))))[:-1] == [ProviderItem(search)]


async def test_the_code_of_the_code_interpreter_arrives_in_pieces_and_whole_where_none_were_sent(
    http: httpx.AsyncClient,
) -> None:
    ran = {"type": "code_interpreter_call", "id": "ci_up", "status": "completed", "code": "x = 1", "container_id": "c"}
    begun = {**ran, "status": "in_progress", "code": "", "outputs": []}
    events = [
        added(0, begun),
        at("code_interpreter_call.in_progress", 0),
        at("code_interpreter_call_code.delta", 0, delta="x ", obfuscation="abc"),
        at("code_interpreter_call_code.done", 0, code="x = 1"),
        at("code_interpreter_call.interpreting", 0),
        at("code_interpreter_call.completed", 0),
        done(0, ran),
    ]
    code = "response.code_interpreter_call_code"
    assert (await heard(http, stream(*events)))[:-1] == [
        ProviderItemStart(0, begun),
        ProviderItemProgress(0, "response.code_interpreter_call.in_progress"),
        ProviderItemProgress(0, f"{code}.delta", {"delta": "x "}),
        ProviderItemProgress(0, f"{code}.delta", {"delta": "= 1"}),
        ProviderItemProgress(0, f"{code}.done"),
        ProviderItemProgress(0, "response.code_interpreter_call.interpreting"),
        ProviderItemProgress(0, "response.code_interpreter_call.completed"),
        ProviderItem(ran, 0),
    ]


async def test_partial_images_keep_what_describes_them(http: httpx.AsyncClient) -> None:
    image = {"type": "image_generation_call", "id": "ig_up", "status": "completed", "result": "AAAA"}
    part = {"partial_image_index": 0, "partial_image_b64": "AA==", "size": "1024x1024", "output_format": "png"}
    part |= {"quality": "low", "background": "opaque"}
    events = [
        at("image_generation_call.generating", 0),
        at("image_generation_call.partial_image", 0, **part),
        done(0, image),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [
        ProviderItemStart(0, {"type": "image_generation_call"}),
        ProviderItemProgress(0, "response.image_generation_call.generating"),
        ProviderItemProgress(0, "response.image_generation_call.partial_image", part),
        ProviderItem(image, 0),
    ]


async def test_events_and_items_that_nobody_knows_are_passed_over(http: httpx.AsyncClient) -> None:
    events = [
        {"type": "keepalive", "sequence_number": 3},
        {"type": "response.safety_buffering", "why": None},
        added(0, {"type": "hologram"}),
        done(0, {"type": "hologram"}),
        *spoken(1, "Yes."),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [TextDelta("Yes."), ItemEnd()]


@pytest.mark.parametrize(
    ("reason", "expected"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")]
)
async def test_an_answer_that_breaks_off_says_why_and_stays_open(
    http: httpx.AsyncClient, reason: str | None, expected: str
) -> None:
    ending = response("incomplete", incomplete_details={"reason": reason}, usage=USAGE)
    events = [
        at("output_text.delta", 0, content_index=0, delta="Half"),
        done(0, message(part("Half"), status="incomplete")),
        {"type": "response.incomplete", "response": ending},
    ]
    deltas = await heard(http, sse(*created(), *events, named=True))
    assert deltas == [TextDelta("Half"), Finish(expected, COUNTED, "gpt-5-2025-08-07")]  # type: ignore[arg-type]


async def test_reasoning_that_broke_off_has_no_seal(http: httpx.AsyncClient) -> None:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "gAA", "status": "incomplete"}
    ending = response("incomplete", incomplete_details={"reason": "max_output_tokens"})
    deltas = await heard(http, sse(*created(), done(0, item), {"type": "response.incomplete", "response": ending}))
    assert kinds(deltas) == ["Finish"]


async def test_a_stream_without_usage_is_counted_roughly(http: httpx.AsyncClient) -> None:
    ending = {"type": "response.completed", "response": response("completed")}
    deltas = await heard(http, sse(*created(), *spoken(0, "abcd", "efgh", "i"), ending), call("x" * 400))
    assert deltas[-1] == Finish("stop", Usage(100, 3, estimated=True), "gpt-5-2025-08-07")


async def test_a_server_that_does_not_stream_is_heard_too(http: httpx.AsyncClient) -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        message(part("Yes.")),
        function("{}"),
    ]
    whole = response("completed", output=output, usage=USAGE)
    assert await heard(http, Answer(json.dumps(whole).encode())) == [
        ReasoningSummaryDelta("Hm."),
        ItemEnd(),
        TextDelta("Yes."),
        ItemEnd(),
        ToolCallDelta(2, "{}", "call_up", "weather"),
        Finish("tool_calls", COUNTED, "gpt-5-2025-08-07"),
    ]


@pytest.mark.parametrize("end", [{"breaks": True}, {"stalls": True}])
async def test_nothing_is_asked_of_the_connection_after_the_last_event(
    http: httpx.AsyncClient, end: dict[str, bool]
) -> None:
    deltas = await heard(http, replace(stream(*spoken(0, "Yes.")), **end), timeout_seconds=0.2)
    assert deltas[-1] == Finish("stop", COUNTED, "gpt-5-2025-08-07")


# --- failures


def error(message: str, kind: str = "invalid_request_error", code: str | None = None, param: Any = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


ANSWERS = [
    (401, error("Incorrect API key provided: sk-con***.", code="invalid_api_key"), ProviderAuthentication),
    (403, error("Country, region, or territory not supported", "request_forbidden"), ProviderAuthentication),
    (403, error("Project `p` does not have access to model `gpt-5`", code="model_not_found"), ProviderRejected),
    (404, error("The model `gpt-9` does not exist", code="model_not_found"), ProviderRejected),
    (400, error("The requested model 'gpt-9' does not exist.", code="model_not_found"), ProviderRejected),
    (
        400,
        error("Your input exceeds the context window of this model.", code="context_length_exceeded", param="input"),
        ContextLengthExceeded,
    ),
    (400, error("Unsupported parameter: 'temperature'.", param="temperature"), ProviderRejected),
    (429, error("Rate limit reached for gpt-5", "tokens", "rate_limit_exceeded"), ProviderRateLimited),
    (429, error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), ProviderRejected),
    (
        429,
        error("Request too large for gpt-5 on tokens per min (TPM): Limit 30000, Requested 35364.", "tokens"),
        ProviderRejected,
    ),
    (500, error("The server had an error", "server_error"), ProviderUnavailable),
    (503, error("The engine is currently overloaded", "service_unavailable_error"), ProviderUnavailable),
    (502, "<html>Bad Gateway</html>", ProviderUnavailable),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
async def test_a_refused_request_is_the_right_error(
    http: httpx.AsyncClient, status: int, body: Any, expected: type[OpenResponsesError]
) -> None:
    with pytest.raises(expected) as caught:
        await heard(http, refusal(status, body))
    assert type(caught.value) is expected
    assert "sk-configured" not in str(caught.value)


async def test_openais_own_message_reaches_the_client(http: httpx.AsyncClient) -> None:
    with pytest.raises(ProviderRejected, match="Unsupported parameter: 'temperature'"):
        await heard(http, refusal(400, error("Unsupported parameter: 'temperature'.")))


async def test_a_model_that_is_not_there_has_its_code(http: httpx.AsyncClient) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await heard(http, refusal(400, error("no such model", code="model_not_found")))
    assert caught.value.error_code == "model_not_found"


async def test_a_refused_key_of_the_requests_own_is_said_to_be_its_own(http: httpx.AsyncClient) -> None:
    body = error("Incorrect API key provided", code="invalid_api_key")
    with pytest.raises(ProviderAuthentication, match="the provider key that you sent"):
        await heard(http, refusal(401, body), call(api_key="sk-own"))


@pytest.mark.parametrize(
    ("headers", "message", "wait"),
    [
        ({"retry_after": "7"}, "Slow down", 7),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6m0s"}, "Slow down", 360),
        ({}, "Rate limit reached. Please try again in 11.054s. Visit the site.", 11.054),
        ({}, "Rate limit reached. Please try again in 20 seconds.", 20),
        ({}, "Rate limit reached. Please try again in 1m12.5s.", 72.5),
        ({}, "Slow down", None),
    ],
)
async def test_a_rate_limit_says_how_long_to_wait(
    http: httpx.AsyncClient, headers: dict[str, str], message: str, wait: float | None
) -> None:
    body = error(message, "tokens", "rate_limit_exceeded")
    with pytest.raises(ProviderRateLimited) as caught:
        await heard(http, refusal(429, body, **headers))
    assert caught.value.retry_after == wait


def failed(code: str | None, message: str = "went wrong") -> dict[str, Any]:
    return {"type": "response.failed", "response": response("failed", error={"code": code, "message": message})}


MIDSTREAM = [
    (failed("server_error"), ProviderUnavailable),
    (failed("vector_store_timeout"), ProviderUnavailable),
    (failed("server_is_overloaded"), ProviderUnavailable),
    (failed(None), ProviderUnavailable),
    ({"type": "response.failed", "response": response("failed")}, ProviderUnavailable),
    (failed("rate_limit_exceeded"), ProviderRateLimited),
    (failed("rate_limit_exceeded", "Request too large for gpt-5: Limit 30000, Requested 35364."), ProviderRejected),
    (failed("insufficient_quota"), ProviderRejected),
    (failed("invalid_prompt"), ProviderRejected),
    (failed("image_content_policy_violation"), ProviderRejected),
    (failed("bio_policy"), ProviderRejected),
    (failed("context_length_exceeded"), ContextLengthExceeded),
    (
        {"type": "error", "sequence_number": 2, **error("too many", "tokens", "rate_limit_exceeded")},
        ProviderRateLimited,
    ),
    ({"type": "error", "sequence_number": 2, **error("Sorry", "server_error")}, ProviderUnavailable),
    ({"type": "error", "sequence_number": 2, **error("no", "invalid_request_error")}, ProviderRejected),
    ({"type": "error", "code": "rate_limit_exceeded", "message": "no", "param": None}, ProviderRateLimited),
    ({"type": "error", "code": None, "message": "no", "param": None}, ProviderUnavailable),
    (error("bare", "server_error"), ProviderUnavailable),
    ({"type": "response.cancelled", "response": response("cancelled")}, ProviderStreamBroken),
]


@pytest.mark.parametrize(("event", "expected"), MIDSTREAM)
async def test_a_failure_in_the_middle_is_its_http_twin(
    http: httpx.AsyncClient, event: dict[str, Any], expected: type[OpenResponsesError]
) -> None:
    answer = sse(*created(), at("output_text.delta", 0, content_index=0, delta="Half"), event)
    async with Wire(answer) as wire:
        deltas, error = await broken_off(OpenAIResponses(wire.provider("openai"), http, "sk"))
    assert type(error) is expected
    assert text_of(deltas) == "Half"


async def test_a_rate_limit_in_the_middle_says_how_long_to_wait(http: httpx.AsyncClient) -> None:
    event = failed("rate_limit_exceeded", "Rate limit reached. Please try again in 1.5s.")
    with pytest.raises(ProviderRateLimited) as caught:
        await heard(http, sse(*created(), event))
    assert caught.value.retry_after == 1.5


HALF = sse(*created(), at("output_text.delta", 0, content_index=0, delta="Half"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (HALF, ProviderStreamBroken),
        (replace(HALF, breaks=True), ProviderStreamBroken),
        (replace(HALF, stalls=True), ProviderTimeout),
        (Answer(stalls=True, content_type="text/event-stream"), ProviderTimeout),
        (replace(HALF, body=HALF.body + b"data: {broken\n\n"), ProviderStreamBroken),
        (replace(HALF, body=HALF.body + b"data: [1]\n\n"), ProviderStreamBroken),
        (sse(*created(), done=True), ProviderStreamBroken),
        (Answer(b"<html>"), ProviderStreamBroken),
        (Answer(json.dumps(response("in_progress")).encode()), ProviderStreamBroken),
        (Answer(json.dumps(error("no", "server_error")).encode()), ProviderUnavailable),
    ],
)
async def test_an_answer_that_does_not_end_well_can_be_tried_again(
    http: httpx.AsyncClient, answer: Answer, expected: type[OpenResponsesError]
) -> None:
    with pytest.raises(expected) as caught:
        await heard(http, answer, timeout_seconds=0.2)
    assert caught.value.retryable


async def test_a_server_that_is_not_there_is_unavailable(http: httpx.AsyncClient) -> None:
    async with Wire(stream()) as wire:
        config = wire.provider("openai")
    with pytest.raises(ProviderUnavailable):
        await sampled(OpenAIResponses(config, http, "sk"), call())


async def test_items_without_an_index_are_told_apart_by_their_ids(http: httpx.AsyncClient) -> None:
    """As llama.cpp's server of the Responses API sends them."""
    events = [*created(), *called(0, "{}", call_id="c1"), *called(1, '{"x":', "1}", call_id="c2"), completed()]
    for event in events:
        index = event.pop("output_index", None)
        if index is not None:
            event.setdefault("item_id", f"fc_{index}")
            if "item" in event:
                event["item"] = {**event["item"], "id": f"fc_{index}"}
                del event["item_id"]
            else:
                event["item_id"] = f"fc_{index}"
    deltas = await heard(http, sse(*events, named=True))
    calls: dict[int, str] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            calls[delta.index] = calls.get(delta.index, "") + delta.arguments
    assert sorted(calls.values()) == ['{"x":1}', "{}"]


# --- background


async def test_an_answer_is_kept_nowhere_unless_the_configuration_says_so(http: httpx.AsyncClient) -> None:
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        for resume, expected in ((None, "none"), ("none", "none"), ("prefill", "none"), ("background", "background")):
            provider = OpenAIResponses(wire.provider("openai", resume=resume), http, "sk")
            assert provider.resume_of(call()) == expected


async def test_what_is_to_be_stored_nowhere_is_not_sent_as_a_background_response(http: httpx.AsyncClient) -> None:
    async with Wire(stream(*spoken(0, "hello"))) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        asked = call(store=False)
        assert provider.resume_of(asked) == "none"
        deltas = await sampled(provider, asked)
    assert (wire.requests[0].json.get("background"), wire.requests[0].json["store"]) == (None, False)
    assert not any(isinstance(delta, ResumeToken) for delta in deltas)


async def test_a_background_answer_says_first_by_what_it_can_be_read_again(http: httpx.AsyncClient) -> None:
    queued = {"type": "response.queued", "response": response("queued")}
    answer = sse(*created(), queued, *spoken(0, "Yes."), completed(), named=True)
    async with Wire(answer) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        deltas = await sampled(provider, call(model="gpt-5"))
    body = wire.requests[0].json
    assert (body["background"], body["store"], body["stream"]) == (True, True, True)
    assert deltas == [ResumeToken("resp_up"), TextDelta("Yes."), ItemEnd(), Finish("stop", COUNTED, "gpt-5-2025-08-07")]


async def test_a_background_answer_is_read_again_from_its_beginning(http: httpx.AsyncClient) -> None:
    async with Wire(replace(FULL, cut=97)) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", resume="background"), http, "sk")
        first = await sampled(provider, call())
        again = await sampled(provider, call(resume_token="resp_up"))
    assert again == first
    request = wire.requests[1]
    assert (request.method, request.path, request.body) == ("GET", "/v1/responses/resp_up?stream=true", b"")
    assert request.headers["authorization"] == "Bearer sk"


async def test_the_token_of_an_answer_is_no_path(http: httpx.AsyncClient) -> None:
    async with Wire(FULL, Answer(b"{}")) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        await sampled(provider, call(resume_token="../files?x"))
        await provider.cancel(call(resume_token="../files?x"))
    assert wire.requests[0].path == "/responses/..%2Ffiles%3Fx?stream=true"
    assert wire.requests[1].path == "/responses/..%2Ffiles%3Fx/cancel"


async def test_a_background_answer_is_cancelled_with_the_key_that_it_was_begun_with(http: httpx.AsyncClient) -> None:
    async with Wire(Answer(b"{}")) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", resume="background"), http, "sk")
        await provider.cancel(call(resume_token="resp_up"))
        await provider.cancel(call(resume_token="resp_up", api_key="own"))
    for request, key in zip(wire.requests, ("sk", "own"), strict=True):
        assert (request.method, request.path, request.body) == ("POST", "/v1/responses/resp_up/cancel", b"")
        assert request.headers["authorization"] == f"Bearer {key}"


async def test_a_cancellation_that_is_refused_is_an_error_of_the_tree(http: httpx.AsyncClient) -> None:
    async with Wire(refusal(404, error("Response with id 'resp_up' not found."))) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        with pytest.raises(ProviderRejected):
            await provider.cancel(call(resume_token="resp_up"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, ProviderStreamBroken),
        (400, ProviderStreamBroken),
        (401, ProviderAuthentication),
        (429, ProviderRateLimited),
        (503, ProviderUnavailable),
    ],
)
async def test_an_answer_that_is_gone_is_broken_and_not_a_model_that_is_missing(
    http: httpx.AsyncClient, status: int, expected: type[OpenResponsesError]
) -> None:
    body = error("Response with id 'resp_up' not found.")
    with pytest.raises(expected) as caught:
        await heard(http, refusal(status, body), call(resume_token="resp_up"), resume="background")
    assert type(caught.value) is expected


async def test_a_background_connection_that_drops_is_broken_and_its_token_known(http: httpx.AsyncClient) -> None:
    async with Wire(replace(HALF, breaks=True)) as wire:
        deltas, error = await broken_off(OpenAIResponses(wire.provider("openai", resume="background"), http, "sk"))
    assert type(error) is ProviderStreamBroken
    assert deltas == [ResumeToken("resp_up"), TextDelta("Half")]


async def test_reasoning_that_openai_has_stored_goes_back_without_its_id(http: httpx.AsyncClient) -> None:
    seal = sealed_reasoning.mark("openai", json.dumps({"id": "rs_1", "summary": [], "encrypted_content": "gAA"}))
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": seal}
    items = await written(http, sealed, message(part("Yes.")), resume="background")
    assert items[0] == {"type": "reasoning", "summary": [], "encrypted_content": "gAA"}


# --- the SDK


def test_the_modules_name_does_not_hide_openais_sdk() -> None:
    assert hasattr(openai, "AsyncOpenAI")


def test_every_item_of_an_answer_is_one_that_the_input_takes() -> None:
    output = [message(part("Yes.")), function("{}"), {"type": "web_search_call", "id": "ws_1", "status": "completed"}]
    assert len(INPUT_ITEMS.validate_python(output)) == 3
