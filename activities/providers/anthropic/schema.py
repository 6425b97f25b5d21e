"""JSON Schema in the dialect of Anthropic's structured outputs and strict tools.

Source: platform.claude.com/docs, structured outputs (what a schema may hold).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from open_responses.json_types import JsonObject

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
    """Return the schema in the dialect of structured outputs, or None if the dialect cannot express it (free-form
    objects, recursion).

    Objects are closed. Bounds on numbers, texts and arrays become words in the description, and this server checks
    them.
    """
    try:
        _refuse_recursion(schema, schema, (), set())
        return _native(schema)
    except (_Inexpressible, RecursionError):
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
    members = _members(node)
    return native | members | _said(node, members)


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


def _said(node: JsonObject, members: Mapping[str, object]) -> JsonObject:
    """Return the keywords that the dialect lacks as a text for the description."""
    known = (*_PASSED, *_STRUCTURE, *members, "$schema", "$id")
    rest = {key: value for key, value in node.items() if key not in known}
    if not rest:
        return {}
    said = json.dumps(rest, ensure_ascii=False)
    return {"description": f"{node['description']}\n{said}" if node.get("description") else said}


def _refuse_recursion(node: Any, root: JsonObject, active: tuple[str, ...], done: set[str]) -> None:
    """Reject recursion, and references without a target. `done` are the references that were followed; each is followed
    once."""
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
