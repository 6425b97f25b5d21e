"""The input items of the `openai` adapter, among them reasoning that comes back in the next turn."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from activities.providers.openai import OpenAIResponses
from open_responses.deltas import ReasoningSeal
from open_responses.errors import InvalidRequest
from open_responses.models import sealed_reasoning
from tests.support.openai_events import (
    called,
    done,
    function,
    heard,
    message,
    part,
    reasoned,
    spoken,
    stream,
    tool,
    written,
)
from tests.support.provider_wire import Wire, call, sampled

PNG = "data:image/png;base64,iVBORw0KGgo="


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
