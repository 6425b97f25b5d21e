"""The answers of Chat Completions servers as deltas, over a real socket: text, reasoning and usage."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.openai_chat import OpenAIChat
from open_responses.deltas import (
    Delta,
    Finish,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    Usage,
)
from open_responses.errors import ProviderUnavailable
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from tests.support.chat_chunks import END, NAME, USED, answered, calls_of, chunk, failed, piece, text, tools
from tests.support.provider_wire import Answer, Wire, call, finish_of, sampled, sse, text_of


def seal_of(deltas: list[Delta]) -> list[Any]:
    contents = [sealed_reasoning.content_for(NAME, delta.data) for delta in deltas if isinstance(delta, ReasoningSeal)]
    return [json.loads(content or "null") for content in contents]


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
