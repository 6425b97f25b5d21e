"""The smallest streams of each vendor, over a real socket: a beginning, text, and the parts of an end.

    answer = stream_of("anthropic", TEXT["anthropic"], STOPPED["anthropic"])
    deltas = await read(http, "anthropic", answer)

Shapes: those of the adapters' own tests.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from activities.providers.anthropic import Anthropic
from activities.providers.gemini import Gemini
from activities.providers.ollama import Ollama
from activities.providers.openai import OpenAIResponses
from activities.providers.openai_chat import OpenAIChat
from open_responses.contracts import Provider, SampleCall
from open_responses.deltas import Delta
from tests.support.provider_wire import Answer, Wire, call, sampled

Json = dict[str, Any]
ADAPTERS: dict[str, Any] = {
    "openai": OpenAIResponses,
    "openai-chat": OpenAIChat,
    "anthropic": Anthropic,
    "gemini": Gemini,
    "ollama": Ollama,
}
VENDORS = sorted(ADAPTERS)


def provider_of(vendor: str, wire: Wire, http: httpx.AsyncClient) -> Provider:
    provider: Provider = ADAPTERS[vendor](wire.provider(vendor), http, "key")
    return provider


def bytes_of(vendor: str, *events: Json, done: bool = False) -> bytes:
    if vendor == "ollama":
        return b"".join(json.dumps(event).encode() + b"\n" for event in events)
    lines = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return lines + (b"data: [DONE]\n\n" if done else b"")


def stream_of(vendor: str, *events: Json, done: bool = False, **how: Any) -> Answer:
    kind = "application/x-ndjson" if vendor == "ollama" else "text/event-stream"
    return Answer(bytes_of(vendor, *events, done=done), content_type=kind, **how)


async def read(http: httpx.AsyncClient, vendor: str, answer: Answer, asked: SampleCall | None = None) -> list[Delta]:
    """The deltas of the answer, which was asked for once."""
    async with Wire(answer) as wire:
        deltas = await sampled(provider_of(vendor, wire, http), asked or call())
        assert len(wire.requests) == 1
    return deltas


# --- pieces of streams


def chat_chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def anthropic_start(**usage: Any) -> Json:
    return {"type": "message_start", "message": {"type": "message", "role": "assistant", "model": "m", "usage": usage}}


def anthropic_block(content: Json, *deltas: Json, index: int | None = 0, stop: bool = True) -> list[Json]:
    at = {} if index is None else {"index": index}
    events = [{"type": "content_block_start", **at, "content_block": content}]
    events += [{"type": "content_block_delta", **at, "delta": delta} for delta in deltas]
    return [*events, {"type": "content_block_stop", **at}] if stop else events


def anthropic_end(reason: str | None = "end_turn", **usage: Any) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def gemini_chunk(*parts: Json, finish: str | None = None, usage: Json | None = None) -> Json:
    candidate: Json = {"content": {"parts": list(parts), "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "m", **({"usageMetadata": usage} if usage is not None else {})}


def ollama_line(content: str = "", **more: Any) -> Json:
    return {"model": "m", "message": {"role": "assistant", "content": content}, "done": False, **more}


def openai_text(text: str = "Hello") -> Json:
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}


def openai_end(kind: str = "response.completed", *output: Json, **more: Any) -> Json:
    status = {"status": kind.removeprefix("response.")} if kind != "response.done" else {}
    return {"type": kind, "response": {"id": "r", "model": "m", **status, "output": list(output), **more}}


TEXT: dict[str, list[Json]] = {
    "openai": [{"type": "response.created", "response": {"id": "r", "status": "in_progress"}}, openai_text()],
    "openai-chat": [chat_chunk({"role": "assistant", "content": "Hello"})],
    "anthropic": [
        anthropic_start(input_tokens=9, output_tokens=1),
        *anthropic_block({"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"}),
    ],
    "gemini": [gemini_chunk({"text": "Hello"})],
    "ollama": [ollama_line("Hello")],
}
"""A stream that says "Hello", as far as that."""

REASONED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
THOUGHTS: dict[str, list[Json]] = {
    "openai": [
        {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "Hm."},
        {"type": "response.output_item.done", "output_index": 0, "item": REASONED},
    ],
    "openai-chat": [chat_chunk({"reasoning_content": "Hm."})],
    "anthropic": [
        anthropic_start(),
        *anthropic_block(
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm."},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
    ],
    "gemini": [gemini_chunk({"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"})],
    "ollama": [{"model": "m", "message": {"role": "assistant", "thinking": "Hm."}, "done": False}],
}
"""Reasoning, as far as its end."""
