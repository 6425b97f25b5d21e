"""Repairs of what an MCP server answers, before the SDK checks it.

What this prevents: the SDK rejects a whole list of tools for one odd schema or hint, and a whole result for one block
of a type that it does not know. Here the odd part is replaced, and a text says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from open_responses.json_types import JsonObject

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_CACHE_SCOPES = ("public", "private")
_SHOWN_CHARACTERS = 1000
# Schemas are followed this deep; deeper ones are left out by the check of their cost.
_MAX_DEPTH = 100


def repaired(result: JsonObject, called: str | None) -> JsonObject:
    """The result of a request as the SDK takes it.

    Args:
        result: The JSON-RPC result of `tools/list`, `tools/call` or any other request.
        called: The tool that the session calls; None if it only lists. The schema of any other tool's output is not
            used, and left out.
    """
    if "tools" in result:
        return _list(result, called)
    if "content" in result or "structuredContent" in result or "isError" in result:
        return _call_result(result)
    return result


# --- lists of tools


def _list(result: JsonObject, called: str | None) -> JsonObject:
    listed = result["tools"] if isinstance(result["tools"], list) else []
    tools = [_tool(tool, called) for tool in listed if isinstance(tool, dict) and _is_named(tool)]
    kept = {key: value for key, value in result.items() if key not in ("nextCursor", "ttlMs", "cacheScope")}
    if isinstance(result.get("nextCursor"), str):
        kept["nextCursor"] = result["nextCursor"]
    ttl = result.get("ttlMs")
    if isinstance(ttl, int | float) and not isinstance(ttl, bool):
        kept["ttlMs"] = max(0, int(ttl))
    if result.get("cacheScope") in _CACHE_SCOPES:
        kept["cacheScope"] = result["cacheScope"]
    return {**kept, "tools": tools}


def _is_named(tool: JsonObject) -> bool:
    return isinstance(tool.get("name"), str) and bool(tool["name"])


def _tool(tool: JsonObject, called: str | None) -> JsonObject:
    """Only the members that are used here."""
    schema, problem = _input_schema(tool.get("inputSchema"))
    described = tool["description"] if isinstance(tool.get("description"), str) else None
    if problem is not None:
        note = f"[The server's schema of the arguments is left out: {problem}.]"
        described = f"{described} {note}" if described else note
    kept: JsonObject = {"name": tool["name"], "inputSchema": schema}
    if described is not None:
        kept["description"] = described
    hints = _annotations(tool.get("annotations"))
    if hints:
        kept["annotations"] = hints
    output = tool.get("outputSchema")
    if called == tool["name"] and isinstance(output, dict) and _is_output_schema(output):
        kept["outputSchema"] = output
    return kept


def _input_schema(given: Any) -> tuple[JsonObject, str | None]:
    """(an object's schema, what was wrong with the given one)."""
    anything: JsonObject = {"type": "object", "properties": {}}
    if given is None or given == {}:
        return anything, None
    if not isinstance(given, dict):
        return anything, "it is not an object"
    schema = _with_known_types(given, _MAX_DEPTH)
    kind = schema.get("type", "object")
    if (isinstance(kind, list) and "object" in kind) or kind is None:
        schema = {**schema, "type": "object"}
    elif kind != "object":
        return anything, "its 'type' must be 'object', since a call names its arguments"
    # Servers in Go write null for an empty map or list.
    schema = {k: v for k, v in schema.items() if v is not None or k not in ("properties", "required", "$defs")}
    return {"type": "object", "properties": {}, **schema}, None


def _with_known_types(node: Any, depth: int) -> Any:
    """The schema with JSON Schema's names of types, which some servers write in capitals."""
    if depth == 0:
        return node
    if isinstance(node, list):
        return [_with_known_types(inner, depth - 1) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _known_type(value) if key == "type" else value if key in _VALUES else _with_known_types(value, depth - 1)
        for key, value in node.items()
    }


_VALUES = frozenset({"const", "default", "enum", "example", "examples"})


def _known_type(value: Any) -> Any:
    if isinstance(value, str):
        return value.lower() if value.lower() in _TYPES else value
    if isinstance(value, list):
        return [_known_type(one) for one in value]
    # A property may have the name `type`.
    return _with_known_types(value, _MAX_DEPTH) if isinstance(value, dict) else value


def _annotations(given: Any) -> JsonObject:
    if not isinstance(given, dict):
        return {}
    kept: JsonObject = {name: given[name] for name in _HINTS if isinstance(given.get(name), bool)}
    if isinstance(given.get("title"), str):
        kept["title"] = given["title"]
    return kept


def _is_output_schema(schema: JsonObject) -> bool:
    """Whether a result can be checked against the schema."""
    if schema.get("type") != "object":
        return False
    try:
        return jsonschema_rs.meta.is_valid(schema)
    except (jsonschema_rs.ReferencingError, ValueError, RecursionError):
        return False


# --- results of calls


def _call_result(result: JsonObject) -> JsonObject:
    kept = dict(result)
    content = result.get("content")
    blocks = content if isinstance(content, list) else [] if content is None else [content]
    kept["content"] = [_block(block) for block in blocks]
    if not isinstance(result.get("isError", False), bool):
        kept["isError"] = str(result["isError"]).lower() == "true"
    structured = result.get("structuredContent")
    if structured is not None and not isinstance(structured, dict):
        # An object alone, in the versions of the protocol that most servers have.
        del kept["structuredContent"]
        if not kept["content"]:
            kept["content"] = [_text(json.dumps(structured, ensure_ascii=False))]
    elif "structuredContent" in kept and structured is None:
        del kept["structuredContent"]
    return kept


def _block(block: Any) -> JsonObject:
    """The block with the members that are used here; a text about one that is not as MCP has it."""
    if isinstance(block, str):
        return _text(block)
    if not isinstance(block, dict):
        return _text(json.dumps(block, ensure_ascii=False))
    kind = block.get("type")
    members = _members(block, kind) if isinstance(kind, str) else None
    if members is not None:
        return {"type": kind, **members}
    shown = json.dumps(block, ensure_ascii=False)
    cut = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]} …"
    return _text(f"[content of type {str(kind)[:100]!r}, which this server does not know: {cut}]")


def _members(block: JsonObject, kind: str) -> JsonObject | None:
    """The members of a block of a known type; None if it lacks one of them."""
    match kind, block:
        case "text", {"text": str(text)}:
            return {"text": text}
        case "image" | "audio", {"data": str(data)}:
            media = block.get("mimeType")
            return {"data": data, "mimeType": media if isinstance(media, str) else ""}
        case "resource", {"resource": {"uri": str(uri)} as resource}:
            return _resource(uri, resource)
        case "resource_link", {"uri": str(uri)}:
            named = {key: block[key] for key in ("title", "description", "mimeType") if isinstance(block.get(key), str)}
            name = block.get("name")
            return {"uri": uri, "name": name if isinstance(name, str) and name else uri, **named}
    return None


def _resource(uri: str, resource: Mapping[str, Any]) -> JsonObject | None:
    media = {"mimeType": resource["mimeType"]} if isinstance(resource.get("mimeType"), str) else {}
    if isinstance(resource.get("text"), str):
        return {"resource": {"uri": uri, "text": resource["text"], **media}}
    if isinstance(resource.get("blob"), str):
        return {"resource": {"uri": uri, "blob": resource["blob"], **media}}
    return None


def _text(text: str) -> JsonObject:
    return {"type": "text", "text": text}
