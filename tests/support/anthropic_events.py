"""The events of Anthropic's Messages API, and calls that are sampled from them.

The format: platform.claude.com/docs (streaming, errors), the types of Anthropic's Python SDK 2.14. The words are ours.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from activities.providers.anthropic import Anthropic
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta
from open_responses.errors import InvalidRequest
from tests.support.provider_wire import Answer, Wire, call, sampled, sse

OPUS_5_5, OPUS_5, OPUS_4_6, SONNET_4_5 = "claude-opus-5-5", "claude-opus-5", "claude-opus-4-6", "claude-sonnet-4-5"
SONNET_5_5, FABLE_5_1, HAIKU_4_5 = "claude-sonnet-5-5", "claude-fable-5-1", "claude-haiku-4-5-20251001"
KEY, OWN_KEY = "sk-ant-configured", "sk-ant-own"
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}},
    "required": ["age"],
    "additionalProperties": False,
}


def start(**usage: int) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1, **usage},
    }
    return {"type": "message_start", "message": message}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def tool(index: int, call_id: str, *pieces: str, name: str = "weather") -> list[dict[str, Any]]:
    content = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return block(index, content, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def thinking(index: int, *pieces: str, signature: str = "c2ln") -> list[dict[str, Any]]:
    content = {"type": "thinking", "thinking": "", "signature": ""}
    thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    return block(index, content, *thoughts, {"type": "signature_delta", "signature": signature})


def end(reason: str = "end_turn", details: dict[str, Any] | None = None, **usage: Any) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None, "stop_details": details}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7, **usage}},
        {"type": "message_stop"},
    ]


def stream(*events: dict[str, Any]) -> Answer:
    return sse(*events, named=True)


HELLO = stream(start(), *text(0, "Hel", "lo"), *end())
RICH = stream(
    start(cache_read_input_tokens=3, cache_creation_input_tokens=4),
    {"type": "ping"},
    *thinking(0, "Möw", "en fliegen. "),
    *block(1, {"type": "redacted_thinking", "data": "ZHVua2Vs"}),
    *text(2, "Schön, ", "日本 🎈"),
    *tool(3, "toolu_1", "", '{"ci', 'ty": "Zü', 'rich"}'),
    *tool(4, "toolu_2"),
    *end("tool_use", output_tokens_details={"thinking_tokens": 5}),
)


async def asked(http: httpx.AsyncClient, call_: SampleCall, *, answer: Answer = HELLO, **config: Any) -> dict[str, Any]:
    """The request's body."""
    async with Wire(answer) as wire:
        await sampled(Anthropic(wire.provider("anthropic", **config), http, KEY), call_)
    return wire.requests[0].json


async def answered(http: httpx.AsyncClient, answer: Answer, call_: SampleCall | None = None) -> list[Delta]:
    async with Wire(answer) as wire:
        return await sampled(Anthropic(wire.provider("anthropic"), http, KEY), call_ or call(model=SONNET_4_5))


async def refused(http: httpx.AsyncClient, call_: SampleCall) -> InvalidRequest:
    """What is refused before anything is sent."""
    async with Wire(HELLO) as wire:
        with pytest.raises(InvalidRequest) as caught:
            await sampled(Anthropic(wire.provider("anthropic"), http, KEY), call_)
    assert wire.requests == []
    return caught.value


def bare(value: Any) -> Any:
    """Without the cache's breakpoints."""
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items() if key != "cache_control"}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def called(call_id: str, arguments: str = "{}", name: str = "weather") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def wants(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "person", "schema": schema, "strict": True}}


TREE = {
    "type": "object",
    "properties": {"child": {"$ref": "#/$defs/node"}},
    "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}},
}

SEARCHED = [
    *text(0, "Let me look. "),
    *block(
        1,
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"query": '},
        {"type": "input_json_delta", "partial_json": '"gulls"}'},
    ),
    *block(
        2,
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {"type": "web_search_result", "url": "https://birds.example", "title": "B", "encrypted_content": "e"}
            ],
        },
    ),
    *text(3, "Gulls: "),
    *block(
        4,
        {"type": "text", "text": "", "citations": []},
        {
            "type": "citations_delta",
            "citation": {
                "type": "web_search_result_location",
                "url": "https://birds.example",
                "title": "Birds",
                "cited_text": "They fly.",
                "encrypted_index": "x",
            },
        },
        {"type": "text_delta", "text": "they fly"},
    ),
    *text(5, "."),
]


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"}
