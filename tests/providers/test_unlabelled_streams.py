"""Streams whose pieces lack a label: what a piece belongs to is found out, and nothing vanishes or merges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from open_responses.deltas import Delta, ReasoningSummaryDelta, ToolCallDelta
from open_responses.testing.delta_checks import check_stream
from tests.support.provider_wire import Answer, call, finish_of, outputs_of, text_of
from tests.support.vendor_streams import (
    TEXT,
    VENDORS,
    anthropic_block,
    anthropic_end,
    anthropic_start,
    chat_chunk,
    gemini_chunk,
    ollama_line,
    openai_end,
    openai_text,
    read,
    stream_of,
)

Json = dict[str, Any]
STOP = {
    "openai": openai_end(),
    "openai-chat": chat_chunk(finish="stop"),
    "anthropic": anthropic_end(),
    "gemini": gemini_chunk(finish="STOP"),
    "ollama": ollama_line(done=True),
}


def calls_in(deltas: Sequence[Delta]) -> list[tuple[str, str]]:
    """(name, arguments) of each call that a client gets."""
    check_stream(deltas)
    return [(item["name"], item["arguments"]) for item in outputs_of(deltas) if item["type"] == "function_call"]


def tool(name: str) -> Json:
    return {"type": "function", "name": name}


# --- frames


@pytest.mark.parametrize("cut", [None, 1])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_byte_order_mark_takes_nothing_away(http: httpx.AsyncClient, vendor: str, cut: int | None) -> None:
    answer = stream_of(vendor, *TEXT[vendor], STOP[vendor])
    deltas = await read(http, vendor, replace(answer, body=b"\xef\xbb\xbf" + answer.body, cut=cut))
    assert text_of(deltas) == "Hello"


@pytest.mark.parametrize("vendor", ["openai", "openai-chat", "anthropic", "gemini"])
async def test_events_without_empty_lines_between_are_events(http: httpx.AsyncClient, vendor: str) -> None:
    answer = stream_of(vendor, *TEXT[vendor], STOP[vendor], done=vendor != "gemini")
    deltas = await read(http, vendor, replace(answer, body=answer.body.replace(b"\n\n", b"\n")))
    assert text_of(deltas) == "Hello"


async def test_a_whole_answer_may_have_a_byte_order_mark(http: httpx.AsyncClient) -> None:
    whole = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    deltas = await read(http, "openai-chat", Answer(b"\xef\xbb\xbf" + json.dumps(whole).encode()))
    assert text_of(deltas) == "Hello"


# --- Anthropic's blocks

SAID = {"type": "text", "text": ""}
THOUGHT = {"type": "thinking", "thinking": "", "signature": ""}


def said(text: str) -> Json:
    return {"type": "text_delta", "text": text}


def called(name: str, **more: Any) -> Json:
    return {"type": "tool_use", "id": f"id_{name}", "name": name, "input": {}, **more}


def arguments(text: str) -> Json:
    return {"type": "input_json_delta", "partial_json": text}


async def of_anthropic(http: httpx.AsyncClient, *events: Json) -> list[Delta]:
    return await read(http, "anthropic", stream_of("anthropic", anthropic_start(), *events, anthropic_end()))


@pytest.mark.parametrize("stop", [True, False], ids=["stopped", "not stopped"])
@pytest.mark.parametrize("index", [None, 0], ids=["no index", "one index"])
async def test_anthropic_blocks_are_told_apart_by_their_starts(
    http: httpx.AsyncClient, index: int | None, stop: bool
) -> None:
    blocks = [
        *anthropic_block(THOUGHT, {"type": "thinking_delta", "thinking": "Hm."}, index=index, stop=stop),
        *anthropic_block(SAID, said("Hello"), index=index, stop=stop),
        *anthropic_block(called("one"), arguments('{"a"'), arguments(": 1}"), index=index, stop=stop),
        *anthropic_block(called("two"), arguments('{"b": 2}'), index=index, stop=stop),
        *anthropic_block(called("three", input={"c": 3}), index=index, stop=stop),
    ]
    deltas = await of_anthropic(http, *blocks)
    assert calls_in(deltas) == [("one", '{"a": 1}'), ("two", '{"b": 2}'), ("three", '{"c": 3}')]
    assert text_of(deltas) == "Hello"
    assert [item["type"] for item in outputs_of(deltas)[:2]] == ["reasoning", "message"]


async def test_an_anthropic_text_without_its_blocks_start_is_text(http: httpx.AsyncClient) -> None:
    events = [{"type": "content_block_delta", "index": 0, "delta": said(text)} for text in ("Hel", "lo")]
    assert text_of(await of_anthropic(http, *events)) == "Hello"


async def test_anthropic_thoughts_without_their_start_do_not_become_text(http: httpx.AsyncClient) -> None:
    events = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
        {"type": "content_block_delta", "index": 0, "delta": said("Hello")},
    ]
    assert [item["type"] for item in outputs_of(await of_anthropic(http, *events))] == ["reasoning", "message"]


async def test_interleaved_anthropic_calls_are_told_apart_by_their_index(http: httpx.AsyncClient) -> None:
    one, two = anthropic_block(called("one"), index=0), anthropic_block(called("two"), index=1)
    more = [
        {"type": "content_block_delta", "index": index, "delta": arguments(text)}
        for index, text in [(0, '{"a":'), (1, '{"b":'), (0, "1}"), (1, "2}")]
    ]
    deltas = await of_anthropic(http, one[0], two[0], *more, one[-1], two[-1])
    assert calls_in(deltas) == [("one", '{"a":1}'), ("two", '{"b":2}')]


# --- chat


async def of_chat(http: httpx.AsyncClient, *chunks: Json, tools: Sequence[str] = ()) -> list[Delta]:
    answer = stream_of("openai-chat", *chunks, done=True)
    return await read(http, "openai-chat", answer, call(tools=[tool(name) for name in tools]))


def message_chunk(content: str | None, finish: str | None = None, **more: Any) -> Json:
    return {"choices": [{"index": 0, "message": {"content": content, **more}, "finish_reason": finish}]}


@pytest.mark.parametrize(
    "chunks",
    [
        [message_chunk("Ha"), message_chunk("Ha"), message_chunk("!", "stop")],
        [message_chunk("Ha"), message_chunk("HaHa"), message_chunk("HaHa!"), message_chunk("HaHa!", "stop")],
        [message_chunk("HaHa!", "stop")],
        [chat_chunk({"content": "HaHa"}), chat_chunk({"content": "!"}), message_chunk("HaHa!", "stop")],
        [chat_chunk({"content": "HaHa"}), message_chunk("HaHa!", "stop")],
    ],
    ids=["pieces", "all so far", "whole", "repeated at the end", "the rest at the end"],
)
async def test_a_message_in_place_of_a_delta_is_read_once(http: httpx.AsyncClient, chunks: list[Json]) -> None:
    assert text_of(await of_chat(http, *chunks)) == "HaHa!"


async def test_calls_that_a_message_repeats_are_made_once(http: httpx.AsyncClient) -> None:
    calls = [{"id": "c1", "function": {"name": "one", "arguments": "{}"}}]
    deltas = await of_chat(
        http,
        chat_chunk({"tool_calls": [{"index": 0, **calls[0]}]}),
        message_chunk(None, "tool_calls", tool_calls=[*calls, {"id": "c2", "function": {"name": "two"}}]),
    )
    assert [name for name, _ in calls_in(deltas)] == ["one", "two"]


def piece(name: str | None = None, text: str | None = None, **more: Any) -> Json:
    function = {key: value for key, value in (("name", name), ("arguments", text)) if value is not None}
    return chat_chunk({"tool_calls": [{"index": 0, "function": function, **more}]})


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("get_", id="c"), piece("wea"), piece("ther"), piece(text="{}")],
        [piece("get_", id="c"), piece("weather", "{}")],
        [piece("get_", "", id="c"), piece("weather", "", id="c"), piece("", "{}")],
        [piece("get_", id="c"), piece("get_weather", "{}")],
        [piece(id="c", text="{"), piece(text="}"), piece("get_weather")],
        [piece("get_weather", id="c"), piece("get_weather", "{"), piece("get_weather", "}")],
    ],
    ids=["fragments", "with arguments", "with empty texts", "growing", "behind the arguments", "repeated"],
)
@pytest.mark.parametrize("has_index", [True, False])
async def test_a_name_in_fragments_is_one_name(http: httpx.AsyncClient, pieces: list[Json], has_index: bool) -> None:
    chunks = json.loads(json.dumps(pieces))
    for chunk in chunks:
        if not has_index:
            del chunk["choices"][0]["delta"]["tool_calls"][0]["index"]
    deltas = await of_chat(http, *chunks, chat_chunk(finish="tool_calls"), tools=["get_weather", "get_time"])
    assert calls_in(deltas) == [("get_weather", "{}")]


@pytest.mark.parametrize(
    "pieces", [[piece("get", id="c"), piece(text="{}")], [piece("get", "{}", id="c")], [piece("get", id="c")]]
)
async def test_a_name_that_begins_another_is_a_name(http: httpx.AsyncClient, pieces: list[Json]) -> None:
    deltas = await of_chat(http, *pieces, chat_chunk(finish="tool_calls"), tools=["get", "get_weather"])
    assert [name for name, _ in calls_in(deltas)] == ["get"]


async def test_calls_keep_their_order_where_a_name_waits(http: httpx.AsyncClient) -> None:
    calls = [
        {"index": index, "id": f"c{index}", "function": {"name": name}} for index, name in enumerate(["get", "other"])
    ]
    deltas = await of_chat(
        http, chat_chunk({"tool_calls": calls}), chat_chunk(finish="tool_calls"), tools=["get", "get_weather", "other"]
    )
    assert [name for name, _ in calls_in(deltas)] == ["get", "other"]


@pytest.mark.parametrize("empty", [{}, {"index": 0}, {"index": 0, "function": {"arguments": ""}}, None])
async def test_a_call_of_nothing_is_no_call(http: httpx.AsyncClient, empty: Any) -> None:
    deltas = await of_chat(http, chat_chunk({"content": "Hello", "tool_calls": [empty]}), chat_chunk(finish="stop"))
    assert (text_of(deltas), finish_of(deltas).reason) == ("Hello", "stop")
    assert not [delta for delta in deltas if isinstance(delta, ToolCallDelta)]


async def test_reasoning_among_the_parts_of_the_content_is_reasoning(http: httpx.AsyncClient) -> None:
    parts = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "text", "text": "Hi"},
    ]
    deltas = await of_chat(http, chat_chunk({"content": parts[:1]}), chat_chunk({"content": parts[1:]}, "stop"))
    assert [item["type"] for item in outputs_of(deltas)] == ["reasoning", "message"]
    assert [delta.text for delta in deltas if isinstance(delta, ReasoningSummaryDelta)] == ["Hm."]


# --- the Responses API


def of_call(kind: str, index: int | None = 0, **more: Any) -> Json:
    at = {} if index is None else {"output_index": index}
    return {"type": f"response.function_call_arguments.{kind}", "item_id": "fc_1", **at, **more}


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get_weather", "arguments": '{"a":1}'}
PIECES = [of_call("delta", delta='{"a"'), of_call("delta", delta=":1}")]


async def of_openai(http: httpx.AsyncClient, *events: Json) -> list[Delta]:
    return await read(http, "openai", stream_of("openai", *events))


@pytest.mark.parametrize(
    "events",
    [
        [*PIECES, of_call("done", name="get_weather", call_id="c1", arguments='{"a":1}'), openai_end()],
        [*PIECES, of_call("done", arguments='{"a":1}'), openai_end("response.completed", CALL)],
        [*PIECES, openai_end("response.completed", CALL)],
        [*PIECES, openai_end("response.completed", {"type": "reasoning", "summary": []}, CALL)],
        [*PIECES, {"type": "response.output_item.done", "output_index": 0, "item": CALL}, openai_end()],
        [openai_end("response.completed", CALL)],
        [*[{**event, "item_id": None} for event in PIECES], openai_end("response.completed", CALL)],
    ],
    ids=["done", "done without a name", "end", "end, another place", "item's end", "end alone", "without an id"],
)
async def test_a_call_without_its_items_start_has_its_name(http: httpx.AsyncClient, events: list[Json]) -> None:
    deltas = await of_openai(http, *events)
    assert calls_in(deltas) == [("get_weather", '{"a":1}')]
    assert finish_of(deltas).reason == "tool_calls"


async def test_a_custom_call_without_its_items_start_has_its_name(http: httpx.AsyncClient) -> None:
    custom = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c1", "name": "run", "input": "ls -l"}
    pieces = [
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": text} for text in ("ls", " -l")
    ]
    calls = [
        delta
        for delta in await of_openai(http, *pieces, openai_end("response.completed", custom))
        if isinstance(delta, ToolCallDelta)
    ]
    assert [(call.name, call.arguments, call.is_custom) for call in calls] == [("run", "ls -l", True)]


async def test_items_that_the_end_alone_has_are_read(http: httpx.AsyncClient) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hello there"}]}
    deltas = await of_openai(http, openai_text(), openai_end("response.completed", message, CALL))
    assert (text_of(deltas), calls_in(deltas)) == ("Hello there", [("get_weather", '{"a":1}')])


async def test_items_that_were_streamed_are_not_read_again(http: httpx.AsyncClient) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    deltas = await of_openai(
        http,
        {"type": "response.output_item.done", "output_index": 0, "item": search},
        {**openai_text(), "output_index": 1},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        {"type": "response.output_item.done", "output_index": 2, "item": CALL},
        openai_end("response.completed", search, message, {**CALL, "id": "another"}),
    )
    assert [item["type"] for item in outputs_of(deltas)] == ["web_search_call", "message", "function_call"]
    assert text_of(deltas) == "Hello"
