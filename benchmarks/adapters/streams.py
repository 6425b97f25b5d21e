"""One long answer in the wire format of each vendor: reasoning, text, a tool call; and the server that gives it.

The shapes are those of the adapters' tests, with every field that the vendor sends beside what is read, since skipping
it costs as well. Each event is a chunk of its own, as vendors send them. Standard library alone.

`python -m benchmarks.adapters.streams PORT` answers `/{vendor}/…`, at full speed; `/{vendor}/{pause}/…` with so many
milliseconds between the events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from functools import cache
from typing import Any

REASONING, TEXT, ARGUMENTS = 200, 2000, 100
CALL = "get_weather"
_STORY = (
    "The river comes down from the hills, turns at the café by the mill and goes on to the sea, wide, slow and green."
)
_SEAL = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds4aQ" * 8


def pieces(count: int) -> list[str]:
    """Of a token's length, nearly all ASCII, as an answer in English is."""
    words = _STORY.split()
    return [f"{words[at % len(words)]} " for at in range(count)]


def argument_pieces() -> list[str]:
    return ['{"city": "', *(f"Zurich {at} " for at in range(ARGUMENTS - 2)), '"}']


def _openai() -> list[bytes]:
    head = {"id": "resp_68af4030592c81938ec0a5fbab4a3e9f", "object": "response", "created_at": 1756315696}
    response: dict[str, Any] = {
        **head,
        "status": "in_progress",
        "model": "gpt-5.1-2025-11-13",
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }
    thoughts, said, asked = pieces(REASONING), pieces(TEXT), argument_pieces()
    summary, text, arguments = "".join(thoughts), "".join(said), "".join(asked)
    thought = {"id": "rs_68af40304f", "type": "reasoning", "summary": [], "encrypted_content": _SEAL}
    message: dict[str, Any] = {"id": "msg_68af4033a2", "type": "message", "status": "in_progress", "role": "assistant"}
    call = {"id": "fc_68af4033a3", "type": "function_call", "status": "in_progress", "call_id": "call_1", "name": CALL}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    at_thought = {"item_id": thought["id"], "output_index": 0, "summary_index": 0}
    at_text = {"item_id": message["id"], "output_index": 1, "content_index": 0}
    at_call = {"item_id": call["id"], "output_index": 2}
    whole_thought = {**thought, "summary": [{"type": "summary_text", "text": summary}]}
    whole_message = {**message, "status": "completed", "content": [{**part, "text": text}]}
    whole_call = {**call, "status": "completed", "arguments": arguments}
    usage = {
        "input_tokens": 42,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2400,
        "output_tokens_details": {"reasoning_tokens": 200},
        "total_tokens": 2442,
    }
    output = [whole_thought, whole_message, whole_call]
    filler = {"obfuscation": "x7GdQ2m4Kc"}
    events: list[tuple[str, dict[str, Any]]] = [
        ("created", {"response": response}),
        ("in_progress", {"response": response}),
        ("output_item.added", {"output_index": 0, "item": thought}),
        ("reasoning_summary_part.added", {**at_thought, "part": {"type": "summary_text", "text": ""}}),
        *(("reasoning_summary_text.delta", {**at_thought, "delta": piece, **filler}) for piece in thoughts),
        ("reasoning_summary_text.done", {**at_thought, "text": summary}),
        ("reasoning_summary_part.done", {**at_thought, "part": {"type": "summary_text", "text": summary}}),
        ("output_item.done", {"output_index": 0, "item": whole_thought}),
        ("output_item.added", {"output_index": 1, "item": {**message, "content": []}}),
        ("content_part.added", {**at_text, "part": {**part, "text": ""}}),
        *(("output_text.delta", {**at_text, "delta": piece, "logprobs": [], **filler}) for piece in said),
        ("output_text.done", {**at_text, "text": text, "logprobs": []}),
        ("content_part.done", {**at_text, "part": {**part, "text": text}}),
        ("output_item.done", {"output_index": 1, "item": whole_message}),
        ("output_item.added", {"output_index": 2, "item": {**call, "arguments": ""}}),
        *(("function_call_arguments.delta", {**at_call, "delta": piece, **filler}) for piece in asked),
        ("function_call_arguments.done", {**at_call, "arguments": arguments}),
        ("output_item.done", {"output_index": 2, "item": whole_call}),
        ("completed", {"response": {**response, "status": "completed", "output": output, "usage": usage}}),
    ]
    return [
        _sse({"type": f"response.{kind}", "sequence_number": number, **event}, named=True)
        for number, (kind, event) in enumerate(events)
    ]


def _openai_chat() -> list[bytes]:
    head = {"id": "chatcmpl-C8vJm2Vq", "object": "chat.completion.chunk", "created": 1756315696, "model": "model-1"}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _sse({**head, "service_tier": "default", "system_fingerprint": "fp_b7", "choices": [choice]})

    def call(arguments: str, **first: Any) -> bytes:
        function = {**({"name": CALL} if first else {}), "arguments": arguments}
        return chunk({"tool_calls": [{"index": 0, **first, "function": function}]})

    usage = {
        "prompt_tokens": 42,
        "completion_tokens": 2400,
        "total_tokens": 2442,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 200},
    }
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"reasoning_content": piece}) for piece in pieces(REASONING)),
        *(chunk({"content": piece}) for piece in pieces(TEXT)),
        call("", id="call_1", type="function"),
        *(call(piece) for piece in argument_pieces()),
        chunk({}, "tool_calls"),
        _sse({**head, "choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]


def _anthropic() -> list[bytes]:
    message = {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant", "content": []}
    usage = {"input_tokens": 42, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
    start = {**message, "model": "claude-sonnet-4-5-20250929", "stop_reason": None, "stop_sequence": None}
    thinking = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(REASONING)]
    text = [{"type": "text_delta", "text": piece} for piece in pieces(TEXT)]
    arguments = [{"type": "input_json_delta", "partial_json": piece} for piece in argument_pieces()]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        (
            {"type": "thinking", "thinking": "", "signature": ""},
            [*thinking, {"type": "signature_delta", "signature": _SEAL}],
        ),
        ({"type": "text", "text": ""}, text),
        ({"type": "tool_use", "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "name": CALL, "input": {}}, arguments),
    ]
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**start, "usage": usage}}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": "tool_use", "stop_sequence": None}
    events += [
        {"type": "message_delta", "delta": end, "usage": {**usage, "output_tokens": 2400}},
        {"type": "message_stop"},
    ]
    return [_sse(event, named=True) for event in events]


def _gemini() -> list[bytes]:
    """A call comes whole, with the thought's signature."""
    counted = 0

    def chunk(part: dict[str, Any], finish: str | None = None) -> bytes:
        nonlocal counted
        counted += 1
        candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
        usage: dict[str, Any] = {
            "promptTokenCount": 42,
            "candidatesTokenCount": counted,
            "totalTokenCount": 242 + counted,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 42}],
            "thoughtsTokenCount": 200,
        }
        ended = {"finishReason": finish} if finish else {}
        whole = {"candidates": [{**candidate, **ended}], "usageMetadata": usage}
        event = {**whole, "modelVersion": "gemini-2.5-flash", "responseId": "mOr0aMGxKpCMz7IPnKGt8Ao"}
        return f"data: {_json(event)}\r\n\r\n".encode()

    call = {"name": CALL, "args": json.loads("".join(argument_pieces()))}
    return [
        *(chunk({"text": piece, "thought": True}) for piece in pieces(REASONING)),
        *(chunk({"text": piece}) for piece in pieces(TEXT)),
        chunk({"functionCall": call, "thoughtSignature": _SEAL}),
        chunk({"text": ""}, "STOP"),
    ]


def _ollama() -> list[bytes]:
    """A call comes whole."""

    def line(message: dict[str, Any], **more: Any) -> bytes:
        head = {"model": "qwen3", "created_at": "2026-09-17T15:42:59.5670387Z"}
        return f"{_json({**head, 'message': {'role': 'assistant', 'content': '', **message}, **more})}\n".encode()

    call = {"index": 0, "name": CALL, "arguments": json.loads("".join(argument_pieces()))}
    counts = {"prompt_eval_count": 42, "prompt_eval_duration": 46983667, "eval_count": 2400, "eval_duration": 17363900}
    return [
        *(line({"thinking": piece}, done=False) for piece in pieces(REASONING)),
        *(line({"content": piece}, done=False) for piece in pieces(TEXT)),
        line({"tool_calls": [{"id": "call_1", "function": call}]}, done=False),
        line({}, done=True, done_reason="stop", total_duration=19383042709, load_duration=92735125, **counts),
    ]


_STREAMS = {
    "openai": _openai,
    "openai-chat": _openai_chat,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
}
VENDORS = tuple(_STREAMS)


def deltas_of(vendor: str) -> int:
    """How many pieces of the answer the stream has: what the figures are divided by."""
    return REASONING + TEXT + (1 if vendor in ("gemini", "ollama") else ARGUMENTS)


def _sse(event: dict[str, Any], *, named: bool = False) -> bytes:
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {_json(event)}\n\n".encode()


def _json(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


# --- the server


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            sizes = [int(line.partition(":")[2]) for line in head if line.startswith("content-length:")]
            await reader.readexactly(sum(sizes))
            _, vendor, pause, *_ = f"{head[0].split(' ')[1]}/".split("/")
            await _answer(writer, vendor, int(pause) if pause.isdigit() else 0)
    writer.close()


@cache
def _chunks(vendor: str) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(event), event) for event in _STREAMS[vendor]()]


async def _answer(writer: asyncio.StreamWriter, vendor: str, pause: int) -> None:
    kind = "application/x-ndjson" if vendor == "ollama" else "text/event-stream"
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    chunks = _chunks(vendor)
    for chunk in chunks if pause else [b"".join(chunks)]:
        writer.write(chunk)
        if pause:
            await writer.drain()
            await asyncio.sleep(pause / 1000)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
