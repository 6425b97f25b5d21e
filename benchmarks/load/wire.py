"""An answer of numbered tokens in two wire formats, with all the fields that the vendor sends: a server that reads it
skips them, which costs as well."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from benchmarks.load.order import words

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """Framed chunks. `opening` is sent at once, `tokens` in their time, the first behind `start`, the last before
    `closing`."""

    opening: bytes
    start: bytes
    tokens: tuple[bytes, ...]
    closing: bytes


@lru_cache(maxsize=64)
def chat_answer(count: int) -> Answer:
    """Of the Chat Completions API."""
    head = {"id": "chatcmpl-C8vJm2Vq", "object": "chat.completion.chunk", "created": 1756315696, "model": "model-1"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _framed({**head, "service_tier": "default", "system_fingerprint": "fp_b7", "choices": [choice]})

    usage = {
        "prompt_tokens": 42,
        "completion_tokens": count,
        "total_tokens": 42 + count,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    done = b"data: [DONE]\n\n"
    return Answer(
        opening=HEAD,
        start=chunk({"role": "assistant", "content": ""}),
        tokens=tuple(chunk({"content": word}) for word in words(count)),
        closing=chunk({}, "stop") + _framed({**head, "choices": [], "usage": usage}) + _chunk(done),
    )


@lru_cache(maxsize=64)
def responses_answer(count: int) -> Answer:
    """Of OpenAI's Responses API."""
    text = "".join(words(count))
    message: dict[str, Any] = {"id": "msg_68af4033a2", "type": "message", "status": "in_progress", "role": "assistant"}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    at = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    whole = {**message, "status": "completed", "content": [{**part, "text": text}]}
    usage = {
        "input_tokens": 42,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": count,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 42 + count,
    }
    ended = {**_RESPONSE, "status": "completed", "output": [whole], "usage": usage}
    opening: list[tuple[str, dict[str, Any]]] = [
        ("created", {"response": _RESPONSE}),
        ("in_progress", {"response": _RESPONSE}),
    ]
    start: list[tuple[str, dict[str, Any]]] = [
        ("output_item.added", {"output_index": 0, "item": {**message, "content": []}}),
        ("content_part.added", {**at, "part": {**part, "text": ""}}),
    ]
    tokens: list[tuple[str, dict[str, Any]]] = [
        ("output_text.delta", {**at, "delta": word, "logprobs": [], "obfuscation": "x7GdQ2m4Kc"})
        for word in words(count)
    ]
    closing: list[tuple[str, dict[str, Any]]] = [
        ("output_text.done", {**at, "text": text, "logprobs": []}),
        ("content_part.done", {**at, "part": {**part, "text": text}}),
        ("output_item.done", {"output_index": 0, "item": whole}),
        ("completed", {"response": ended}),
    ]
    framed = [
        _framed({"type": f"response.{kind}", "sequence_number": number, **event}, named=True)
        for number, (kind, event) in enumerate([*opening, *start, *tokens, *closing])
    ]
    return Answer(
        opening=HEAD + b"".join(framed[:2]),
        start=b"".join(framed[2:4]),
        tokens=tuple(framed[4:-4]),
        closing=b"".join(framed[-4:]),
    )


_RESPONSE: dict[str, Any] = {
    "id": "resp_68af4030592c81938ec0a5fbab4a3e9f",
    "object": "response",
    "created_at": 1756315696,
    "status": "in_progress",
    "model": "gpt-5.1-2025-11-13",
    "output": [],
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
}


def _framed(event: dict[str, Any], *, named: bool = False) -> bytes:
    name = f"event: {event['type']}\n" if named else ""
    return _chunk(f"{name}data: {json.dumps(event, separators=(',', ':'))}\n\n".encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
