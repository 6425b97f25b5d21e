"""The tools, calls and images in the bodies that vendors are sent, and the vendors' answers with a call."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.provider_wire import Answer, sse


@dataclass
class Body:
    """What the tests look at: schemas by function, (id, name, arguments) of calls, ids of outputs, images' types."""

    schemas: dict[str, Any] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    forced: str | None = None


def read_body(vendor: str, body: dict[str, Any]) -> Body:
    return _READERS[vendor](body)


def _openai(body: dict[str, Any]) -> Body:
    read = Body(
        schemas={tool["name"]: tool["parameters"] for tool in body.get("tools", [])},
        descriptions={tool["name"]: tool.get("description", "") for tool in body.get("tools", [])},
    )
    for item in body["input"]:
        if item["type"] == "function_call":
            read.calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
        if item["type"] == "function_call_output":
            read.outputs.append(item["call_id"])
    choice = body.get("tool_choice")
    read.forced = choice["name"] if isinstance(choice, dict) else None
    return read


def _chat(body: dict[str, Any]) -> Body:
    tools = [tool["function"] for tool in body.get("tools", [])]
    read = Body(
        schemas={tool["name"]: tool["parameters"] for tool in tools},
        descriptions={tool["name"]: tool.get("description", "") for tool in tools},
    )
    for message in body["messages"]:
        for made in message.get("tool_calls", []):
            arguments = made["function"]["arguments"]
            read_arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
            read.calls.append((made["id"], made["function"]["name"], read_arguments))
        if message["role"] == "tool":
            read.outputs.append(message["tool_call_id"])
    choice = body.get("tool_choice")
    read.forced = choice["function"]["name"] if isinstance(choice, dict) else None
    return read


def _ollama(body: dict[str, Any]) -> Body:
    """It is forced in words, in the last message."""
    read = _chat(body)
    said = str(body["messages"][-1]["content"])
    read.forced = (
        said.removeprefix("Call the tool ").removesuffix(" now.") if said.startswith("Call the tool") else None
    )
    return read


def _anthropic(body: dict[str, Any]) -> Body:
    read = Body(
        schemas={tool["name"]: tool["input_schema"] for tool in body.get("tools", [])},
        descriptions={tool["name"]: tool.get("description", "") for tool in body.get("tools", [])},
        forced=body.get("tool_choice", {}).get("name"),
    )
    for message in body["messages"]:
        for block in message["content"]:
            if block["type"] == "tool_use":
                read.calls.append((block["id"], block["name"], block["input"]))
            if block["type"] == "tool_result":
                read.outputs.append(block["tool_use_id"])
    return read


def _gemini(body: dict[str, Any]) -> Body:
    declared = [one for tool in body.get("tools", []) for one in tool.get("functionDeclarations", [])]
    forced = body.get("toolConfig", {}).get("functionCallingConfig", {}).get("allowedFunctionNames")
    read = Body(
        schemas={tool["name"]: tool["parametersJsonSchema"] for tool in declared if "parametersJsonSchema" in tool},
        descriptions={tool["name"]: tool["description"] for tool in declared},
        forced=forced[0] if forced else None,
    )
    for content in body["contents"]:
        for part in content["parts"]:
            if made := part.get("functionCall"):
                read.calls.append((made["id"], made["name"], made["args"]))
            if answered := part.get("functionResponse"):
                read.outputs.append(answered["id"])
    return read


_READERS = {"openai": _openai, "openai-chat": _chat, "anthropic": _anthropic, "gemini": _gemini, "ollama": _ollama}


def answer_with_call(vendor: str, name: str, arguments: str, *, cut: int = 3) -> Answer:
    """The vendor's stream with one call. Its arguments come in pieces of `cut` characters, if the vendor cuts them."""
    pieces = [arguments[at : at + cut] for at in range(0, len(arguments), cut)]
    whole = json.loads(arguments)
    if vendor == "openai":
        item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name}
        delta = {"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "fc_1"}
        done = {**item, "arguments": arguments, "status": "completed"}
        return sse(
            {"type": "response.created", "response": {"id": "resp_1"}},
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}},
            *({**delta, "delta": piece} for piece in pieces),
            {"type": "response.output_item.done", "output_index": 0, "item": done},
            {"type": "response.completed", "response": {"id": "resp_1", "output": [done]}},
        )
    if vendor == "openai-chat":
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        return sse(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [first]}}]},
            *(
                {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}
                for piece in pieces
            ),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
            done=True,
        )
    if vendor == "anthropic":
        block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        return sse(
            {"type": "message_start", "message": {"model": "m"}},
            {"type": "content_block_start", "index": 0, "content_block": block},
            *(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": piece},
                }
                for piece in pieces
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        )
    if vendor == "gemini":
        part = {"functionCall": {"name": name, "args": whole}}
        return sse({"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}]})
    made = {"function": {"name": name, "arguments": whole}}
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [made]}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]
    return Answer(b"".join(json.dumps(line).encode() + b"\n" for line in lines), content_type="application/x-ndjson")
