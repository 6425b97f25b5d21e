"""The work that a schema causes is bounded before it is compiled, in time linear in its text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from open_responses.errors import InvalidRequest
from open_responses.schema.json_schema_cost import MAX_COST, SchemaTooCostly, schema_cost
from tests.support.request_bodies import parse_create_response

Schema = dict[str, Any]
LEAF: Schema = {"type": "object"}


def bomb(levels: int, twice: Any) -> Schema:
    """Each of the definitions applies the next one twice; `twice` says how."""
    definitions = {f"d{i}": twice({"$ref": f"#/$defs/d{i + 1}"}) for i in range(levels)}
    return {"type": "object", "$defs": {**definitions, f"d{levels}": LEAF}, "allOf": [{"$ref": "#/$defs/d0"}]}


BOMBS: dict[str, Schema] = {
    "allOf": bomb(41, lambda ref: {"allOf": [ref, ref]}),
    "anyOf": bomb(41, lambda ref: {"anyOf": [ref, ref]}),
    "oneOf": bomb(41, lambda ref: {"oneOf": [ref, ref]}),
    "if": bomb(41, lambda ref: {"if": ref, "then": ref, "else": ref}),
    "not": bomb(41, lambda ref: {"not": ref, **ref}),
    "dependentSchemas": bomb(41, lambda ref: {"dependentSchemas": {"a": ref, "b": ref}}),
    "dependencies": bomb(41, lambda ref: {"dependencies": {"a": ref, "b": ref}}),
    "properties": bomb(41, lambda ref: {"properties": {"a": ref, "b": ref}}),
    "patternProperties": bomb(41, lambda ref: {"patternProperties": {"a": ref, "b": ref}}),
    "items": bomb(41, lambda ref: {"prefixItems": [ref, ref], "items": ref}),
    "contains": bomb(41, lambda ref: {"contains": ref, "items": ref}),
    "propertyNames": bomb(41, lambda ref: {"propertyNames": ref, "additionalProperties": ref}),
    "unevaluated": bomb(41, lambda ref: {"unevaluatedProperties": False, **ref}),
    "an escaped pointer": bomb(41, lambda ref: {"allOf": [ref, {"$ref": ref["$ref"].replace("d", "%64", 1)}]}),
    "a cycle behind it": {
        **bomb(41, lambda ref: {"allOf": [ref, ref]}),
        "properties": {"again": {"$ref": "#"}},
    },
    "anchors": {
        "type": "object",
        "$defs": {
            f"d{i}": {"$anchor": f"a{i}", "allOf": [{"$ref": f"#a{i + 1}"}, {"$dynamicRef": f"#a{i + 1}"}]}
            for i in range(41)
        }
        | {"last": {"$anchor": "a41"}},
        "$ref": "#a0",
    },
    "places that hold no schemas": {
        "type": "object",
        "examples": [{"allOf": [{"$ref": f"#/examples/{i + 1}"}, {"$ref": f"#/examples/{i + 1}"}]} for i in range(41)]
        + [LEAF],
        "$ref": "#/examples/0",
    },
    "itself": {"type": "object", "$ref": "#"},
    "itself by another": {
        "type": "object",
        "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
        "$ref": "#/$defs/a",
    },
    "a long chain": {
        "type": "object",
        "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(5000)} | {"d5000": LEAF},
        "$ref": "#/$defs/d0",
    },
    "patterns": {"type": "object", "patternProperties": {f"^{i}.*x": {} for i in range(5000)}},
    "an address inside": {
        "type": "object",
        "$defs": {"a": {"$id": "https://example.com/a", "$defs": {"b": LEAF}, "$ref": "#/$defs/b"}},
        "$ref": "#/$defs/a",
    },
    "another document": {"type": "object", "$ref": "https://example.com/schema"},
    "its own address": {"$id": "https://example.com/s", "type": "object", "$ref": "https://example.com/s#/$defs/a"},
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("place", ["text.format.schema", "tools[0].parameters"])
def test_a_schema_that_explodes_is_refused_by_its_place(name: str, place: str) -> None:
    tool = {"type": "function", "name": "f", "parameters": BOMBS[name]}
    form = {"format": {"type": "json_schema", "name": "f", "schema": BOMBS[name]}}
    body = {"tools": [tool]} if place.startswith("tools") else {"text": form}
    with pytest.raises(InvalidRequest) as refused:
        parse_create_response(json.dumps({"model": "m", "input": "x", **body}).encode())
    assert (refused.value.error_code, refused.value.param) == ("invalid_value", place)
    assert len(refused.value.message) < 400


@pytest.mark.parametrize(
    ("schema", "steps"),
    [
        (LEAF, 1),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": True}}, 3),
        ({"enum": ["a", "b"]}, 4),
        (bomb(3, lambda ref: {"allOf": [ref, ref]}), 46),
        # A tree, a linked list, and expressions of two operands.
        ({"properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}, 4),
        ({"properties": {"value": {"type": "string"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}, 6),
        (
            {
                "$defs": {"e": {"anyOf": [{"properties": {"left": {"$ref": "#/$defs/e"}}}, {"type": "number"}]}},
                "$ref": "#/$defs/e",
            },
            7,
        ),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, 1001),
    ],
)
def test_the_cost_is_that_of_the_expanded_schema(schema: Schema, steps: int) -> None:
    assert schema_cost(schema).steps == steps


def test_all_schemas_of_a_request_share_one_budget() -> None:
    parameters = bomb(13, lambda ref: {"allOf": [ref, ref]})
    alone = schema_cost(parameters).steps
    assert alone < MAX_COST
    many = MAX_COST // alone
    tools = [{"type": "function", "name": f"f{i}", "parameters": parameters} for i in range(many + 1)]
    body: dict[str, Any] = {"model": "m", "input": "x", "tools": tools[:many]}
    parse_create_response(json.dumps(body).encode())
    body["tools"] = tools
    with pytest.raises(InvalidRequest) as refused:
        parse_create_response(json.dumps(body).encode())
    assert refused.value.param == f"tools[{many}].parameters"


def test_many_ordinary_tools_are_taken() -> None:
    properties = {f"p{i}": {"type": "string", "description": "A word.", "enum": ["a", "b"]} for i in range(20)}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    tools = [{"type": "function", "name": f"f{i}", "parameters": parameters} for i in range(512)]
    parse_create_response(json.dumps({"model": "m", "input": "x", "tools": tools}).encode())


def test_what_only_a_process_can_bound_is_not_plain() -> None:
    assert schema_cost({"type": "object", "properties": {"a": {"type": "string"}}}).is_plain
    for schema in (
        {"pattern": "a"},
        {"uniqueItems": True},
        {"items": {"$ref": "#"}},
        {"unevaluatedProperties": False},
        {"contains": {}},
        {"format": "regex"},
        {"$dynamicRef": "#"},
    ):
        try:
            assert not schema_cost(schema).is_plain, schema
        except SchemaTooCostly:
            assert "$dynamicRef" in schema
