"""Items to chat messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from open_responses.errors import InvalidRequest
from open_responses.items import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    OutputText,
    Reasoning,
    Refusal,
    SystemMessage,
    UserMessage,
)
from open_responses.json_types import JsonObject


def chat_messages(items: Sequence[InputItem], instructions: str | None) -> list[JsonObject]:
    """The conversation, instructions first. Calls join the assistant's message before them, as the API wants it.

    Reasoning is left out: a chat server does not take it back. Raises InvalidRequest for what it cannot take at all.
    """
    messages: list[JsonObject] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    for index, item in enumerate(items):
        if isinstance(item, FunctionCall):
            _add_call(messages, item)
        elif not isinstance(item, Reasoning):
            messages.append(_message(item, index))
    return messages


def _message(item: InputItem, index: int) -> JsonObject:
    if isinstance(item, UserMessage):
        return {"role": "user", "content": _content(item.content, index)}
    if isinstance(item, SystemMessage | DeveloperMessage):
        # `developer` is OpenAI's own; every compatible server knows `system`.
        return {"role": "system", "content": _content(item.content, index)}
    if isinstance(item, AssistantMessage):
        return {"role": "assistant", "content": _content(item.content, index)}
    if isinstance(item, FunctionCallOutput):
        return {"role": "tool", "tool_call_id": item.call_id, "content": _content(item.output, index)}
    raise InvalidRequest(
        f"The route's provider cannot take an item of type {getattr(item, 'type', None)!r}.",
        param=f"input[{index}]",
        code="unsupported_item",
    )


def _add_call(messages: list[JsonObject], item: FunctionCall) -> None:
    call = {"id": item.call_id, "type": "function", "function": {"name": item.name, "arguments": item.arguments}}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _content(content: Any, index: int) -> str | list[JsonObject]:
    """A string where text is all there is: some servers know no parts."""
    if isinstance(content, str):
        return content
    parts = [_part(part, index) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Any, index: int) -> JsonObject:
    if isinstance(part, InputText | OutputText):
        return {"type": "text", "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.refusal}
    if isinstance(part, InputImage) and part.image_url:
        image: JsonObject = {"url": part.image_url}
        return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
    if isinstance(part, InputFile) and part.file_data:
        return {"type": "file", "file": {"filename": part.filename or "file", "file_data": part.file_data}}
    raise InvalidRequest(
        f"The route's provider cannot take a content part of type {part.type!r} in this form.",
        param=f"input[{index}].content",
        code="unsupported_content",
    )
