"""The tools of the `gemini` adapter: functions with schemas in Gemini's dialect, and Google's own."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.gemini.schema import gemini_schema
from open_responses.json_types import JsonObject
from tests.support.gemini_chunks import GEMINI_2_5, GEMINI_3, sent_by
from tests.support.provider_wire import CLOCK, WEATHER, call


async def test_functions_are_declared_with_their_json_schema(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, tools=[WEATHER, CLOCK]))
    assert sent["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "The weather of a city.",
                    "parametersJsonSchema": WEATHER["parameters"],
                },
                {"name": "get_time", "description": ""},
            ]
        }
    ]
    assert "toolConfig" not in sent


NAMED = {"type": "function", "name": "get_time"}


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (NAMED, {"mode": "ANY", "allowedFunctionNames": ["get_time"]}),
        (
            {"type": "allowed_tools", "tools": [NAMED], "mode": "required"},
            {"mode": "ANY", "allowedFunctionNames": ["get_time"]},
        ),
        (
            {"type": "allowed_tools", "tools": [NAMED], "mode": "auto"},
            {"mode": "VALIDATED", "allowedFunctionNames": ["get_time"]},
        ),
        ({"type": "allowed_tools", "tools": [NAMED], "mode": "none"}, {"mode": "NONE"}),
    ],
)
async def test_tool_choice_in_every_form_leaves_the_tools_as_they_are(
    http: httpx.AsyncClient, choice: Any, config: JsonObject
) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, tools=[WEATHER, CLOCK], tool_choice=choice))
    assert sent["toolConfig"] == {"functionCallingConfig": config}
    assert len(sent["tools"][0]["functionDeclarations"]) == 2


@pytest.mark.parametrize(("choice", "mode"), [(None, "VALIDATED"), ("auto", "VALIDATED"), ("required", "ANY")])
async def test_strict_functions_are_validated_by_google(http: httpx.AsyncClient, choice: Any, mode: str) -> None:
    sent = await sent_by(http, call("hi", tools=[{**WEATHER, "strict": True}], tool_choice=choice))
    assert sent["toolConfig"]["functionCallingConfig"]["mode"] == mode


BUILT_IN = [
    {"type": "google_search", "timeRangeFilter": {"startTime": "2026-01-01T00:00:00Z"}},
    {"type": "code_execution"},
    {"type": "url_context"},
    {"type": "google_maps", "enableWidget": True},
]


async def test_built_in_tools_have_googles_names_and_keep_their_settings(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, provider_tools=BUILT_IN))
    assert sent["tools"] == [
        {"googleSearch": {"timeRangeFilter": {"startTime": "2026-01-01T00:00:00Z"}}},
        {"codeExecution": {}},
        {"urlContext": {}},
        {"googleMaps": {"enableWidget": True}},
    ]
    assert "toolConfig" not in sent


async def test_a_choice_of_no_tool_offers_no_built_in_tool(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, provider_tools=BUILT_IN, tool_choice="none"))
    assert "tools" not in sent


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (GEMINI_3, {"functionCallingConfig": {"mode": "VALIDATED"}, "includeServerSideToolInvocations": True}),
        (GEMINI_2_5, None),
    ],
)
async def test_built_in_tools_beside_functions_need_a_word_on_gemini_3(
    http: httpx.AsyncClient, model: str, config: JsonObject | None
) -> None:
    sent = await sent_by(http, call("hi", model=model, tools=[CLOCK], provider_tools=BUILT_IN[:1]))
    assert [next(iter(tool)) for tool in sent["tools"]] == ["googleSearch", "functionDeclarations"]
    assert sent.get("toolConfig") == config


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"const": True}, {"type": "boolean", "description": "(always true)"}),
        ({"const": None}, {"type": "null"}),
        ({"enum": ["a", None], "type": "string"}, {"type": ["string", "null"], "enum": ["a"]}),
        ({"enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "uri"}, {"type": "string", "description": "(format: uri)"}),
        (
            {"type": "integer", "exclusiveMinimum": 0, "maximum": 9, "description": "A count"},
            {"type": "integer", "maximum": 9, "description": "A count (exclusiveMinimum: 0)"},
        ),
        ({"type": "string", "$schema": "x", "title": "T", "examples": ["x"]}, {"type": "string"}),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"type": "integer", "enum": [1]}}),
        ({"items": [{"type": "string"}, True]}, {"prefixItems": [{"type": "string"}, {}]}),
        (
            {"properties": {"title": {"type": "string"}}, "required": ["title", "gone"]},
            {"properties": {"title": {"type": "string"}}, "required": ["title"]},
        ),
        (
            {"allOf": [{"$ref": "#/$defs/A"}, {"required": ["b"], "properties": {"b": {"type": "string"}}}]}
            | {"$defs": {"A": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}},
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "a": {"type": "string"}},
                "required": ["a", "b"],
            },
        ),
        (
            {"properties": {"n": {"$ref": "#/definitions/N", "description": "Root"}}}
            | {"definitions": {"N": {"properties": {"kids": {"type": "array", "items": {"$ref": "#/definitions/N"}}}}}},
            {
                "properties": {"n": {"anyOf": [{"$ref": "#/$defs/N"}], "description": "Root"}},
                "$defs": {"N": {"properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/N"}}}}},
            },
        ),
        (
            {"properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}, "c": {"$ref": "http://x"}}},
            {"properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {}}},
        ),
    ],
)
def test_json_schema_is_put_in_geminis_dialect(given: JsonObject, taken: JsonObject) -> None:
    before = json.dumps(given)
    translated = gemini_schema(given)
    assert {**translated, "required": sorted(translated.get("required", []))} == {"required": [], **taken}
    assert json.dumps(given) == before


def test_a_schema_that_refers_to_its_own_root_has_an_end() -> None:
    deep: Any = gemini_schema({"type": "object", "properties": {"next": {"$ref": "#"}}})
    depth = 0
    while deep.get("properties"):
        deep, depth = deep["properties"]["next"], depth + 1
    assert 1 < depth < 10
