"""The input and output of models and tools as attributes of spans.

They are recorded only if the operator enables them by a variable.

The variable is that of OpenTelemetry's own instrumentations. Without it, a span has no content of a conversation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import orjson

from open_responses.events.event_types import CALL_TEXTS
from open_responses.json_types import JsonObject

_SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
# Collectors reject batches of some megabytes. The newest messages are the most useful ones.
_MAX_CHARACTERS = 60_000


def is_captured(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment enables contents."""
    return environ.get(_SWITCH, "").lower() in ("true", "span_only", "span_and_event")


def as_messages(items: Iterable[JsonObject]) -> str:
    """Items in the conventions' form of messages, as JSON. The oldest are left out where they are too long."""
    kept: list[str] = []
    size = 0
    for item in reversed(list(items)):
        message = orjson.dumps(_message(item), default=str).decode()
        size += len(message)
        if size > _MAX_CHARACTERS:
            break
        kept.append(message)
    return f"[{','.join(reversed(kept))}]"


def as_text(value: object) -> str:
    """Arguments or the result of a tool."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text[:_MAX_CHARACTERS]


def _message(item: JsonObject) -> JsonObject:
    kind = item.get("type", "message")
    if kind == "message":
        content = item.get("content")
        parts = [{"type": "text", "content": content}] if isinstance(content, str) else list(map(_part, content or []))
        return {"role": item.get("role", "assistant"), "parts": parts}
    if kind in ("function_call", "custom_tool_call", "mcp_call"):
        call = {"type": "tool_call", "id": item.get("call_id") or item.get("id"), "name": item.get("name")}
        return {"role": "assistant", "parts": [{**call, "arguments": item.get(CALL_TEXTS[kind])}]}
    if kind in ("function_call_output", "custom_tool_call_output"):
        result = {"type": "tool_call_response", "id": item.get("call_id"), "response": item.get("output")}
        return {"role": "tool", "parts": [result]}
    return {"role": "assistant", "parts": [item]}


def _part(part: JsonObject) -> JsonObject:
    """A part in the form of the conventions: a text, or only the kind of an image or a file."""
    text = part.get("text") or part.get("refusal")
    if text is not None:
        return {"type": "text", "content": text}
    return {"type": part.get("type", "unknown")}
