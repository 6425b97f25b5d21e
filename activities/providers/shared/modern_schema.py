"""Schemas of older drafts of JSON Schema in the form of draft 2020-12.

What this prevents: "JSON schema is invalid. It must match JSON Schema draft 2020-12" (Anthropic) and "array schema
missing items" (OpenAI), each a refusal of the whole request, for one property of one tool of an MCP server.
"""

from __future__ import annotations

from typing import Any

from open_responses.json_types import JsonObject

SCHEMAS_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Under these keys stand schemas by name, whose names are no keywords."""
VALUES = frozenset({"const", "default", "enum", "example", "examples"})
"""Under these keys stand values, whose members are no keywords either."""

_BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))


def modern_schema(schema: JsonObject) -> JsonObject:
    """The schema in the form of draft 2020-12. The given one is not changed, and returned if it has that form.

    Raises RecursionError for one that is nested too deeply.
    """
    modern: JsonObject = _modern({key: value for key, value in schema.items() if key != "$schema"})
    return schema if modern == schema else modern


def _modern(node: Any) -> Any:
    if isinstance(node, list):
        return [_modern(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    written: JsonObject = {}
    for key, value in node.items():
        if key in SCHEMAS_BY_NAME and isinstance(value, dict):
            written[key] = {name: _modern(inner) for name, inner in value.items()}
        else:
            written[key] = value if key in VALUES else _modern(value)
    _fix_bounds(written)
    _fix_arrays(written)
    _fix_required(written, node)
    return written


def _fix_bounds(schema: JsonObject) -> None:
    """Draft 4 has `exclusiveMinimum: true` beside `minimum`."""
    for bound, exclusive in _BOUNDS:
        if not isinstance(schema.get(exclusive), bool):
            continue
        if schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)


def _fix_arrays(schema: JsonObject) -> None:
    """Up to draft 2019-09, a list of `items` describes the first ones."""
    kind = schema.get("type")
    if isinstance(schema.get("items"), list):
        first = schema.pop("items")
        rest = schema.pop("additionalItems", None)
        schema["prefixItems"] = first
        schema["items"] = rest if isinstance(rest, dict) else {"anyOf": first} if first else {}
        if rest is False:
            schema.setdefault("maxItems", len(first))
    elif "items" not in schema and (kind == "array" or (isinstance(kind, list) and "array" in kind)):
        schema["items"] = {}


def _fix_required(schema: JsonObject, given: JsonObject) -> None:
    """Draft 3 has `required: true` at each property."""
    if isinstance(schema.get("required"), bool):
        del schema["required"]
    properties = given.get("properties")
    if not isinstance(properties, dict):
        return
    marked = [name for name, inner in properties.items() if isinstance(inner, dict) and inner.get("required") is True]
    known = schema.get("required")
    if marked:
        schema["required"] = list(dict.fromkeys([*(known if isinstance(known, list) else []), *marked]))
