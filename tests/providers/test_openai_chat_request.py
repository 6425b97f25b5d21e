"""The request of the `openai-chat` adapter: settings by the names of each server, and answers that go on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.openai_chat import OpenAIChat
from open_responses.config import ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from tests.support.chat_chunks import HOSTS, NAME, asked_of, message, reasoning, turns
from tests.support.provider_wire import CLOCK, WEATHER, call

SCHEMA = {"type": "object", "properties": {"n": {"type": ["integer", "null"], "description": None}}}
AS_SCHEMA = {"format": {"type": "json_schema", "name": "number", "schema": SCHEMA, "strict": True}}


# --- the request


async def test_a_plain_question_is_sent_as_it_is() -> None:
    assert await asked_of(call("hello", model="m")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_settings_are_those_of_the_api() -> None:
    settings = {"temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": -0.2, "seed": 7}
    own = {"top_k": 40, "stop": ["END"], "top_logprobs": 3}
    sent = await asked_of(call(max_output_tokens=99, reasoning={"effort": "high"}, **settings, **own))
    expected = {**settings, **own, "logprobs": True, "max_tokens": 99, "reasoning_effort": "high"}
    assert {name: sent[name] for name in expected} == expected


async def test_logprobs_are_asked_for_by_include() -> None:
    sent = await asked_of(call(include=["message.output_text.logprobs"]))
    assert sent["logprobs"] is True
    assert "top_logprobs" not in sent


@pytest.mark.parametrize("host", ["openai", "azure", "mistral", "deepseek", "groq", "xai"])
async def test_top_k_is_refused_where_there_is_none(host: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await asked_of(call(top_k=40), host)
    assert caught.value.param == "top_k"


async def test_openais_own_settings_go_to_openai_alone() -> None:
    own = {"prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "flex"}
    asked = call(text={"verbosity": "low"}, max_output_tokens=50, **own)
    sent = await asked_of(asked, "openai")
    expected = {**own, "verbosity": "low", "max_completion_tokens": 50}
    assert {name: sent[name] for name in expected} == expected
    assert "max_tokens" not in sent
    elsewhere = await asked_of(asked)
    assert not set(expected) & set(elsewhere)
    assert elsewhere["max_tokens"] == 50
    assert elsewhere["messages"][0] == {"role": "system", "content": "Keep your answer short."}


@pytest.mark.parametrize(
    ("host", "effort", "expected"),
    [
        (None, "high", {"reasoning_effort": "high"}),
        ("openai", "minimal", {"reasoning_effort": "minimal"}),
        ("groq", "minimal", {"reasoning_effort": "low"}),
        ("groq", "max", {"reasoning_effort": "high"}),
        ("groq", "none", {"reasoning_effort": "none"}),
        ("deepseek", "max", {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ("deepseek", "none", {"thinking": {"type": "disabled"}}),
        ("z.ai", "low", {"thinking": {"type": "enabled"}}),
        ("z.ai", "none", {"thinking": {"type": "disabled"}}),
        ("openrouter", "medium", {"reasoning": {"effort": "medium"}}),
        ("openrouter", "max", {"reasoning": {"effort": "xhigh"}}),
    ],
)
async def test_effort_is_said_in_the_servers_words(host: str | None, effort: str, expected: JsonObject) -> None:
    sent = await asked_of(call(reasoning={"effort": effort}), host)
    assert {name: sent[name] for name in ("reasoning_effort", "thinking", "reasoning") if name in sent} == expected


async def test_mistral_has_its_own_names() -> None:
    sent = await asked_of(call(seed=3, tools=[CLOCK], tool_choice="required", parallel_tool_calls=False), "mistral")
    assert sent["random_seed"] == 3
    assert sent["tool_choice"] == "any"
    assert sent["parallel_tool_calls"] is False
    assert not {"seed", "stream_options"} & set(sent)


@pytest.mark.parametrize("host", [None, "openai", "mistral"])
async def test_a_schema_is_sent_as_it_is(host: str | None) -> None:
    sent = await asked_of(call(text=AS_SCHEMA), host)
    schema = {"name": "number", "schema": SCHEMA, "strict": True}
    assert sent["response_format"] == {"type": "json_schema", "json_schema": schema}


@pytest.mark.parametrize("host", ["deepseek", "z.ai"])
async def test_a_schema_is_said_in_words_where_there_is_only_json(host: str) -> None:
    sent = await asked_of(call(text=AS_SCHEMA, instructions="Be kind."), host)
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["messages"][0]["content"].startswith("Be kind.\n\n")
    assert json.dumps(SCHEMA) in sent["messages"][0]["content"]


async def test_json_without_a_schema_is_json_object() -> None:
    assert (await asked_of(call(text={"format": {"type": "json_object"}})))["response_format"] == {
        "type": "json_object"
    }
    assert "response_format" not in await asked_of(call(text={"format": {"type": "text"}}))


async def test_tools_have_a_schema_even_without_parameters() -> None:
    strict = {**WEATHER, "name": "strict", "strict": True}
    bare = {**CLOCK, "name": "bare", "parameters": {"type": "object"}}
    sent = await asked_of(call(tools=[WEATHER, CLOCK, strict, bare]))
    functions = [tool["function"] for tool in sent["tools"]]
    nothing = {"type": "object", "properties": {}}
    assert functions[0] == {name: WEATHER[name] for name in ("name", "description", "parameters")}
    assert functions[1] == {"name": "get_time", "parameters": nothing}
    assert functions[2]["strict"] is True
    assert functions[3]["parameters"] == nothing


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "get_time"}, {"type": "function", "function": {"name": "get_time"}}),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]},
            "required",
        ),
        ({"type": "allowed_tools", "tools": [{"type": "function", "name": "get_time"}]}, "auto"),
    ],
)
async def test_every_tool_choice_is_sent(choice: Any, expected: Any) -> None:
    assert (await asked_of(call(tools=[WEATHER, CLOCK], tool_choice=choice)))["tool_choice"] == expected


async def test_without_tools_nothing_about_them_is_sent() -> None:
    sent = await asked_of(call(parallel_tool_calls=True, tool_choice="auto"))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(sent)


# --- going on after a crash


async def test_an_unfinished_answer_is_the_last_message() -> None:
    plain = await asked_of(call("tell", prefix="Once "))
    assert plain["messages"][-1] == {"role": "assistant", "content": "Once "}
    assert "continue_final_message" not in plain
    vllm = await asked_of(call("tell", prefix="Once "), resume="continue_final_message")
    assert (vllm["continue_final_message"], vllm["add_generation_prompt"]) == (True, False)
    mistral = await asked_of(call("tell", prefix="Once "), "mistral", resume="prefill")
    assert mistral["messages"][-1]["prefix"] is True


async def test_an_unfinished_answer_joins_what_was_said_before_it() -> None:
    messages = (await asked_of(call([message("user", "a"), message("assistant", "b")], prefix="c")))["messages"]
    assert messages[1:] == [{"role": "assistant", "content": "b\n\nc"}]


PLAIN = call("tell")


@pytest.mark.parametrize(
    ("asked", "base_url", "configured", "expected"),
    [
        (PLAIN, "http://localhost:8080/v1", None, "prefill"),
        (PLAIN, "http://localhost:8000/v1", "continue_final_message", "continue_final_message"),
        (PLAIN, "http://localhost:8000/v1", "none", "none"),
        (PLAIN, HOSTS["groq"], None, "prefill"),
        (PLAIN, HOSTS["openai"], None, "none"),
        (PLAIN, HOSTS["mistral"], None, "none"),
        (call("tell", text=AS_SCHEMA), "http://localhost:8080/v1", "prefill", "none"),
        (call([message("user", "a"), reasoning("hm")]), "http://localhost:8080/v1", "prefill", "none"),
        (call(turns(reasoning("hm"))), "http://localhost:8080/v1", None, "prefill"),
        (call(turns(reasoning("hm"))[:-2]), "http://localhost:8080/v1", None, "none"),
    ],
)
async def test_an_answer_is_continued_where_that_is_safe(
    http: httpx.AsyncClient, asked: SampleCall, base_url: str, configured: Any, expected: str
) -> None:
    config = ProviderConfig(name=NAME, adapter=NAME, base_url=base_url, resume=configured)
    assert OpenAIChat(config, http, None).resume_of(asked) == expected
