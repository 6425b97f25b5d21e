"""A member of another type than the vendor documents takes no answer down, and is no unexpected failure."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest

from open_responses.errors import ProviderError
from open_responses.testing.delta_checks import check_stream
from tests.support import vendor_streams as v
from tests.support.provider_wire import Wire, call, sampled

Json = dict[str, Any]
Path = tuple[str | int, ...]
ODD: list[Any] = [None, 5, "x", True, [], {}, [None], {"a": 1}, ["x"], -1.5]
CALL = {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"}
MSG = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "text": "Hello",
            "annotations": [
                {"type": "url_citation", "url": "https://a.example", "title": "t", "start_index": 0, "end_index": 1}
            ],
        }
    ],
}
STREAMS: dict[str, list[Json]] = {
    "openai": [
        {"type": "response.created", "response": {"id": "r", "status": "in_progress"}},
        *v.THOUGHTS["openai"],
        {
            **v.openai_text(),
            "output_index": 1,
            "logprobs": [{"token": "H", "logprob": -1.0, "bytes": [72], "top_logprobs": []}],
        },
        {"type": "response.content_part.done", "output_index": 1, "content_index": 0, "part": MSG["content"][0]},
        {"type": "response.output_item.done", "output_index": 1, "item": MSG},
        {"type": "response.output_item.added", "output_index": 2, "item": {**CALL, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{}"},
        {"type": "response.output_item.done", "output_index": 2, "item": CALL},
        v.openai_end(
            "response.completed",
            MSG,
            CALL,
            usage={
                "input_tokens": 3,
                "output_tokens": 4,
                "input_tokens_details": {"cached_tokens": 1},
                "output_tokens_details": {"reasoning_tokens": 1},
            },
        ),
    ],
    "openai-chat": [
        *v.THOUGHTS["openai-chat"],
        v.chat_chunk(
            {
                "role": "assistant",
                "content": "Hello",
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "https://a.example", "title": "t", "start_index": 0, "end_index": 1},
                    }
                ],
                "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "a"}],
                "images": [{"image_url": {"url": "data:image/png;base64,aQ=="}}],
                "refusal": "no",
            }
        ),
        v.chat_chunk(
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "c",
                        "type": "function",
                        "extra_content": {"google": {"thought_signature": "x"}},
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ]
            }
        ),
        v.chat_chunk(
            {
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "thinking", "thinking": [{"type": "text", "text": "b"}]},
                ]
            }
        ),
        {
            **v.chat_chunk(finish="stop"),
            "citations": ["https://a.example"],
            "search_results": [{"url": "https://a.example", "title": "t"}],
        },
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "total_tokens": 7,
                "prompt_tokens_details": {"cached_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
        },
    ],
    "anthropic": [
        *v.THOUGHTS["anthropic"],
        *v.anthropic_block(
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Hello"},
            {"type": "citations_delta", "citation": {"url": "https://a.example", "title": "t"}},
            index=1,
        ),
        *v.anthropic_block(
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": "{}"},
            index=2,
        ),
        *v.anthropic_block({"type": "tool_use", "id": "d", "name": "f", "input": {"a": 1}}, index=3),
        *v.anthropic_block(
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": "{}"},
            index=4,
        ),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_details": {"explanation": "x"}},
            "usage": {"input_tokens": 3, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 1}},
        },
        {"type": "message_stop"},
    ],
    "gemini": [
        *v.THOUGHTS["gemini"],
        v.gemini_chunk({"text": "Hello", "thoughtSignature": "s"}),
        v.gemini_chunk({"functionCall": {"name": "f", "id": "c", "args": {"a": 1}}, "thoughtSignature": "s"}),
        v.gemini_chunk({"inlineData": {"mimeType": "image/png", "data": "aQ=="}}),
        v.gemini_chunk({"executableCode": {"code": "1", "language": "PYTHON"}}),
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "More"}]},
                    "groundingMetadata": {
                        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "t"}}],
                        "groundingSupports": [
                            {"segment": {"startIndex": 0, "endIndex": 4, "text": "More"}, "groundingChunkIndices": [0]}
                        ],
                    },
                    "logprobsResult": {
                        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -1.0}]}],
                        "chosenCandidates": [{"token": "a", "logProbability": -1.0}],
                    },
                    "finishReason": "STOP",
                    "finishMessage": "m",
                }
            ],
            "promptFeedback": {"blockReason": None},
            "modelVersion": "m",
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7},
        },
    ],
    "ollama": [
        *v.THOUGHTS["ollama"],
        v.ollama_line("Hello", logprobs=[{"token": "H", "logprob": -1.0, "bytes": [72], "top_logprobs": []}]),
        {
            "model": "m",
            "message": {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}],
            },
            "done": False,
        },
        v.ollama_line(done=True, done_reason="stop", prompt_eval_count=3, eval_count=4),
    ],
}


def paths_in(value: Any, path: Path = ()) -> Iterator[Path]:
    if len(path) > 1:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in inner:
        yield from paths_in(member, (*path, key))


def changed(events: list[Json], path: Path, value: Any) -> list[Json]:
    events = copy.deepcopy(events)
    place: Any = events
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return events


@pytest.mark.parametrize("vendor", v.VENDORS)
async def test_one_odd_member_is_no_unexpected_failure(http: httpx.AsyncClient, vendor: str) -> None:
    """Each member in turn has the next odd value. The answer is read, or fails as the provider's fault."""
    failed = 0
    async with Wire(v.stream_of(vendor, *STREAMS[vendor])) as wire:
        provider = v.provider_of(vendor, wire, http)
        check_stream(await sampled(provider, call()))
        paths = list(paths_in(STREAMS[vendor]))
        for path, number in zip(paths, count(), strict=False):
            wire.answers = [v.stream_of(vendor, *changed(STREAMS[vendor], path, ODD[number % len(ODD)]))]
            try:
                await sampled(provider, call())
            except ProviderError:
                failed += 1
    assert failed < len(paths) / 10


async def test_an_odd_event_is_left_out_and_reported(http: httpx.AsyncClient) -> None:
    reported: list[str] = []
    asked = replace(call(), on_unread=reported.extend)
    odd = v.chat_chunk(
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": {"a": "secret"}}}]}
    )
    odd["choices"][0]["delta"]["reasoning_details"] = 5
    events = [*v.TEXT["openai-chat"], odd, v.chat_chunk(finish="stop")]
    deltas = await v.read(http, "openai-chat", v.stream_of("openai-chat", *events), asked)
    assert check_stream(deltas).reason == "stop"
    assert len(reported) == 1
    assert "reasoning_details" in reported[0]
    assert "secret" not in reported[0]


UNKNOWN: dict[str, Json] = {
    "openai": {"type": "response.output_item.done", "output_index": 5, "item": {"type": "new_kind", "text": "secret"}},
    "openai-chat": v.chat_chunk({"content": [{"type": "new_kind", "text": "secret"}]}, "stop"),
    "anthropic": v.anthropic_block({"type": "new_kind", "text": "secret"}, index=5)[0],
    "gemini": v.gemini_chunk({"newKind": {"text": "secret"}}),
}


@pytest.mark.parametrize("vendor", UNKNOWN)
async def test_content_of_an_unknown_kind_is_reported(http: httpx.AsyncClient, vendor: str) -> None:
    reported: list[str] = []
    events = [*v.TEXT[vendor], UNKNOWN[vendor], STREAMS[vendor][-1]]
    deltas = await v.read(http, vendor, v.stream_of(vendor, *events), replace(call(), on_unread=reported.extend))
    assert check_stream(deltas)
    assert len(reported) == 1
    assert "secret" not in reported[0]
    assert "new_kind" in reported[0] or "newKind" in reported[0]


@pytest.mark.parametrize("vendor", v.VENDORS)
async def test_a_whole_answer_leaves_nothing_out(http: httpx.AsyncClient, vendor: str) -> None:
    reported: list[str] = []
    answer = v.stream_of(vendor, *STREAMS[vendor])
    assert check_stream(await v.read(http, vendor, answer, replace(call(), on_unread=reported.extend)))
    assert reported == []
