"""Calls of the client's tools as function calls, and back.

A provider of OpenAI's kind writes and reads the items of these calls itself. Any other provider's model calls a
function (`client_functions.py`): `call_item` makes the client's item of such a call, and `as_function_calls` makes
function calls of the items that a conversation holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from open_responses.json_types import JsonObject
from open_responses.schema.client_items import (
    AdditionalTools,
    AnyClientCall,
    AnyClientOutput,
    ApplyPatchCall,
    ApplyPatchCallOutput,
    ConfigurationUpdate,
    CustomToolCall,
    CustomToolCallOutput,
    LocalShellCall,
    LocalShellCallOutput,
    ShellCall,
    ShellCallOutput,
    ToolSearchCall,
    ToolSearchOutput,
    paired_id,
)
from open_responses.schema.client_tools import CustomTool
from open_responses.schema.content import InputText, ToolOutput, ToolOutputPart
from open_responses.schema.items import FunctionCall, FunctionCallOutput, InputItem
from open_responses.schema.tools import FunctionTool, NamespaceTool, Tool
from open_responses.tool_use.client_functions import Form
from open_responses.tool_use.custom_input import INPUT
from open_responses.tool_use.json_safety import MAX_DEPTH, too_deep, whole_characters

ShownName: TypeAlias = Callable[[Form, str | None, str], str]
"""(kind, namespace, name) -> the name of the function that stands for the tool."""


# --- items of a conversation to function calls


def as_function_calls(items: Sequence[InputItem], shown_name: ShownName) -> list[InputItem]:
    """The items, with each call of a client's tool and its output as those of a function.

    Items that change what is offered are left out, as are searches that a provider ran: their tools are in the tool
    table. Items of a computer stay, since no function stands for it.
    """
    read = [told for item in items if (told := _told(item, shown_name)) is not None]
    return _with_one_output_each(read) if any(isinstance(item, CustomToolCallOutput) for item in items) else read


def _with_one_output_each(items: Sequence[InputItem]) -> list[InputItem]:
    """The items, with the further outputs of a call joined to its first: a provider takes one for each call."""
    joined: list[InputItem] = []
    places: dict[str, int] = {}
    for item in items:
        if isinstance(item, FunctionCall):
            places.pop(item.call_id, None)
        elif isinstance(item, FunctionCallOutput):
            place = places.setdefault(item.call_id, len(joined))
            if place < len(joined):
                first = joined[place]
                assert isinstance(first, FunctionCallOutput)
                output = [*_with_line_end(_parts(first.output)), *_parts(item.output)]
                joined[place] = first.model_copy(update={"output": output})
                continue
        joined.append(item)
    return joined


def _parts(output: ToolOutput) -> list[ToolOutputPart]:
    return [InputText(type="input_text", text=output)] if isinstance(output, str) else output


def _with_line_end(parts: list[ToolOutputPart]) -> list[ToolOutputPart]:
    """The parts, with a line's end behind a text at their end: some APIs take one text, and join the parts to it."""
    last = parts[-1] if parts else None
    if not isinstance(last, InputText) or not last.text or last.text.endswith("\n"):
        return parts
    return [*parts[:-1], last.model_copy(update={"text": f"{last.text}\n"})]


def _told(item: InputItem, shown_name: ShownName) -> InputItem | None:
    match item:
        case FunctionCall(namespace=str(namespace)):
            shown = shown_name("function", namespace, item.name)
            return item.model_copy(update={"name": shown, "namespace": None})
        case CustomToolCall():
            shown = shown_name("custom", item.namespace, item.name)
            return _call(item.call_id, shown, {INPUT: item.input}, item.status)
        case CustomToolCallOutput():
            return FunctionCallOutput(
                type="function_call_output", call_id=item.call_id, output=item.output, status=item.status
            )
        case AdditionalTools() | ConfigurationUpdate():
            return None
        case ShellCall() | LocalShellCall() | ApplyPatchCall() | ToolSearchCall():
            return _client_call(item, shown_name)
        case ShellCallOutput() | LocalShellCallOutput() | ApplyPatchCallOutput() | ToolSearchOutput():
            return _client_output(item)
        case _:
            return item


def _client_call(item: AnyClientCall, shown_name: ShownName) -> InputItem | None:
    call_id = paired_id(item)
    match item:
        case ToolSearchCall():
            if call_id is None:
                return None
            arguments = item.arguments if isinstance(item.arguments, dict) else {}
            return _call(call_id, shown_name("tool_search", None, "tool_search"), arguments, item.status)
        case ShellCall() if call_id is not None:
            arguments = _given(item.action.model_dump(mode="json"))
            return _call(call_id, shown_name("shell", None, "shell"), arguments, item.status)
        case LocalShellCall() if call_id is not None:
            arguments = _given(item.action.model_dump(mode="json"))
            arguments.pop("type", None)
            return _call(call_id, shown_name("local_shell", None, "local_shell"), arguments, item.status)
        case ApplyPatchCall() if call_id is not None:
            arguments = _given(item.operation.model_dump(mode="json"))
            return _call(call_id, shown_name("apply_patch", None, "apply_patch"), arguments, item.status)
        case _:
            # Without an id, its provider has run the call. Its answer is in the conversation, too.
            return None


def _client_output(item: AnyClientOutput) -> InputItem | None:
    call_id = paired_id(item)
    match item:
        case ToolSearchOutput():
            return None if call_id is None else _output(call_id, _found(item.tools))
        case ShellCallOutput() if call_id is not None:
            shown = [entry.model_dump(mode="json") for entry in item.output]
            return _output(call_id, json.dumps(shown, ensure_ascii=False))
        case LocalShellCallOutput() if call_id is not None:
            return _output(call_id, item.output)
        case ApplyPatchCallOutput() if call_id is not None:
            said = f": {item.output}" if item.output else ""
            return _output(call_id, f"{item.status}{said}")
        case _:
            return None


def _call(call_id: str, name: str, arguments: JsonObject, status: Any) -> FunctionCall:
    written = json.dumps(arguments, ensure_ascii=False)
    return FunctionCall(type="function_call", call_id=call_id, name=name, arguments=written, status=status)


def _output(call_id: str, text: str) -> FunctionCallOutput:
    part = InputText(type="input_text", text=text)
    return FunctionCallOutput(type="function_call_output", call_id=call_id, output=[part])


def _given(members: JsonObject) -> JsonObject:
    return {name: value for name, value in members.items() if value is not None}


def _found(tools: Sequence[Tool]) -> str:
    names = [name for tool in tools for name in _names_of(tool)]
    return f"Found, and ready to be called: {', '.join(names)}." if names else "No tools were found."


def _names_of(tool: Tool) -> list[str]:
    if isinstance(tool, NamespaceTool):
        return [f"{tool.name}.{inner.name}" for inner in tool.tools]
    return [tool.name] if isinstance(tool, FunctionTool | CustomTool) else [tool.type]


# --- function calls to items


_64_BITS = 2**63


class NotACall(ValueError):
    """The model's arguments do not make a call of the tool. The message is for the model."""


def call_item(form: Form, item_id: str, call_id: str, arguments: str) -> JsonObject:
    """The item of a call, whole. Raises NotACall."""
    read = _object(arguments)
    at: JsonObject = {"id": item_id, "call_id": call_id, "status": "completed"}
    match form:
        case "tool_search":
            return {"type": "tool_search_call", **at, "execution": "client", "arguments": read}
        case "shell":
            limits = {name: _whole_number(read.get(name)) for name in ("timeout_ms", "max_output_length")}
            action = {"commands": _texts(read, "commands"), **limits}
            return {"type": "shell_call", **at, "action": action, "environment": None}
        case "local_shell":
            return {"type": "local_shell_call", **at, "action": _local_action(read)}
        case "apply_patch":
            return {"type": "apply_patch_call", **at, "operation": _operation(read)}
        case _:
            raise AssertionError(f"calls of {form} are streamed")


def _object(arguments: str) -> JsonObject:
    try:
        read = _parsed(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError) as error:
        raise NotACall(f"The arguments are not valid JSON ({error}). Call the tool again with a JSON object.") from None
    if not isinstance(read, dict):
        raise NotACall("The arguments must be a JSON object. Call the tool again with one.")
    if too_deep(read):
        raise NotACall(f"The arguments are nested more than {MAX_DEPTH} levels deep. Call the tool again with less.")
    whole: JsonObject = _writable(read)
    return whole


def _parsed(arguments: str) -> Any:
    """Read JSON into numbers that can be written again: no NaN, and nothing that an event has no form for."""
    return json.loads(
        arguments, strict=False, parse_int=_number, parse_float=_finite, parse_constant=lambda constant: None
    )


def _number(digits: str) -> int | float | None:
    number = int(digits)
    return number if abs(number) < _64_BITS else _finite(digits)


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _writable(value: Any) -> Any:
    """The value with texts that can be written: JSON's escapes can name half of a surrogate pair."""
    match value:
        case str():
            return whole_characters(value)
        case dict():
            return {whole_characters(name): _writable(inner) for name, inner in value.items()}
        case list():
            return [_writable(inner) for inner in value]
        case _:
            return value


def _texts(read: JsonObject, name: str) -> list[str]:
    value = read.get(name)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise NotACall(f"The argument {name!r} must be an array of strings. Call the tool again with one.")
    return value


def _whole_number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53 else None


def _local_action(read: JsonObject) -> JsonObject:
    env = read.get("env")
    command = read.get("command")
    return {
        "type": "exec",
        # A model that gives one text means a line for the shell.
        "command": ["bash", "-lc", command] if isinstance(command, str) else _texts(read, "command"),
        "env": {str(name): str(value) for name, value in env.items()} if isinstance(env, dict) else {},
        "timeout_ms": _whole_number(read.get("timeout_ms")),
        "user": _text_or_none(read.get("user")),
        "working_directory": _text_or_none(read.get("working_directory")),
    }


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _operation(read: JsonObject) -> JsonObject:
    given = read["operation"] if isinstance(read.get("operation"), dict) else read
    kind, path, diff = given.get("type"), given.get("path"), given.get("diff")
    if kind not in ("create_file", "update_file", "delete_file"):
        raise NotACall("The argument 'type' must be create_file, update_file or delete_file. Call the tool again.")
    if not isinstance(path, str) or not path:
        raise NotACall("The argument 'path' must be the file's path. Call the tool again with one.")
    if kind == "delete_file":
        return {"type": kind, "path": path}
    if not isinstance(diff, str):
        raise NotACall("The argument 'diff' must be a string. Call the tool again with one.")
    return {"type": kind, "path": path, "diff": diff}
