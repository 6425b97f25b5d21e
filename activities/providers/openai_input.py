"""A turn as the body of OpenAI's `POST /responses`: the whole conversation, stored nowhere.

Ids of items are left out wherever OpenAI does not demand them: it refuses one without the item's prefix ("Expected an
ID that begins with 'msg'") and looks others up that it never stored ("Items are not persisted when `store` is set to
false"). Members that OpenAI does not know are refused too, so that each item is written from the members it has.

Sources: OpenAI's API reference, `POST /responses`, by the types of its Python SDK (openai 3.54,
`types/responses/response_create_params.py`, `response_input_item_param.py`), and its refusals as reported in
openai/codex#33176 (ids), pydantic/pydantic-ai#2865 (encrypted content), vercel/ai#7543 and its fixture
`issue-22343-live-web-search-store-false.json` (`store: false`).
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Sequence
from typing import Any

from open_responses import sealed_reasoning
from open_responses.contracts import SampleCall
from open_responses.errors import InvalidRequest
from open_responses.items import (
    SLUG,
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    OpaqueItem,
    OutputText,
    Reasoning,
    Refusal,
    SystemMessage,
    UserMessage,
)
from open_responses.json_types import JsonObject
from open_responses.tools import AllowedTools, FunctionChoice, FunctionTool, McpChoice

ENCRYPTED_REASONING = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
# These refuse a request for encrypted reasoning, and reasoning in their input.
_WITHOUT_REASONING = re.compile(r"(?:^|[/:])(?:gpt-3\.5|gpt-4|chatgpt|gpt-5-chat)")
_ID_PREFIXES = {
    "code_interpreter_call": "ci_",
    "file_search_call": "fs_",
    "image_generation_call": "ig_",
    "web_search_call": "ws_",
}
# What OpenAI reads back of a text's annotations; other providers have kinds of their own.
_ANNOTATIONS = frozenset({"container_file_citation", "file_citation", "file_path", "url_citation"})
_UNIONS = ("allOf", "anyOf", "oneOf")
_NOT_AT_THE_TOP = frozenset({*_UNIONS, "enum", "not"})


def request_body(call: SampleCall, provider: str, *, background: bool) -> JsonObject:
    """The upstream request. What the client did not set is not sent.

    What grows or changes from turn to turn stands at the end, so that the bytes before it stay the same. `provider` is
    the name that reasoning was sealed with. Raises InvalidRequest for what OpenAI cannot take at all.
    """
    reasons = _WITHOUT_REASONING.search(call.model) is None
    body: JsonObject = {"model": call.model, "stream": True, "store": background}
    if background:
        body["background"] = True
    include = _include(call, reasons)
    if include:
        body["include"] = include
    body |= _settings(call) | _tools(call)
    items = call.items if reasons else [item for item in call.items if not isinstance(item, Reasoning)]
    body["input"] = input_items(items, provider, stored=background)
    body |= _tool_choice(call)
    if call.max_output_tokens is not None:
        body["max_output_tokens"] = call.max_output_tokens
    return body


def _include(call: SampleCall, reasons: bool) -> list[str]:
    wanted: list[str] = [ENCRYPTED_REASONING, *(call.request.include or [])]
    if call.request.top_logprobs:
        wanted.append(_LOGPROBS)
    return [name for name in dict.fromkeys(wanted) if reasons or name != ENCRYPTED_REASONING]


def _settings(call: SampleCall) -> JsonObject:
    asked = call.request
    settings: JsonObject = {"instructions": asked.instructions} if asked.instructions else {}
    for name in ("temperature", "top_p", "top_logprobs", "service_tier", "prompt_cache_key", "safety_identifier"):
        value = getattr(asked, name)
        if value is not None:
            settings[name] = value
    for name in ("reasoning", "text"):
        value = getattr(asked, name)
        given = {} if value is None else value.model_dump(mode="json", by_alias=True, exclude_none=True)
        if given:
            settings[name] = given
    return settings


# --- tools


def _tools(call: SampleCall) -> JsonObject:
    tools = [_function(tool) for tool in call.tools] + [dict(tool) for tool in call.provider_tools]
    if not tools:
        return {}
    parallel = call.request.parallel_tool_calls
    return {"tools": tools} | ({} if parallel is None else {"parallel_tool_calls": parallel})


def _function(tool: FunctionTool) -> JsonObject:
    """`strict` is always sent: where it is absent OpenAI takes it for true, and refuses schemas that do not fit."""
    function: JsonObject = {"type": "function", "name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    return function | {"parameters": _schema(tool), "strict": tool.strict is True}


def _schema(tool: FunctionTool) -> JsonObject:
    """OpenAI wants an object with properties, and no union at its top: there, the branches' properties are joined."""
    given = tool.parameters or {}
    if tool.strict:
        return given or {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    properties: JsonObject = {}
    required = _list_in(given, "required")
    for union in _UNIONS:
        for branch in _list_in(given, union):
            properties |= _object_in(branch, "properties")
            required = required + (_list_in(branch, "required") if union == "allOf" else [])
    schema = {key: value for key, value in given.items() if key not in _NOT_AT_THE_TOP}
    schema = {"type": "object", **schema, "properties": properties | _object_in(given, "properties")}
    return schema | ({"required": list(dict.fromkeys(required))} if required else {})


def _object_in(value: Any, name: str) -> JsonObject:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _list_in(value: Any, name: str) -> list[Any]:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else []


def _tool_choice(call: SampleCall) -> JsonObject:
    choice = call.tool_choice
    if not (call.tools or call.provider_tools):
        return {}
    match choice:
        case None:
            return {}
        case str():
            return {"tool_choice": choice}
        case FunctionChoice():
            return {"tool_choice": {"type": "function", "name": choice.name}}
        case AllowedTools():
            return {"tool_choice": _allowed(choice, call.tools)}
        case McpChoice():
            # The offer names the functions of an MCP server by themselves; this is what is left of it without one.
            return {"tool_choice": "required"}


def _allowed(choice: AllowedTools, tools: Sequence[FunctionTool]) -> str | JsonObject:
    """OpenAI's own form, where it can say the same: it knows `auto` and `required`, and only tools that were sent.

    MCP tools are functions here, under names that the choice does not tell; the server enforces the set by itself.
    """
    known = {tool.name for tool in tools}
    names = [named.name for named in choice.tools if isinstance(named, FunctionChoice) and named.name in known]
    if choice.mode == "none" or len(names) < len(choice.tools):
        return choice.mode
    return {
        "type": "allowed_tools",
        "mode": choice.mode,
        "tools": [{"type": "function", "name": name} for name in names],
    }


# --- items


def input_items(items: Sequence[InputItem], provider: str, *, stored: bool = False) -> list[JsonObject]:
    """The conversation, item by item. `stored`: OpenAI keeps the items of this conversation by their ids."""
    written: list[JsonObject] = []
    for index, item in enumerate(items):
        if isinstance(item, Reasoning):
            written += _reasoning(item, provider, stored) if _is_followed(items, index) else []
        elif isinstance(item, OpaqueItem):
            written += _opaque(item, index)
        else:
            written.append(_item(item, index))
    return written


def _item(item: InputItem, index: int) -> JsonObject:
    match item:
        case UserMessage() | SystemMessage() | DeveloperMessage():
            content = _content(item.content, f"input[{index}].content", {"detail": "auto"})
            return {"type": "message", "role": item.role, "content": content}
        case AssistantMessage():
            phase = {"phase": item.phase} if item.phase is not None else {}
            return {"type": "message", "role": "assistant", "content": _answer(item.content), **phase}
        case FunctionCall():
            call = {"type": "function_call", "call_id": item.call_id, "name": item.name}
            return {**call, "arguments": item.arguments or "{}"}
        case FunctionCallOutput():
            output = _content(item.output, f"input[{index}].output", {})
            return {"type": "function_call_output", "call_id": item.call_id, "output": output}
    raise _unsupported(item, index)


def _unsupported(item: InputItem, index: int) -> InvalidRequest:
    return InvalidRequest(
        f"The route's provider cannot take an item of type {getattr(item, 'type', None)!r}.",
        param=f"input[{index}]",
        code="unsupported_item",
    )


def _answer(content: Any) -> str | list[JsonObject]:
    """A string where plain text is all there is: the form that OpenAI and the servers that follow it all take."""
    if isinstance(content, str):
        return content
    parts = [_answer_part(part) for part in content]
    if len(parts) == 1 and parts[0]["type"] == "output_text" and not parts[0]["annotations"]:
        return str(parts[0]["text"])
    return parts


def _answer_part(part: OutputText | Refusal) -> JsonObject:
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.refusal}
    annotations = [a.model_dump(mode="json", exclude_unset=True) for a in part.annotations or []]
    known = [annotation for annotation in annotations if annotation["type"] in _ANNOTATIONS]
    return {"type": "output_text", "text": part.text, "annotations": known}


def _content(content: Any, path: str, image: JsonObject) -> str | list[JsonObject]:
    if isinstance(content, str):
        return content
    return [_part(part, f"{path}[{index}]", image) for index, part in enumerate(content)]


def _part(part: Any, path: str, image: JsonObject) -> JsonObject:
    """`image` are an image's defaults: the API's reference has `detail` as required in a message."""
    match part:
        case InputText():
            written: JsonObject = {"type": "input_text", "text": part.text}
        case InputImage():
            written = {"type": "input_image", **image, **_image(part)}
        case InputFile():
            written = {"type": "input_file", **_file(part)}
        case _:
            # "Invalid value: 'input_audio'": the Responses API has no sound (community.openai.com/t/1364108).
            raise InvalidRequest(
                f"The route's provider cannot take a content part of type {part.type!r}.",
                param=path,
                code="unsupported_content",
            )
    breakpoint_ = (part.model_extra or {}).get("prompt_cache_breakpoint")
    return written if breakpoint_ is None else {**written, "prompt_cache_breakpoint": breakpoint_}


def _image(part: InputImage) -> JsonObject:
    source = {"file_id": part.file_id} if part.image_url is None else {"image_url": part.image_url}
    return source | ({"detail": part.detail} if part.detail is not None else {})


def _file(part: InputFile) -> JsonObject:
    """One source, as OpenAI demands it; data as a data URL, with a name that tells its kind."""
    detail = (part.model_extra or {}).get("detail")
    shown = {} if detail is None else {"detail": detail}
    if part.file_data is None:
        return ({"file_url": part.file_url} if part.file_url is not None else {"file_id": part.file_id}) | shown
    data, kind = part.file_data, "application/pdf"
    if data.startswith("data:"):
        kind = re.split("[;,]", data[len("data:") :], maxsplit=1)[0] or kind
    else:
        kind = mimetypes.guess_type(part.filename or "")[0] or kind
        data = f"data:{kind};base64,{data}"
    return {"filename": part.filename or f"file{mimetypes.guess_extension(kind) or ''}", "file_data": data} | shown


# --- reasoning and built-in tools


def seal_of(item: JsonObject) -> str | None:
    """What a reasoning item of the answer is sent back as, as JSON; None for one that cannot be.

    OpenAI's reasoning is encrypted; open models behind the same API give its text instead, and want that.
    """
    kept = {"id": item.get("id"), "summary": item.get("summary") or []}
    for name in ("encrypted_content", "content"):
        if item.get(name):
            return json.dumps({**kept, name: item[name]}, ensure_ascii=False)
    return None


def _reasoning(item: Reasoning, provider: str, stored: bool) -> list[JsonObject]:
    """Ours by its seal, a client's own from OpenAI by what it encrypts; another provider's, or bare text, is left out.

    Of an id that OpenAI has stored it wants the item behind by its id as well, which is not sent (vercel/ai#7099).
    """
    encrypted = item.encrypted_content
    if encrypted and not sealed_reasoning.is_marked(encrypted):
        summary = [{"type": "summary_text", "text": part.text} for part in item.summary]
        return [{"type": "reasoning", "summary": summary, "encrypted_content": encrypted}]
    kept = _unsealed(sealed_reasoning.content_for(provider, encrypted))
    if kept is None:
        return []
    if stored and "encrypted_content" in kept:
        kept.pop("id", None)
    return [{"type": "reasoning", **{name: value for name, value in kept.items() if value is not None}}]


def _unsealed(sealed: str | None) -> JsonObject | None:
    try:
        kept = json.loads(sealed or "null")
    except ValueError:
        return None
    return kept if isinstance(kept, dict) else None


def _is_followed(items: Sequence[InputItem], index: int) -> bool:
    """Whether what it led to stands behind it: OpenAI refuses reasoning "without its required following item"."""
    for item in items[index + 1 :]:
        if not isinstance(item, Reasoning):
            return isinstance(item, AssistantMessage | FunctionCall) or (
                isinstance(item, OpaqueItem) and item.is_from("openai")
            )
    return False


def _opaque(item: OpaqueItem, index: int) -> list[JsonObject]:
    if item.is_from("openai"):
        return [item.model_dump(mode="json", exclude_unset=True) | {"id": _id_of(item)}]
    if item.is_record or item.type.startswith(SLUG):
        return []
    raise _unsupported(item, index)


def _id_of(item: OpaqueItem) -> str:
    """These items need an id, of which OpenAI checks the prefix alone when nothing is stored."""
    prefix, given = _ID_PREFIXES[item.type], item.id or "0"
    return given if given.startswith(prefix) else prefix + given.rpartition("_")[2]
