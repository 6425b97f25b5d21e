"""The conversation of the `anthropic` adapter, and what stays the same from turn to turn."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import httpx
import pytest

from open_responses.models import sealed_reasoning
from tests.support.anthropic_events import (
    FABLE_5_1,
    OPUS_4_6,
    OPUS_5_5,
    RICH,
    SONNET_4_5,
    SONNET_5_5,
    WEATHER,
    answered,
    asked,
    assistant,
    bare,
    called,
    refused,
    said,
    user,
)
from tests.support.provider_wire import call, output_of, outputs_of

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
