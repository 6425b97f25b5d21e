"""The messages of the `openai-chat` adapter, among them reasoning that goes back to its server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from tests.support.chat_chunks import SCATTERED, asked_of, message, reasoning, turns
from tests.support.provider_wire import CLOCK, WEATHER, call, made_call, output_of

PNG = "data:image/png;base64,iVBORw0KGgo="
PICTURE = {"type": "input_image", "image_url": PNG}


# --- messages


async def test_roles_are_merged_and_a_system_message_in_the_middle_is_the_users() -> None:
    messages = (await asked_of(call(SCATTERED, instructions="s0")))["messages"]
    assert [(one["role"], one["content"]) for one in messages] == [
        ("system", "s0\n\ns1\n\ns2"),
        ("user", "u1\n\nu2!"),
        ("assistant", "a1\n\na2 no"),
        ("user", "<system>\ns3\n</system>\n\nu3"),
    ]


@pytest.mark.parametrize("host", ["openai", "openrouter", "deepseek", "xai"])
async def test_a_system_message_stays_where_the_server_takes_it(host: str) -> None:
    messages = (await asked_of(call(SCATTERED, instructions="s0"), host))["messages"]
    assert [one["role"] for one in messages] == ["system", "user", "assistant", "system", "user"]


async def test_a_turn_with_calls_is_one_message_with_its_outputs_behind_it() -> None:
    items = [
        message("user", "weather?"),
        message("assistant", "I will look."),
        made_call("c1"),
        made_call("c2", "", "get_time"),
        message("assistant", "Wait."),
        message("user", "hurry"),
        output_of("c1", "-3 C"),
        output_of("c2", ""),
        message("assistant", ""),
        message("user", "and?"),
    ]
    messages = (await asked_of(call(items, tools=[WEATHER, CLOCK])))["messages"]
    assert messages == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "I will look.\n\nWait.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}},
                {"id": "c2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "-3 C"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "user", "content": "hurry\n\nand?"},
    ]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{"a":1}', '{"a":1}'),
        ("", "{}"),
        (" ", "{}"),
        ('{"a": "ü', '{"invalid_json": "{\\"a\\": \\"ü"}'),
        ("[1]", '{"invalid_json": "[1]"}'),
    ],
)
async def test_arguments_are_always_an_object(written: str, sent: str) -> None:
    items = [message("user", "a"), made_call("c1", written), output_of("c1", "b")]
    messages = (await asked_of(call(items, tools=[WEATHER])))["messages"]
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == sent
    assert messages[1]["content"] is None


async def test_what_is_not_text_in_an_output_comes_behind_all_outputs() -> None:
    items = [
        message("user", "show"),
        made_call("c1"),
        made_call("c2"),
        output_of("c1", [{"type": "input_text", "text": "a map"}, PICTURE]),
        output_of("c2", [{"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0="}]),
    ]
    messages = (await asked_of(call(items, tools=[WEATHER])))["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[2]["content"] == "a map"
    assert messages[3]["content"] == "The output is in the next user message."
    assert messages[4]["content"] == [
        {"type": "text", "text": "From the output of get_weather (call c1):"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "text", "text": "From the output of get_weather (call c2):"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    ]


SOUND = {"data": "UklGRg==", "format": "wav"}


@pytest.mark.parametrize(
    ("host", "part", "sent"),
    [
        (
            None,
            {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
        ),
        (
            None,
            {**PICTURE, "detail": "original"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
        ),
        (None, {"type": "input_audio", "input_audio": SOUND}, {"type": "input_audio", "input_audio": SOUND}),
        (
            "mistral",
            {"type": "input_audio", "input_audio": SOUND},
            {"type": "input_audio", "input_audio": "UklGRg=="},
        ),
        (None, {"type": "input_file", "file_id": "file-1"}, {"type": "file", "file": {"file_id": "file-1"}}),
        ("mistral", {"type": "input_file", "file_id": "f"}, {"type": "file", "file_id": "f"}),
        (
            None,
            {"type": "input_file", "file_data": "data:text/plain;base64,YQ==", "filename": "a.txt"},
            {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="}},
        ),
        (
            None,
            {"type": "input_file", "file_data": "YQ==", "filename": "a.txt"},
            {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="}},
        ),
        (
            "mistral",
            {"type": "input_file", "file_data": "JVBERi0="},
            {
                "type": "document_url",
                "document_url": "data:application/pdf;base64,JVBERi0=",
                "document_name": "file",
            },
        ),
    ],
)
async def test_images_sound_and_files_are_sent(host: str | None, part: JsonObject, sent: JsonObject) -> None:
    content = [{"type": "input_text", "text": "see"}, part]
    messages = (await asked_of(call([message("user", content)]), host))["messages"]
    assert messages == [{"role": "user", "content": [{"type": "text", "text": "see"}, sent]}]


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([message("user", [{"type": "input_image", "file_id": "f"}])], "input[0].content[0]"),
        ([message("user", [{"type": "input_file", "file_url": "https://a.example/b.pdf"}])], "input[0].content[0]"),
        (
            [made_call("c"), output_of("c", [{"type": "input_video", "video_url": "https://a.example/b.mp4"}])],
            "input[1].output[0]",
        ),
    ],
)
async def test_what_chat_has_no_place_for_is_refused_by_its_place(items: list[JsonObject], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await asked_of(call(items))
    assert (caught.value.param, caught.value.error_code) == (param, "unsupported_content")


async def test_records_of_other_providers_are_left_out_and_other_items_refused() -> None:
    records = [{"type": "web_search_call", "id": "ws"}, {"type": "server_tool_use"}, {"type": "open_responses:note"}]
    assert len((await asked_of(call([*records, message("user", "a")])))["messages"]) == 1
    with pytest.raises(InvalidRequest) as caught:
        await asked_of(call([message("user", "a"), {"type": "computer_call"}]))
    assert (caught.value.param, caught.value.error_code) == ("input[1]", "unsupported_item")


async def test_mistral_gets_ids_and_an_order_that_it_takes() -> None:
    long, short = "call_0123456789abcdef", "abcDEF123"
    items = [
        message("user", "show"),
        made_call(long),
        made_call(short),
        output_of(long, [PICTURE]),
        output_of(short, "b"),
    ]
    messages = (await asked_of(call(items, tools=[WEATHER]), "mistral"))["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    ids = [one["id"] for one in messages[1]["tool_calls"]]
    assert ids == [one["tool_call_id"] for one in messages[2:4]]
    assert ids[1] == short
    assert len(ids[0]) == 9
    assert ids[0].isalnum()
    assert ids[0] in messages[-1]["content"][0]["text"]
    again = (await asked_of(call(items, tools=[WEATHER]), "mistral"))["messages"]
    assert again == messages


# --- reasoning, on the way back


@pytest.mark.parametrize(
    ("host", "seal", "sent"),
    [
        (None, {"field": "reasoning"}, {"reasoning": "hm"}),
        (None, {"field": "reasoning_content"}, {"reasoning_content": "hm"}),
        (None, None, {"reasoning_content": "hm"}),
        ("groq", {"field": "reasoning"}, {"reasoning": "hm"}),
        ("groq", None, {"reasoning": "hm"}),
        ("z.ai", None, {"reasoning_content": "hm"}),
        ("openai", {"field": "reasoning_content"}, {}),
        (
            "openrouter",
            {"details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]},
            {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]},
        ),
        (
            "mistral",
            {"field": "content", "signature": "s"},
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "signature": "s"}]},
        ),
    ],
)
async def test_reasoning_goes_back_under_its_name(host: str | None, seal: Any, sent: JsonObject) -> None:
    messages = (await asked_of(call(turns(reasoning("hm", seal)), tools=[WEATHER]), host))["messages"]
    told = {name: value for name, value in messages[1].items() if "reasoning" in name or (name == "content" and value)}
    assert told == sent
    assert not [one for one in messages if one is not messages[1] and set(one) & set(sent) - {"content"}]


async def test_reasoning_of_another_provider_stays_away() -> None:
    foreign = reasoning("c", None) | {"encrypted_content": "gAAAA"}
    thoughts = [reasoning("a", {"field": "reasoning"}, "elsewhere"), foreign, reasoning("", None)]
    messages = (await asked_of(call(turns(*thoughts), tools=[WEATHER])))["messages"]
    assert not [name for one in messages for name in one if "reasoning" in name]


async def test_deepseek_gets_reasoning_with_every_message() -> None:
    items = [*turns(reasoning("hm")), reasoning("again"), message("assistant", "e"), message("user", "f")]
    messages = (await asked_of(call(items, tools=[WEATHER]), "deepseek"))["messages"]
    told = [one["reasoning_content"] for one in messages if one["role"] == "assistant"]
    assert told == ["hm", "", "again"]


async def test_details_behind_a_call_belong_to_its_turn() -> None:
    signature = {"type": "reasoning.encrypted", "data": "sig", "id": "c1"}
    items = [message("user", "a"), made_call("c1"), reasoning("", {"details": [signature]}), output_of("c1", "b")]
    messages = (await asked_of(call(items, tools=[WEATHER]), "openrouter"))["messages"]
    assert messages[1]["reasoning_details"] == [signature]


@pytest.mark.parametrize("host", [None, "openai", "mistral", "deepseek", "openrouter"])
async def test_the_prefix_of_a_loop_and_of_a_chain_stays_the_same(host: str | None) -> None:
    thought = reasoning("hm", {"field": "reasoning"})
    first = [message("developer", "s"), message("user", "a"), thought, made_call("c1"), output_of("c1", [PICTURE])]
    second = [*first, thought, message("assistant", "wait"), made_call("c2", "{"), output_of("c2", "cold")]
    third = [*second, thought, message("assistant", "done"), message("user", "next")]
    sent = [await asked_of(call(items, tools=[WEATHER, CLOCK]), host) for items in (first, second, third)]
    written = [json.dumps(one["messages"])[:-1] for one in sent]
    assert written[1].startswith(written[0])
    assert written[2].startswith(written[1])
    assert sent[0]["tools"] == sent[2]["tools"]
