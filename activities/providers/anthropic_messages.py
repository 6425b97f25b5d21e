"""Items to Anthropic's system blocks, messages and tools, with the places where its prompt cache may break.

What this prevents: a conversation that the API refuses for its form (results apart from their calls, blank text, an id
with a dot, an answer of the assistant at the end), and a prefix that differs from the last turn's and is paid for anew.

Sources: platform.claude.com/docs, Messages API, prompt caching, structured outputs, mid-conversation system messages;
the types of Anthropic's Python SDK 2.14.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from open_responses import sealed_reasoning
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
from open_responses.tools import FunctionTool

BLOCK_ID = "block_id"
"""Where a provider item keeps the vendor's `id` of its block: `id` is ours."""

# The API takes no conversation that begins or ends with the assistant.
_OPENING = "(The conversation so far.)"
_GO_ON = "Continue."
_BREAKPOINT = {"type": "ephemeral"}
_THOUGHTS = ("thinking", "redacted_thinking")
_MAX_STRICT_TOOLS = 20
_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^,;]*)*;base64,(.*)", re.DOTALL)
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF, _PDF_IN_BASE64 = "application/pdf", "JVBERi"
_BARE_ID = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(slots=True)
class _Turn:
    """What one side says before the other does. Results come first; `orders` are the system's words in the middle."""

    role: str
    results: list[JsonObject] = field(default_factory=list)
    blocks: list[JsonObject] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)

    def messages(self, *, has_system_role: bool) -> list[JsonObject]:
        """A system message has to stand between a user's and an assistant's: it follows what the user said."""
        content = [*self.results, *self.blocks]
        if self.orders and not (has_system_role and content):
            content += [_text(f"<system-reminder>\n{order}\n</system-reminder>") for order in self.orders]
            return [{"role": self.role, "content": content}]
        said: list[JsonObject] = [{"role": self.role, "content": content}]
        return said + ([{"role": "system", "content": [*map(_text, self.orders)]}] if self.orders else [])


def prompt_of(
    items: Sequence[InputItem],
    *,
    provider: str,
    instructions: str | None,
    words: Iterable[str | None],
    has_system_role: bool,
    prefix: str | None,
) -> tuple[list[JsonObject], list[JsonObject]]:
    """(system, messages). `words` are orders that the API has no parameter for.

    System and developer messages at the beginning go to `system`; those in the middle stay where they are: as the
    system's own messages where the model takes them, else in a `<system-reminder>` of the user's turn, as Anthropic
    advises. Raises InvalidRequest for what has no place.
    """
    lead = next(
        (i for i, item in enumerate(items) if not isinstance(item, SystemMessage | DeveloperMessage)), len(items)
    )
    orders = [instructions, *(_order(item) for item in items[:lead]), *words]
    system = [_text(order) for order in orders if order and order.strip()]
    turns: list[_Turn] = []
    for index, item in enumerate(items[lead:], lead):
        _add(turns, item, index, provider)
    if not turns or turns[0].role == "assistant":
        turns.insert(0, _Turn("user", blocks=[_text(_OPENING)]))
    if prefix:
        _turn(turns, "assistant").blocks.append(_text(prefix))
    elif turns[-1].role == "assistant" and not _is_paused(turns[-1]):
        turns.append(_Turn("user", blocks=[_text(_GO_ON)]))
    return system, [message for turn in turns for message in turn.messages(has_system_role=has_system_role)]


def _add(turns: list[_Turn], item: InputItem, index: int, provider: str) -> None:
    match item:
        case UserMessage():
            for block in _blocks(item.content, f"input[{index}].content"):
                _turn(turns, "user").blocks.append(block)
        case SystemMessage() | DeveloperMessage():
            if (order := _order(item)).strip():
                _turn(turns, "user").orders.append(order)
        case AssistantMessage():
            for block in _blocks(item.content, f"input[{index}].content"):
                _turn(turns, "assistant").blocks.append(block)
        case FunctionCall():
            _turn(turns, "assistant").blocks.append(_tool_use(item))
        case FunctionCallOutput():
            _turn(turns, "user").results.append(_tool_result(item, index))
        case Reasoning():
            if (thought := _thought(item, provider)) is not None:
                _turn(turns, "assistant").blocks.append(thought)
        case OpaqueItem() if item.is_from("anthropic"):
            _turn(turns, "assistant").blocks.append(_provider_block(item))
        case OpaqueItem() if item.is_record or item.type.startswith(SLUG):
            pass
        case _:
            raise InvalidRequest(
                f"The provider {provider!r} cannot take an item of type {getattr(item, 'type', None)!r}.",
                param=f"input[{index}]",
                code="unsupported_item",
            )


def _turn(turns: list[_Turn], role: str) -> _Turn:
    if not turns or turns[-1].role != role:
        turns.append(_Turn(role))
    return turns[-1]


def _is_paused(turn: _Turn) -> bool:
    """Whether the turn ends in the provider's own tools: it is handed back as it stands, and the model goes on."""
    last = turn.blocks[-1]["type"] if turn.blocks else ""
    return last == "server_tool_use" or (last != "tool_result" and last.endswith("_tool_result"))


def _order(item: Any) -> str:
    content = item.content
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _thought(item: Reasoning, provider: str) -> JsonObject | None:
    """The very block that came with the signature: one that is changed is refused."""
    content = sealed_reasoning.content_for(provider, item.encrypted_content)
    try:
        block = json.loads(content) if content else None
    except ValueError:
        return None
    return block if isinstance(block, dict) and block.get("type") in _THOUGHTS else None


def _provider_block(item: OpaqueItem) -> JsonObject:
    kept = {key: value for key, value in item.model_dump(exclude_unset=True).items() if key not in ("id", "status")}
    block_id = kept.pop(BLOCK_ID, None)
    return kept | ({"id": block_id} if block_id is not None else {})


# --- calls and results


def _tool_use(item: FunctionCall) -> JsonObject:
    return {"type": "tool_use", "id": _bare(item.call_id), "name": item.name, "input": _input(item.arguments)}


def _input(arguments: str) -> JsonObject:
    """The API wants an object. Arguments that are none are shown to the model as it wrote them."""
    try:
        read = json.loads(arguments or "{}")
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"invalid_json": arguments}


def _bare(call_id: str) -> str:
    """An id of another provider's may have characters that are refused here; two ids never become one."""
    if _BARE_ID.fullmatch(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode(errors="replace")).hexdigest()[:12]
    return f"{re.sub('[^a-zA-Z0-9_-]', '_', call_id)}_{digest}"


def _tool_result(item: FunctionCallOutput, index: int) -> JsonObject:
    content = _blocks(item.output, f"input[{index}].output")
    return {"type": "tool_result", "tool_use_id": _bare(item.call_id)} | ({"content": content} if content else {})


# --- content


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def _blocks(content: Any, path: str) -> list[JsonObject]:
    """Without blank text, which the API refuses."""
    if isinstance(content, str):
        return [_text(content)] if content.strip() else []
    blocks = [_block(part, f"{path}[{index}]") for index, part in enumerate(content)]
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _block(part: Any, path: str) -> JsonObject:
    match part:
        case InputText() | OutputText():
            return _text(part.text)
        case Refusal():
            return _text(part.refusal)
        case InputImage() if part.image_url:
            return _image(part.image_url, path)
        case InputFile() if part.file_data:
            return _file(part.file_data, part.filename, path)
        case InputFile() if part.file_url:
            return _document({"type": "url", "url": part.file_url}, part.filename)
    raise _unsupported(f"a content part of type {part.type!r} in this form", path)


def _image(url: str, path: str) -> JsonObject:
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media, data = _split(url, path)
    media = "image/jpeg" if media == "image/jpg" else media
    if media not in _IMAGES:
        raise _unsupported(f"an image of type {media!r}: it takes JPEG, PNG, GIF and WebP", path)
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def _file(data: str, filename: str | None, path: str) -> JsonObject:
    media, encoded = _split(data, path) if data.startswith("data:") else ("", data)
    if encoded.startswith(_PDF_IN_BASE64) or media == _PDF:
        return _document({"type": "base64", "media_type": _PDF, "data": encoded}, filename)
    if media.startswith("image/"):
        return _image(f"data:{media};base64,{encoded}", path)
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except binascii.Error:
        raise InvalidRequest("'file_data' is not base64.", param=path, code="invalid_value") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise _unsupported("a file that is neither PDF, text nor an image", path)
    return _document({"type": "text", "media_type": "text/plain", "data": text}, filename)


def _document(source: JsonObject, filename: str | None) -> JsonObject:
    return {"type": "document", "source": source} | ({"title": filename} if filename else {})


def _split(url: str, path: str) -> tuple[str, str]:
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise InvalidRequest("The data URL is not one in base64.", param=path, code="invalid_value")
    return found[1].lower(), found[2]


def _unsupported(what: str, path: str) -> InvalidRequest:
    return InvalidRequest(f"The route's provider cannot take {what}.", param=path, code="unsupported_content")


# --- tools


def tools_of(
    tools: Sequence[FunctionTool], provider_tools: Sequence[JsonObject], *, takes_strict: bool
) -> list[JsonObject]:
    """Functions, then the provider's own. `strict` goes along where the model has it and the schema can be told so."""
    is_strict = takes_strict and sum(tool.strict is True for tool in tools) <= _MAX_STRICT_TOOLS
    functions = [_function(tool, is_strict=is_strict and tool.strict is True) for tool in tools]
    return functions + [{"name": re.sub(r"_\d{8}$", "", tool["type"]), **tool} for tool in provider_tools]


def _function(tool: FunctionTool, *, is_strict: bool) -> JsonObject:
    function: JsonObject = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    schema = {"type": "object", "properties": {}, **(tool.parameters or {})}
    native = native_schema(schema) if is_strict else None
    return function | ({"input_schema": schema} if native is None else {"input_schema": native, "strict": True})


# --- schemas

_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_PASSED = ("title", "description", "enum", "const", "default")
_STRUCTURE = (
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "anyOf",
    "oneOf",
    "$defs",
    "definitions",
)
_NO_WORD_FOR = ("allOf", "patternProperties", "propertyNames", "not", "if", "prefixItems", "$dynamicRef")


class _Inexpressible(Exception):
    pass


def native_schema(schema: JsonObject) -> JsonObject | None:
    """The schema in the dialect of structured outputs, or None where it cannot be told (free-form objects, recursion).

    Objects are closed; bounds on numbers, texts and arrays become words in the description: they are checked by us.
    """
    try:
        _refuse_recursion(schema, schema, (), set())
        return _native(schema)
    except _Inexpressible:
        return None


def _native(node: Any) -> JsonObject:
    if not isinstance(node, dict) or any(word in node for word in _NO_WORD_FOR):
        raise _Inexpressible
    native: JsonObject = {key: node[key] for key in _PASSED if key in node}
    for key in ("$defs", "definitions"):
        if key in node:
            native[key] = {name: _native(inner) for name, inner in node[key].items()}
    if "$ref" in node:
        return native | {"$ref": node["$ref"]}
    variants = node.get("anyOf") or node.get("oneOf")
    if variants:
        if "properties" in node:
            raise _Inexpressible
        return native | {"anyOf": [_native(variant) for variant in variants]}
    if "type" in node:
        native["type"] = node["type"]
    elif "enum" not in node and "const" not in node:
        raise _Inexpressible
    return native | _members(node) | _said(node)


def _members(node: JsonObject) -> JsonObject:
    kind = node.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    members: JsonObject = {}
    if "object" in kinds:
        if node.get("additionalProperties", False) is not False or (
            "properties" not in node and "required" not in node
        ):
            raise _Inexpressible
        members["properties"] = {name: _native(inner) for name, inner in node.get("properties", {}).items()}
        members["additionalProperties"] = False
        if "required" in node:
            members["required"] = node["required"]
    if "array" in kinds:
        members["items"] = _native(node.get("items"))
        if node.get("minItems") in (0, 1):
            members["minItems"] = node["minItems"]
    if node.get("format") in _FORMATS:
        members["format"] = node["format"]
    return members


def _said(node: JsonObject) -> JsonObject:
    """What the dialect lacks, as part of the description."""
    known = (*_PASSED, *_STRUCTURE, *_members(node), "$schema", "$id")
    rest = {key: value for key, value in node.items() if key not in known}
    if not rest:
        return {}
    said = json.dumps(rest, ensure_ascii=False)
    return {"description": f"{node['description']}\n{said}" if node.get("description") else said}


def _refuse_recursion(node: Any, root: JsonObject, active: tuple[str, ...], done: set[str]) -> None:
    """Also refuses references to what is not there. `done` are those followed already: each is followed once."""
    if isinstance(node, list):
        for inner in node:
            _refuse_recursion(inner, root, active, done)
    if not isinstance(node, dict):
        return
    reference = node.get("$ref")
    if isinstance(reference, str) and reference not in done:
        if reference in active or not reference.startswith("#/"):
            raise _Inexpressible
        _refuse_recursion(_resolved(reference, root), root, (*active, reference), done)
        done.add(reference)
    for key, inner in node.items():
        if key not in ("$defs", "definitions", "enum", "const", "default"):
            _refuse_recursion(inner, root, active, done)


def _resolved(reference: str, root: JsonObject) -> Any:
    node: Any = root
    for step in reference[2:].split("/"):
        if not isinstance(node, dict) or step not in node:
            raise _Inexpressible
        node = node[step]
    return node


# --- the cache


def with_breakpoints(
    tools: list[JsonObject], system: list[JsonObject], messages: list[JsonObject]
) -> tuple[list[JsonObject], list[JsonObject], list[JsonObject]]:
    """Marks the ends of the tools, of the system's words, and of the user's last two turns: at most four, the API's
    limit. The newest turn is written to the cache; the one before it is where the last request's cache is found again,
    however many blocks lie between (the API looks back over 20).
    """
    said = [index for index, message in enumerate(messages) if message["role"] == "user"][-2:]
    marked = [
        {**message, "content": _marked(message["content"])} if index in said else message
        for index, message in enumerate(messages)
    ]
    return _marked(tools), _marked(system), marked


def _marked(blocks: list[JsonObject]) -> list[JsonObject]:
    return [*blocks[:-1], {**blocks[-1], "cache_control": _BREAKPOINT}] if blocks else []
