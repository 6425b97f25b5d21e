"""The request of the `ollama` adapter: settings, messages and tools, and answers that go on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.ollama import Ollama
from open_responses.config import ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.errors import InvalidRequest
from open_responses.models import sealed_reasoning
from tests.support.ollama_lines import done, ndjson, said
from tests.support.provider_wire import CLOCK, WEATHER, Wire, call, made_call, output_of, sampled

PNG = "iVBORw0KGgo="
PICTURE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}

OK = ndjson(said("ok"), done())


async def asked_of(http: httpx.AsyncClient, asked: SampleCall, **settings: Any) -> dict[str, Any]:
    """The request that the call becomes."""
    async with Wire(OK) as wire:
        await sampled(Ollama(wire.provider("ollama", **settings), http, None), asked)
        assert wire.requests[0].path == "/api/chat"
        return wire.requests[0].json


def user(content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": content}


def assistant(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def reasoning(text: str, sealed: str | None = None) -> dict[str, Any]:
    return {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
        "encrypted_content": sealed,
    }


# --- the request


async def test_a_plain_question_is_sent_as_it_is(http: httpx.AsyncClient) -> None:
    assert await asked_of(http, call("hello", model="qwen3")) == {
        "model": "qwen3",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "truncate": False,
        "shift": False,
    }


async def test_a_request_that_may_be_truncated_leaves_that_to_ollama(http: httpx.AsyncClient) -> None:
    sent = await asked_of(http, call(truncation="auto"))
    assert "truncate" not in sent
    assert "shift" not in sent


async def test_settings_become_options(http: httpx.AsyncClient) -> None:
    settings = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "seed": 7, "stop": ["END"]}
    penalties = {"presence_penalty": 0.1, "frequency_penalty": -0.2}
    sent = await asked_of(http, call(max_output_tokens=99, **settings, **penalties))
    assert sent["options"] == {"num_predict": 99, **settings, **penalties}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
    ],
)
async def test_logprobs_are_asked_for(
    http: httpx.AsyncClient, request_: dict[str, Any], expected: dict[str, Any]
) -> None:
    sent = await asked_of(http, call(**request_))
    assert {name: sent[name] for name in ("logprobs", "top_logprobs") if name in sent} == expected


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("max", "high")],
)
async def test_effort_becomes_think(http: httpx.AsyncClient, effort: str, think: Any) -> None:
    assert (await asked_of(http, call(reasoning={"effort": effort})))["think"] == think


async def test_a_schema_is_the_format(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    wanted = {"format": {"type": "json_schema", "name": "n", "schema": schema}}
    assert (await asked_of(http, call(text=wanted)))["format"] == schema
    assert (await asked_of(http, call(text={"format": {"type": "json_object"}})))["format"] == "json"
    assert "format" not in await asked_of(http, call(text={"format": {"type": "text"}}))


async def test_beside_tools_a_schema_is_said_in_words(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    wanted = {"format": {"type": "json_schema", "name": "n", "schema": schema}, "verbosity": "low"}
    sent = await asked_of(http, call(text=wanted, tools=[CLOCK], instructions="Be kind."))
    assert "format" not in sent
    system = sent["messages"][0]
    assert system["role"] == "system"
    assert system["content"].startswith("Be kind.\n\n")
    assert json.dumps(schema) in system["content"]
    assert "short" in system["content"]


async def test_tools_have_a_schema_even_without_parameters(http: httpx.AsyncClient) -> None:
    sent = await asked_of(http, call(tools=[WEATHER, CLOCK]))
    weather, clock = (tool["function"] for tool in sent["tools"])
    assert weather["parameters"] == WEATHER["parameters"]
    assert weather["description"] == WEATHER["description"]
    assert clock == {"name": "get_time", "description": "", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("choice", "order"),
    [
        ("auto", None),
        ("required", "Call one of the tools now."),
        ({"type": "function", "name": "get_time"}, "Call the tool get_time now."),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]},
            "Call one of the tools now.",
        ),
        ({"type": "allowed_tools", "tools": [{"type": "function", "name": "get_time"}]}, None),
    ],
)
async def test_a_tool_choice_is_said_in_words(http: httpx.AsyncClient, choice: Any, order: str | None) -> None:
    sent = await asked_of(http, call("hi", tools=[WEATHER, CLOCK], tool_choice=choice))
    assert len(sent["tools"]) == 2
    assert sent["messages"][1:] == ([{"role": "system", "content": order}] if order else [])


async def test_where_no_tool_may_be_called_none_is_offered(http: httpx.AsyncClient) -> None:
    assert "tools" not in await asked_of(http, call(tools=[CLOCK], tool_choice="none"))


async def test_a_turn_with_tools_goes_back_with_its_thinking(http: httpx.AsyncClient) -> None:
    sealed = sealed_reasoning.mark("ollama", '{"field": "thinking"}')
    items = [
        user("weather?"),
        reasoning("I need a tool.", sealed),
        made_call("c1"),
        made_call("c2", "", "get_time"),
        output_of("c1", "-3 C"),
        output_of("c2", [{"type": "input_text", "text": "noon"}]),
    ]
    sent = await asked_of(http, call(items, tools=[WEATHER, CLOCK]))
    assert sent["messages"] == [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "I need a tool.",
            "tool_calls": [
                {"id": "c1", "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Oslo"}}},
                {"id": "c2", "function": {"index": 1, "name": "get_time", "arguments": {}}},
            ],
        },
        {"role": "tool", "tool_name": "get_weather", "tool_call_id": "c1", "content": "-3 C"},
        {"role": "tool", "tool_name": "get_time", "tool_call_id": "c2", "content": "noon"},
    ]


async def test_reasoning_that_nobody_sealed_is_sent_and_anothers_is_not(http: httpx.AsyncClient) -> None:
    theirs = sealed_reasoning.mark("anthropic", "signature")
    items = [user("a"), reasoning("plain"), assistant("b"), user("c"), reasoning("secret", theirs), assistant("d")]
    messages = (await asked_of(http, call([*items, user("e")])))["messages"]
    assert [message.get("thinking") for message in messages] == [None, "plain", None, None, None]


async def test_broken_arguments_keep_their_text(http: httpx.AsyncClient) -> None:
    items = [user("a"), made_call("c1", '{"city": "Os'), output_of("c1", "no such city")]
    sent = await asked_of(http, call(items, tools=[WEATHER]))
    (asked,) = sent["messages"][1]["tool_calls"]
    assert asked["function"]["arguments"] == {"invalid_json": '{"city": "Os'}


async def test_images_are_base64_without_their_prefix(http: httpx.AsyncClient) -> None:
    content = [{"type": "input_text", "text": "what is"}, PICTURE, {"type": "input_text", "text": " this"}]
    sent = await asked_of(http, call([user(content)]))
    assert sent["messages"] == [{"role": "user", "content": "what is this", "images": [PNG]}]


async def test_images_of_an_output_come_behind_all_outputs(http: httpx.AsyncClient) -> None:
    items = [
        user("show"),
        made_call("c1"),
        made_call("c2"),
        output_of("c1", [PICTURE]),
        output_of("c2", "nothing"),
        user([{"type": "input_text", "text": "and?"}, PICTURE]),
    ]
    messages = (await asked_of(http, call(items, tools=[WEATHER])))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[-1] == {
        "role": "user",
        "content": "From the output of get_weather (call c1):\n\nand?",
        "images": [PNG, PNG],
    }


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "file_data": "JVBERi0="},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    ],
)
async def test_what_ollama_cannot_take_is_refused_by_its_place(http: httpx.AsyncClient, part: dict[str, Any]) -> None:
    async with Wire(OK) as wire:
        with pytest.raises(InvalidRequest) as caught:
            await sampled(Ollama(wire.provider("ollama"), http, None), call([user("a"), user([part])]))
        assert wire.requests == []
    assert caught.value.param == "input[1].content[0]"
    assert caught.value.error_code == "unsupported_content"


async def test_records_of_other_providers_are_left_out_and_other_items_refused(http: httpx.AsyncClient) -> None:
    record = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    extension = {"type": "open_responses:note", "id": "n"}
    sent = await asked_of(http, call([record, extension, user("a")]))
    assert len(sent["messages"]) == 1
    with pytest.raises(InvalidRequest) as caught:
        await asked_of(http, call([user("a"), {"type": "computer_call", "id": "cc_1"}]))
    assert (caught.value.param, caught.value.error_code) == ("input[1]", "unsupported_item")


async def test_roles_are_merged_and_system_messages_keep_their_place(http: httpx.AsyncClient) -> None:
    items = [
        {"type": "message", "role": "system", "content": "s1"},
        {"type": "message", "role": "developer", "content": "s2"},
        user("u1"),
        user("u2"),
        assistant("a1"),
        assistant("a2"),
        {"type": "message", "role": "developer", "content": "s3"},
        user("u3"),
    ]
    messages = (await asked_of(http, call(items, instructions="s0")))["messages"]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("system", "s0\n\ns1\n\ns2"),
        ("user", "u1\n\nu2"),
        ("assistant", "a1\n\na2"),
        ("system", "s3"),
        ("user", "u3"),
    ]


async def test_the_prefix_of_a_loop_stays_the_same(http: httpx.AsyncClient) -> None:
    first = [user("weather?"), reasoning("hm"), made_call("c1"), output_of("c1", [PICTURE])]
    second = [*first, reasoning("again"), assistant("wait"), made_call("c2"), output_of("c2", "cold")]
    sent = [await asked_of(http, call(items, tools=[WEATHER], instructions="Be kind.")) for items in (first, second)]
    written = [json.dumps(one["messages"])[:-1] for one in sent]
    assert written[1].startswith(written[0])
    assert sent[0]["tools"] == sent[1]["tools"]


async def test_a_key_is_a_bearer_and_the_requests_own_goes_first(http: httpx.AsyncClient) -> None:
    async with Wire(OK) as wire:
        adapter = Ollama(wire.provider("ollama"), http, "configured")
        await sampled(adapter, call())
        await sampled(adapter, call(api_key="own"))
        await sampled(Ollama(wire.provider("ollama"), http, None), call())
    given = [request.headers.get("authorization") for request in wire.requests]
    assert given == ["Bearer configured", "Bearer own", None]


# --- going on after a crash


async def test_an_unfinished_answer_is_the_last_message(http: httpx.AsyncClient) -> None:
    asked = call("tell", tools=[CLOCK], tool_choice="required", prefix="Once upon ")
    messages = (await asked_of(http, asked))["messages"]
    assert messages[-1] == {"role": "assistant", "content": "Once upon "}
    assert [message["role"] for message in messages] == ["user", "system", "assistant"]


@pytest.mark.parametrize(
    ("asked", "resume"),
    [
        (call("tell"), "prefill"),
        (call("tell", tools=[CLOCK]), "prefill"),
        (call([user("a"), reasoning("earlier"), assistant("b"), user("c")]), "prefill"),
        (call([user("a"), reasoning("hm")]), "none"),
        (call([user("a"), reasoning("hm"), made_call("c"), output_of("c", "b")]), "none"),
        (call("tell", text={"format": {"type": "json_object"}}), "none"),
    ],
)
async def test_only_plain_answers_are_continued(http: httpx.AsyncClient, asked: SampleCall, resume: str) -> None:
    config = ProviderConfig(name="o", adapter="ollama", base_url="http://localhost:11434")
    assert Ollama(config, http, None).resume_of(asked) == resume
    never = config.model_copy(update={"resume": "none"})
    assert Ollama(never, http, None).resume_of(asked) == "none"
