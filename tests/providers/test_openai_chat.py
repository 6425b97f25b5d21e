"""The `openai-chat` adapter on the wire formats of the servers that speak it.

Shapes: OpenAI's API reference; groq's SDK 1.7 and mistralai's 3.7; api-docs.deepseek.com; openrouter.ai/docs; bodies of
errors as they are quoted in issues of vllm-project/vllm, ggml-org/llama.cpp and openai/openai-agents-python. The words
are ours.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from activities.providers.openai_chat import OpenAIChat
from activities.providers.shared.http import open_http_client
from dev import services
from open_responses.config import ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
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
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from tests.support.provider_wire import (
    CLOCK,
    WEATHER,
    Answer,
    Wire,
    call,
    failure_of,
    finish_of,
    made_call,
    output_of,
    refusal,
    sampled,
    sse,
    text_of,
)

NAME = "openai-chat"
HOSTS = {
    "openai": "https://api.openai.com/v1",
    "azure": "https://me.openai.azure.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com",
    "z.ai": "https://api.z.ai/api/paas/v4",
    "groq": "https://api.groq.com/openai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "xai": "https://api.x.ai/v1",
    "together": "https://api.together.xyz/v1",
}
PNG = "data:image/png;base64,iVBORw0KGgo="
PICTURE = {"type": "input_image", "image_url": PNG}
SCHEMA = {"type": "object", "properties": {"n": {"type": ["integer", "null"], "description": None}}}
AS_SCHEMA = {"format": {"type": "json_schema", "name": "number", "schema": SCHEMA, "strict": True}}


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_client() as client:
        yield client


class ToWire(httpx.AsyncHTTPTransport):
    """Leads every host to the wire: a dialect goes by the host's name."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


def chunk(delta: JsonObject | None = None, finish: str | None = None, **more: Any) -> JsonObject:
    choice: JsonObject = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1764000000, "model": "model-1"}
    return {**head, "choices": [choice], **more}


def text(content: Any) -> JsonObject:
    return chunk({"content": content})


def tools(*pieces: JsonObject) -> JsonObject:
    return chunk({"tool_calls": list(pieces)})


def piece(arguments: Any = None, name: str | None = None, **more: Any) -> JsonObject:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"type": "function", "function": function, **more}


USED = chunk(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})
END = (chunk(finish="stop"), USED)
OK = sse(text("ok"), *END, done=True)


async def asked_of(asked: SampleCall, host: str | None = None, **settings: Any) -> JsonObject:
    """The request that the call becomes, for a server of that name, or for any."""
    async with Wire(OK) as wire:
        config = wire.provider(NAME, path="/v1", **settings)
        if host is not None:
            config = config.model_copy(update={"base_url": HOSTS[host]})
        async with httpx.AsyncClient(transport=ToWire(wire.port)) as http:
            await sampled(OpenAIChat(config, http, None), asked)
        assert wire.requests[0].path.endswith("/chat/completions")
        return wire.requests[0].json


async def answered(http: httpx.AsyncClient, *chunks: JsonObject, done: bool = True) -> list[Delta]:
    async with Wire(sse(*chunks, done=done)) as wire:
        return await sampled(OpenAIChat(wire.provider(NAME), http, None), call())


async def failed(http: httpx.AsyncClient, answer: Answer, **request: Any) -> OpenResponsesError:
    async with Wire(answer) as wire:
        config = wire.provider(NAME, timeout_seconds=0.2, api_key_env="THE_KEY")
        return await failure_of(OpenAIChat(config, http, "hush-hush"), call(**request))


def calls_of(deltas: list[Delta]) -> list[tuple[str | None, str | None, str]]:
    """(id, name, arguments) of each call."""
    found: dict[int, tuple[str | None, str | None, str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            call_id, name, arguments = found.get(delta.index, (None, None, ""))
            assert not (name and delta.name)
            found[delta.index] = (call_id or delta.call_id, name or delta.name, arguments + delta.arguments)
    return list(found.values())


def seal_of(deltas: list[Delta]) -> list[Any]:
    contents = [sealed_reasoning.content_for(NAME, delta.data) for delta in deltas if isinstance(delta, ReasoningSeal)]
    return [json.loads(content or "null") for content in contents]


def message(role: str, content: Any) -> JsonObject:
    return {"type": "message", "role": role, "content": content}


def reasoning(said: str, seal: Any = None, provider: str = NAME) -> JsonObject:
    sealed = None if seal is None else sealed_reasoning.mark(provider, json.dumps(seal))
    content = [{"type": "reasoning_text", "text": said}] if said else []
    return {"type": "reasoning", "summary": [], "content": content, "encrypted_content": sealed}


# --- the answer


async def test_a_stream_cut_at_every_byte_is_the_same(http: httpx.AsyncClient) -> None:
    chunks = [chunk({"reasoning": "Hm 🙂"}), text("Grüße "), tools(piece('{"ä"', "f", index=0)), tools(piece(': "ü"}'))]
    whole = sse(*chunks, *END, done=True)
    async with Wire(whole, Answer(whole.body, content_type=whole.content_type, cut=1)) as wire:
        adapter = OpenAIChat(wire.provider(NAME), http, None)
        assert await sampled(adapter, call()) == await sampled(adapter, call())


async def test_comments_crlf_and_unknown_members_are_ignored(http: httpx.AsyncClient) -> None:
    lines = [": OPENROUTER PROCESSING", "", f"data: {json.dumps(text('a') | {'obfuscation': 'x'})}", "", ": again", ""]
    lines += ["event: ping", "", f"data: {json.dumps(chunk(finish='stop'))}", "", "data: [DONE]", "", ""]
    async with Wire(Answer("\r\n".join(lines).encode(), content_type="text/event-stream; charset=utf-8")) as wire:
        assert text_of(await sampled(OpenAIChat(wire.provider(NAME), http, None), call())) == "a"


async def test_a_server_that_does_not_stream_is_read_whole(http: httpx.AsyncClient) -> None:
    said = {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "hm",
        "tool_calls": [piece({"a": 1}, "f", id="x")],
    }
    body = {"model": "m", "choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}], "usage": {}}
    async with Wire(Answer(json.dumps(body).encode())) as wire:
        deltas = await sampled(OpenAIChat(wire.provider(NAME), http, None), call())
    assert deltas[0] == ReasoningDelta("hm")
    assert text_of(deltas) == "Hi"
    assert calls_of(deltas) == [("x", "f", '{"a": 1}')]
    assert finish_of(deltas).reason == "tool_calls"


async def test_the_first_choice_alone_is_read(http: httpx.AsyncClient) -> None:
    other = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    both = chunk({"content": "yes"})
    both["choices"].insert(0, other)
    deltas = await answered(http, both, chunk(choices=[other]), *END)
    assert text_of(deltas) == "yes"
    assert finish_of(deltas).reason == "stop"


@pytest.mark.parametrize("done", [True, False])
async def test_an_answer_with_a_reason_is_whole_without_done(http: httpx.AsyncClient, done: bool) -> None:
    deltas = await answered(http, text("a"), *END, done=done)
    assert deltas == [TextDelta("a"), Finish("stop", Usage(9, 4), "model-1")]


async def test_an_empty_answer_is_a_finish_alone(http: httpx.AsyncClient) -> None:
    assert await answered(http, chunk({"role": "assistant", "content": ""}), *END) == [
        Finish("stop", Usage(9, 4), "model-1")
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
    ],
)
async def test_every_finish_reason_has_its_own(http: httpx.AsyncClient, given: str, expected: str) -> None:
    assert finish_of(await answered(http, text("a"), chunk(finish=given), USED)).reason == expected


async def test_calls_finish_with_tool_calls_whatever_the_server_says(http: httpx.AsyncClient) -> None:
    made = tools(piece("{}", "f", index=0, id="a"))
    assert finish_of(await answered(http, made, *END)).reason == "tool_calls"
    assert finish_of(await answered(http, made, chunk(finish="length"), USED)).reason == "length"


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error", "network_error", "abort"])
async def test_a_server_that_gives_up_can_be_tried_again(http: httpx.AsyncClient, reason: str) -> None:
    error = await failed(http, sse(text("half"), chunk(finish=reason), USED, done=True))
    assert isinstance(error, ProviderUnavailable)
    assert reason in error.message


async def test_a_refusal_and_citations_are_told(http: httpx.AsyncClient) -> None:
    cited = {"url": "https://a.example", "title": "A", "start_index": 1, "end_index": 3, "content": "…"}
    bare = {"url": "https://b.example"}
    citations = [{"type": "url_citation", "url_citation": cited}, {"type": "url_citation", "url_citation": bare}]
    deltas = await answered(
        http,
        text("abc"),
        chunk({"annotations": [*citations, {"type": "file", "file": {}}]}),
        chunk({"refusal": "No."}),
        *END,
    )
    assert deltas[:-1] == [
        TextDelta("abc"),
        TextAnnotation(
            {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 1, "end_index": 3}
        ),
        TextAnnotation(
            {"type": "url_citation", "url": "https://b.example", "title": "", "start_index": 0, "end_index": 0}
        ),
        RefusalDelta("No."),
    ]


async def test_logprobs_have_the_shape_of_the_specification(http: httpx.AsyncClient) -> None:
    token = {
        "token": "ü",
        "logprob": -0.1,
        "bytes": None,
        "top_logprobs": [{"token": "u", "logprob": -2, "bytes": [117]}],
    }
    one = chunk({"content": "ü"})
    one["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
    other = chunk({"content": "b"})
    other["choices"][0]["logprobs"] = {"tokens": ["b"], "token_logprobs": [-0.3]}
    deltas = await answered(http, one, other, *END)
    assert deltas[0] == TextDelta("ü", [token | {"bytes": [195, 188]}])
    assert deltas[1] == TextDelta("b")


# --- reasoning


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_is_sealed_with_the_name_it_came_under(http: httpx.AsyncClient, name: str) -> None:
    deltas = await answered(http, chunk({name: "Let me", "content": None}), chunk({name: " see"}), text("42"), *END)
    assert deltas[:2] == [ReasoningDelta("Let me"), ReasoningDelta(" see")]
    assert isinstance(deltas[2], ReasoningSeal)
    assert seal_of(deltas) == [{"field": name}]
    assert deltas[3] == TextDelta("42")


async def test_reasoning_under_both_names_is_said_once(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, chunk({"reasoning_content": "a", "reasoning": "a"}), text("b"), *END)
    assert [delta for delta in deltas if isinstance(delta, ReasoningDelta)] == [ReasoningDelta("a")]


async def test_reasoning_between_calls_and_at_the_end_is_sealed_each_time(http: httpx.AsyncClient) -> None:
    thought = chunk({"reasoning_content": "hm"})
    deltas = await answered(http, thought, text("a"), thought, tools(piece("{}", "f", id="x")), thought, *END)
    kinds = [type(delta).__name__ for delta in deltas]
    assert kinds == [
        *("ReasoningDelta", "ReasoningSeal", "TextDelta"),
        *("ReasoningDelta", "ReasoningSeal", "ToolCallDelta"),
        *("ReasoningDelta", "ReasoningSeal", "Finish"),
    ]


async def test_mistrals_chunks_are_reasoning_and_text(http: httpx.AsyncClient) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "."}]}
    last = thinking | {"thinking": [], "closed": True, "signature": "sig"}
    deltas = await answered(
        http,
        text([thinking]),
        text([last]),
        text([{"type": "text", "text": "42"}, {"type": "reference", "reference_ids": [1]}]),
        text("!"),
        *END,
    )
    assert deltas[:2] == [ReasoningDelta("Hm"), ReasoningDelta(".")]
    assert seal_of(deltas) == [{"field": "content", "signature": "sig"}]
    assert text_of(deltas) == "42!"


async def test_openrouters_details_are_merged_and_kept(http: httpx.AsyncClient) -> None:
    block = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    deltas = await answered(
        http,
        chunk({"reasoning": "Let", "reasoning_details": [block | {"text": "Let"}]}),
        chunk({"reasoning": " me", "reasoning_details": [block | {"text": " me"}]}),
        chunk({"reasoning_details": [block | {"signature": "Et8B"}]}),
        chunk({"reasoning_details": [{"type": "reasoning.summary", "summary": "In short", "index": 1}]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz", "index": 1, "id": "rs_1"}]}),
        text("42"),
        *END,
    )
    assert deltas[:3] == [ReasoningDelta("Let"), ReasoningDelta(" me"), ReasoningSummaryDelta("In short")]
    assert seal_of(deltas) == [
        {
            "details": [
                block | {"text": "Let me", "signature": "Et8B"},
                {"type": "reasoning.summary", "summary": "In short", "index": 1},
                {"type": "reasoning.encrypted", "data": "xyz", "index": 1, "id": "rs_1"},
            ]
        }
    ]


async def test_a_signature_that_comes_with_the_answer_does_not_break_it(http: httpx.AsyncClient) -> None:
    signature = {"type": "reasoning.encrypted", "data": "sig", "format": "google-gemini-v1", "id": "x", "index": 0}
    deltas = await answered(
        http,
        text("I will "),
        chunk({"content": "look", "reasoning_details": [signature]}),
        text("."),
        tools(piece("{}", "f", index=0, id="x")),
        *END,
    )
    kinds = [type(delta).__name__ for delta in deltas]
    assert kinds == ["TextDelta", "TextDelta", "TextDelta", "ToolCallDelta", "ReasoningSeal", "Finish"]
    assert seal_of(deltas) == [{"details": [signature]}]


# --- calls

FIRST, SECOND = ("a", "f", '{"x": 1}'), ("b", "g", '{"y": 2}')


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(
            [
                tools(piece("", "f", index=0, id="a")),
                tools(piece("", "g", index=1, id="b")),
                tools(piece('{"x"', index=0)),
                tools(piece('{"y"', index=1)),
                tools(piece(": 1}", index=0), piece(": 2}", index=1)),
            ],
            [FIRST, SECOND],
            id="interleaved",
        ),
        pytest.param(
            [tools(piece('{"x": 1}', "f", id="a"), piece('{"y": 2}', "g", id="b"))],
            [FIRST, SECOND],
            id="whole in one chunk, no index",
        ),
        pytest.param(
            [tools(piece('{"x": 1}', "f", id="a")), tools(piece('{"y": 2}', "g", id="b"))],
            [FIRST, SECOND],
            id="whole in two chunks, no index",
        ),
        pytest.param(
            [tools(piece('{"x": 1}', "f", index=0, id="a")), tools(piece('{"y": 2}', "g", index=0, id="b"))],
            [FIRST, SECOND],
            id="one index for two calls",
        ),
        pytest.param(
            [tools(piece("{}", "f"), piece("{}", "f")), tools(piece("{}", "f"))],
            [(None, "f", "{}")] * 3,
            id="no index, no id",
        ),
        pytest.param(
            [tools(piece("{}", "f", index=0)), tools(piece('{"x": 1}', "f", index=0))],
            [(None, "f", "{}"), (None, "f", '{"x": 1}')],
            id="one index, no id",
        ),
        pytest.param(
            [tools(piece('{"x"', "f", index=0, id="a")), tools(piece(": 1}", "f", index=0, id="a"))],
            [FIRST],
            id="the name in each chunk",
        ),
        pytest.param(
            [tools(piece('{"x"', "f", index=0, id="a")), tools(piece(": 1}", "f", index=0, id="z"))],
            [FIRST],
            id="an id that changes",
        ),
        pytest.param(
            [tools(piece('{"x"', "f", id="a")), tools(piece(": ")), tools(piece("1}", id="a"))],
            [FIRST],
            id="pieces without an index",
        ),
        pytest.param([tools(piece({"x": 1}, "f", index=0, id="a"))], [FIRST], id="arguments as an object"),
        pytest.param(
            [tools(piece("", "f", index=0, id="a")), tools(piece("", "f", index=0, id=""))],
            [("a", "f", "")],
            id="empty arguments",
        ),
        pytest.param([tools(piece(None, "f", index=0, id="a"))], [("a", "f", "")], id="arguments null"),
        pytest.param([tools(piece('{"x', "f", index=0, id="a"))], [("a", "f", '{"x')], id="broken arguments"),
        pytest.param(
            [
                chunk({"function_call": {"name": "f", "arguments": '{"x"'}}),
                chunk({"function_call": {"arguments": ": 1}"}}),
            ],
            [(None, "f", '{"x": 1}')],
            id="function_call",
        ),
    ],
)
async def test_every_servers_pieces_become_the_calls_that_were_meant(
    http: httpx.AsyncClient, chunks: list[JsonObject], expected: list[Any]
) -> None:
    assert calls_of(await answered(http, *chunks, *END)) == expected


# --- usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 50,
                "completion_tokens": 20,
                "total_tokens": 70,
                "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 5, "audio_tokens": None},
                "completion_tokens_details": {"reasoning_tokens": 12},
            },
            Usage(50, 20, 30, 5, 12),
        ),
        ({"prompt_tokens": 50, "completion_tokens": 20, "prompt_cache_hit_tokens": 40}, Usage(50, 20, 40)),
        ({"prompt_tokens": 50, "completion_tokens": 20, "cached_tokens": 7}, Usage(50, 20, 7)),
        ({"prompt_tokens": 50, "completion_tokens": 20, "reasoning_tokens": 8}, Usage(50, 20, 0, 0, 8)),
        (
            {
                "prompt_tokens": 50,
                "completion_tokens": 20,
                "total_tokens": 100,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Usage(50, 50, 0, 0, 30),
        ),
        (
            {"prompt_tokens": 50, "completion_tokens": None, "prompt_tokens_details": None},
            Usage(50, 1, estimated=True),
        ),
    ],
    ids=["openai", "deepseek", "moonshot", "sglang", "xai", "nulls"],
)
async def test_usage_is_counted_as_the_server_means_it(
    http: httpx.AsyncClient, usage: JsonObject, expected: Usage
) -> None:
    assert finish_of(await answered(http, text("a"), chunk(finish="stop", usage=usage))).usage == expected


async def test_usage_in_each_chunk_in_x_groq_or_in_the_choice_is_read(http: httpx.AsyncClient) -> None:
    used = {"prompt_tokens": 5, "completion_tokens": 2}
    growing = [chunk({"content": "a"}, usage=used | {"completion_tokens": n}) for n in (1, 2)]
    in_choice = chunk(finish="stop")
    in_choice["choices"][0]["usage"] = used
    for ending in ([*growing, chunk(finish="stop")], [chunk(finish="stop", x_groq={"usage": used})], [in_choice]):
        assert finish_of(await answered(http, *ending)).usage == Usage(5, 2)


async def test_an_answer_without_usage_is_estimated(http: httpx.AsyncClient) -> None:
    async with Wire(sse(text("x" * 40), chunk(finish="stop"), done=True)) as wire:
        usage = finish_of(await sampled(OpenAIChat(wire.provider(NAME), http, None), call("y" * 400))).usage
    assert usage.estimated
    assert usage.output_tokens == 10
    assert 100 <= usage.input_tokens < 150


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


# --- messages

SCATTERED = [
    message("system", "s1"),
    message("developer", "s2"),
    message("user", "u1"),
    message("user", [{"type": "input_text", "text": "u2"}, {"type": "input_text", "text": "!"}]),
    message("assistant", "a1"),
    message("assistant", [{"type": "output_text", "text": "a2"}, {"type": "refusal", "refusal": " no"}]),
    message("developer", "s3"),
    message("user", "u3"),
]


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


def turns(*thoughts: JsonObject) -> list[JsonObject]:
    looked = [message("user", "a"), *thoughts, made_call("c1"), output_of("c1", "b")]
    return [*looked, message("assistant", "c"), message("user", "d")]


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


# --- failures

VLLM_OLD = {
    "object": "error",
    "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}
VLLM_NEW = {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": None, "code": 404}}
LLAMA = {
    "error": {
        "code": 400,
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 9000,
        "n_ctx": 8192,
    }
}
MISTRAL = {
    "object": "error",
    "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]},
    "type": "invalid_request_error",
    "param": None,
    "code": None,
}
FASTAPI = {"detail": [{"loc": ["body", "temperature"], "msg": "must be at most 1"}]}
GROQ = {
    "error": {
        "message": "Rate limit reached for model `m` on tokens per minute (TPM). Please try again in 7.66s.",
        "type": "tokens",
        "code": "rate_limit_exceeded",
    }
}
OPENROUTER = {
    "error": {
        "code": 400,
        "message": "Provider returned error",
        "metadata": {"raw": '{"error": "prompt is too long: 210000 tokens"}', "provider_name": "Anthropic"},
    }
}
FLAGGED = {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}}}
QUOTA = {
    "error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
}
OPENAI_LONG = {"error": {"message": "Too much.", "type": "invalid_request_error", "code": "context_length_exceeded"}}
XAI = {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: hu***sh."}


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, VLLM_OLD, ContextLengthExceeded, "4096 tokens"),
        (404, VLLM_NEW, ProviderRejected, "The model `x` does not exist."),
        (400, LLAMA, ContextLengthExceeded, "available context size"),
        (422, MISTRAL, ProviderRejected, "Extra inputs are not permitted"),
        (422, FASTAPI, ProviderRejected, "must be at most 1"),
        (400, {"detail": "Bad sampling"}, ProviderRejected, "Bad sampling"),
        (429, GROQ, ProviderRateLimited, "7.66s"),
        (400, OPENROUTER, ContextLengthExceeded, "210000 tokens"),
        (403, FLAGGED, ProviderRejected, "flagged"),
        (429, QUOTA, ProviderRejected, "quota"),
        (400, OPENAI_LONG, ContextLengthExceeded, "Too much."),
        (400, XAI, ProviderAuthentication, "THE_KEY"),
        (401, {"error": {"message": "Incorrect API key provided: hush-hush"}}, ProviderAuthentication, "THE_KEY"),
        (
            402,
            {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}},
            ProviderRejected,
            "Balance",
        ),
        (400, {"error": {"message": "bad header: hush-hush"}}, ProviderRejected, "bad header: …"),
        (500, {"error": "boom"}, ProviderUnavailable, "boom"),
        (
            503,
            {"error": {"message": "Model is overloaded", "type": "service_unavailable"}},
            ProviderUnavailable,
            "overloaded",
        ),
        (529, [], ProviderUnavailable, "529"),
    ],
)
async def test_every_servers_error_is_understood(
    http: httpx.AsyncClient, status: int, body: Any, kind: type[Exception], said: str
) -> None:
    error = await failed(http, refusal(status, body))
    assert type(error) is kind
    assert said in error.message
    assert "hush-hush" not in error.message


async def test_an_error_that_is_no_json_keeps_its_text(http: httpx.AsyncClient) -> None:
    error = await failed(http, Answer(b"<html>Bad gateway</html>", 502, content_type="text/html"))
    assert isinstance(error, ProviderUnavailable)
    assert "Bad gateway" in error.message


async def test_a_wrong_key_of_the_request_is_told_as_its_own(http: httpx.AsyncClient) -> None:
    error = await failed(http, refusal(401, {}), api_key="mine")
    assert isinstance(error, ProviderAuthentication)
    assert "the provider key that you sent" in error.message


@pytest.mark.parametrize("headers", [{"retry_after": "7"}, {"retry_after_ms": "7000"}])
async def test_how_long_to_wait_is_kept(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await failed(http, refusal(429, GROQ, **headers))).retry_after == 7


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ({"error": {"message": "Rate limit", "type": "rate_limit_error", "code": None}}, ProviderRateLimited),
        ({"error": {"code": 502, "message": "Provider disconnected"}, "choices": []}, ProviderUnavailable),
        ({"error": {"code": "400", "message": "no"}}, ProviderRejected),
        ({"error": {"message": "no", "type": "BadRequestError"}}, ProviderRejected),
        ({"error": {"message": "who?", "type": "authentication_error"}}, ProviderAuthentication),
        ({"error": {"message": "long", "code": "context_length_exceeded"}}, ContextLengthExceeded),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, ProviderUnavailable),
        ({"error": "something broke"}, ProviderUnavailable),
        (VLLM_OLD, ContextLengthExceeded),
        (chunk(x_groq={"id": "req_1", "error": "over capacity"}), ProviderUnavailable),
        (
            chunk(choices=[{"index": 0, "delta": {}, "error": {"code": 429, "message": "slow down"}}]),
            ProviderRateLimited,
        ),
    ],
)
async def test_an_error_in_the_middle_is_like_its_status(
    http: httpx.AsyncClient, broken: JsonObject, kind: type[Exception]
) -> None:
    assert type(await failed(http, sse(text("half"), broken, done=True))) is kind


async def test_an_error_event_is_an_error(http: httpx.AsyncClient) -> None:
    body = 'event: error\ndata: {"message": "Stream failed", "type": "server_error"}\n\n'
    error = await failed(http, Answer(body.encode(), content_type="text/event-stream"))
    assert isinstance(error, ProviderUnavailable)
    assert "Stream failed" in error.message


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (sse(text("half")), ProviderStreamBroken),
        (sse(), ProviderStreamBroken),
        (sse(done=True), ProviderStreamBroken),
        (Answer(sse(text("half")).body, content_type="text/event-stream", breaks=True), ProviderStreamBroken),
        (Answer(sse(text("half")).body, content_type="text/event-stream", stalls=True), ProviderTimeout),
        (Answer(b"data: {not json\n\n", content_type="text/event-stream"), ProviderStreamBroken),
        (Answer(b"data: []\n\n", content_type="text/event-stream"), ProviderStreamBroken),
        (Answer(b"<html>", content_type="text/html"), ProviderStreamBroken),
        (Answer(b"[]"), ProviderStreamBroken),
    ],
)
async def test_a_stream_that_is_not_whole_is_broken(
    http: httpx.AsyncClient, answer: Answer, kind: type[Exception]
) -> None:
    assert type(await failed(http, answer)) is kind


async def test_the_requests_own_key_goes_before_the_configured_one(http: httpx.AsyncClient) -> None:
    async with Wire(OK) as wire:
        adapter = OpenAIChat(wire.provider(NAME), http, "configured")
        await sampled(adapter, call())
        await sampled(adapter, call(api_key="own"))
        await sampled(OpenAIChat(wire.provider(NAME), http, None), call())
    given = [request.headers.get("authorization") for request in wire.requests]
    assert given == ["Bearer configured", "Bearer own", None]


# --- a real server


@pytest_asyncio.fixture(scope="module")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProviderConfig]:
    """llama.cpp with SmolLM2."""
    try:
        port = services.free_port()
        service = services.llama(port)
    except services.Missing as missing:
        pytest.skip(str(missing))
    process = service.start(Path(tmp_path_factory.mktemp("llama")))
    try:
        assert await services.wait_ready(service, process, 60)
        yield ProviderConfig(name="local", adapter=NAME, base_url=f"http://127.0.0.1:{port}/v1")
    finally:
        await services.stop(process)


def local_call(*items: Any, **request: Any) -> SampleCall:
    return call(list(items), model="smollm2", temperature=0, **request)


@pytest.mark.campaign
async def test_llama_cpp_answers_in_deltas_with_usage(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    asked = local_call(
        *SCATTERED, message("user", "Say hello."), max_output_tokens=24, top_logprobs=2, seed=1, top_k=20
    )
    deltas = await sampled(OpenAIChat(local, http, None), asked)
    texts = [delta for delta in deltas if isinstance(delta, TextDelta)]
    assert len(texts) > 1
    assert all(delta.logprobs and len(delta.logprobs[0]["top_logprobs"]) == 2 for delta in texts)
    usage = finish_of(deltas).usage
    assert usage.input_tokens > 10
    assert 0 < usage.output_tokens <= 24
    assert not usage.estimated


@pytest.mark.campaign
async def test_llama_cpp_goes_on_where_an_answer_broke_off(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    question = message("user", "Count from one to ten in words, separated by commas.")
    whole = text_of(await sampled(OpenAIChat(local, http, None), local_call(question, max_output_tokens=40)))
    prefix = whole[: len(whole) // 2]
    rest = await sampled(OpenAIChat(local, http, None), local_call(question, max_output_tokens=40, prefix=prefix))
    assert text_of(rest)
    assert not text_of(rest).startswith(whole[:12])


@pytest.mark.campaign
async def test_llama_cpp_keeps_to_a_schema(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}, "required": ["city"]}
    wanted = {"format": {"type": "json_schema", "name": "city", "schema": schema}}
    deltas = await sampled(
        OpenAIChat(local, http, None), local_call(message("user", "Capital of Norway?"), text=wanted)
    )
    assert json.loads(text_of(deltas)) == {"city": "Oslo"}


@pytest.mark.campaign
async def test_llama_cpp_takes_a_conversation_with_calls(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    items = [
        *SCATTERED,
        reasoning("hm"),
        made_call("c1", '{"city": "Os'),
        output_of("c1", "-3 C and snow"),
        message("user", "Which weather was it?"),
    ]
    asked = local_call(*items, tools=[WEATHER, CLOCK], tool_choice="auto", max_output_tokens=16)
    assert finish_of(await sampled(OpenAIChat(local, http, None), asked)).usage.input_tokens > 20


@pytest.mark.campaign
async def test_llama_cpp_refuses_a_context_that_is_too_long(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    with pytest.raises(ContextLengthExceeded):
        await sampled(OpenAIChat(local, http, None), local_call(message("user", "word " * 40_000)))
