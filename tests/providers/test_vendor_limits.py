"""Each vendor's limits on names, ids, schemas and images, over a real socket: a cell of the table is a test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from activities.providers.registry import build_providers
from activities.providers.shared.argument_keys import KeyRenamer, renamed_keys
from activities.providers.shared.fitting import Fitting
from activities.providers.shared.modern_schema import modern_schema
from activities.providers.shared.root_schema import plain_root
from open_responses.config import Config
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, ToolCallDelta
from open_responses.models.capabilities import ADAPTERS
from open_responses.models.vendor_limits import LIMITS, MISTRAL, NameRule
from tests.support.provider_cells import EMPTY, MODELS, VENDORS
from tests.support.provider_cells import http as http
from tests.support.provider_wire import Answer, Wire, call, sampled
from tests.support.vendor_bodies import Body, answer_with_call, read_body

# One pixel each, as far as a vendor looks at it.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
STARTS = {
    "image/png": PNG,
    "image/jpeg": "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgI=",
    "image/gif": "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
    "image/webp": "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA",
}
ODATA = {
    "type": "function",
    "name": "list_apps",
    "parameters": {
        "type": "object",
        "properties": {
            "filter[id]": {"type": "string"},
            "plain": {"type": "string", "enum": ["filter[id]"]},
            "settings__approved__or__denied__countries__or__regions__approved__list": {"type": "boolean"},
            "inner": {
                "type": "object",
                "properties": {"$top": {"type": "integer"}, "properties": {"type": "string"}},
                "required": ["$top"],
            },
        },
        "required": ["filter[id]"],
    },
}
ARGUMENTS = {
    "filter[id]": "filter[id]",
    "plain": 'a "quoted\\" key: {"filter[id]": 1}',
    "settings__approved__or__denied__countries__or__regions__approved__list": True,
    "inner": {"$top": 3, "properties": "x", "free": [{"$top": "é\n"}]},
}


def test_each_adapter_has_a_row() -> None:
    assert set(ADAPTERS) == set(LIMITS) - {MISTRAL} == set(VENDORS)


async def exchange(
    http: httpx.AsyncClient, vendor: str, asked: SampleCall, answer: Answer | None = None
) -> tuple[Body, list[Delta]]:
    async with Wire(answer or EMPTY[vendor]) as wire:
        provider = build_providers(Config(providers=(wire.provider(vendor, name="p"),)), http, {})["p"]
        deltas = await sampled(provider, asked)
    return read_body(vendor, wire.requests[0].json), deltas


def made(deltas: list[Delta]) -> tuple[str, Any]:
    """(name, arguments) of the answer's only call."""
    pieces = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    (name,) = [piece.name for piece in pieces if piece.name is not None]
    return name, json.loads("".join(piece.arguments for piece in pieces))


def turn(name: str, call_id: str, arguments: Any = None) -> list[dict[str, Any]]:
    return [
        {"type": "function_call", "call_id": call_id, "name": name, "arguments": json.dumps(arguments or {})},
        {"type": "function_call_output", "call_id": call_id, "output": f"of {call_id}"},
    ]


def user(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(parts)}


ASKED = {"type": "message", "role": "user", "content": "hello"}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("name", ["3d_render", "-dash", "n" * 64])
async def test_a_function_has_a_name_that_the_vendor_takes_and_its_own_in_the_answer(
    http: httpx.AsyncClient, vendor: str, name: str
) -> None:
    tool = {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}
    asked = call(
        [ASKED, *turn(name, "c1")], model=MODELS[vendor], tools=[tool], tool_choice={**tool, "type": "function"}
    )
    sent, _ = await exchange(http, vendor, asked)
    (fitted,) = sent.schemas or sent.descriptions
    assert LIMITS[vendor].function_name.takes(fitted)
    assert [one for _, one, _ in sent.calls] == [fitted]
    assert sent.forced == fitted
    _, deltas = await exchange(http, vendor, asked, answer_with_call(vendor, fitted, "{}"))
    assert made(deltas) == (name, {})


@pytest.mark.parametrize("vendor", VENDORS)
async def test_properties_have_names_that_the_vendor_takes_and_their_own_in_the_answer(
    http: httpx.AsyncClient, vendor: str
) -> None:
    rule = LIMITS[vendor].property_name or NameRule("\x00-\U0010ffff", 1000)
    asked = call([ASKED, *turn("list_apps", "c1", ARGUMENTS)], model=MODELS[vendor], tools=[ODATA])
    sent, _ = await exchange(http, vendor, asked)
    schema = sent.schemas["list_apps"]
    names = [*schema["properties"], *schema["properties"]["inner"]["properties"]]
    assert all(map(rule.takes, names))
    assert len(names) == len(set(names)) == 6
    assert schema["required"] == [names[0]]
    assert schema["properties"]["inner"]["required"] == [names[4]]
    assert schema["properties"]["plain"]["enum"] == ["filter[id]"]
    ((_, _, told),) = sent.calls
    assert (told[names[0]], told[names[2]], told["inner"][names[4]]) == ("filter[id]", True, 3)
    answered = {**told, "inner": {**told["inner"], "free": [{names[4]: "é\n"}]}}
    _, deltas = await exchange(http, vendor, asked, answer_with_call(vendor, "list_apps", json.dumps(answered)))
    assert made(deltas) == ("list_apps", ARGUMENTS)


ROOTS: dict[str, dict[str, Any]] = {
    "anyOf": {
        "type": "object",
        "properties": {"all": {"type": "boolean"}},
        "required": ["all"],
        "anyOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ],
    },
    "oneOf": {
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": "x"}, "a": {"type": "string"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"const": "y"}, "b": {"type": "string"}}, "required": ["kind"]},
        ]
    },
    "allOf": {
        "allOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}],
        "$defs": {"A": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}},
    },
    "$ref": {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}},
    },
}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("strict", [None, True])
async def test_a_schema_has_an_object_at_its_root(
    http: httpx.AsyncClient, vendor: str, root: str, strict: bool | None
) -> None:
    tool = {"type": "function", "name": "t", "parameters": ROOTS[root], "strict": strict}
    sent, _ = await exchange(http, vendor, call([ASKED], model=MODELS[vendor], tools=[tool]))
    schema = sent.schemas["t"]
    assert {"anyOf", "oneOf", "allOf", "$ref", "enum", "not"}.isdisjoint(schema)
    assert schema["type"] == "object"
    assert {"a", "b"} <= schema["properties"].keys()
    required = {"anyOf": ["all"], "oneOf": ["kind"], "allOf": ["a", "b"], "$ref": ["a"]}[root]
    assert schema["required"] == required
    if root in ("anyOf", "oneOf"):
        assert "must be valid against this JSON Schema" in sent.descriptions["t"]
    if root == "oneOf":
        assert "x" in json.dumps(schema["properties"]["kind"])
        assert "y" in json.dumps(schema["properties"]["kind"])


OLD_DRAFTS = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "tags": {"type": "array", "description": "of any kind"},
        "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "additionalItems": False},
        "ttl": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False},
        "must": {"type": "string", "required": True},
        "items": {"type": "string", "default": [1]},
        "deep": {"type": "object", "properties": {"list": {"type": ["array", "null"]}}},
    },
}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_schema_of_an_older_draft_is_sent_as_the_newest_has_it(http: httpx.AsyncClient, vendor: str) -> None:
    tool = {"type": "function", "name": "t", "parameters": OLD_DRAFTS}
    sent, _ = await exchange(http, vendor, call([ASKED], model=MODELS[vendor], tools=[tool]))
    schema = sent.schemas["t"]
    Draft202012Validator.check_schema(schema)
    assert "$schema" not in schema
    properties = schema["properties"]
    assert properties.keys() == OLD_DRAFTS["properties"].keys()
    assert properties["tags"]["items"] == {}
    assert properties["pair"]["prefixItems"] == [{"type": "string"}, {"type": "integer"}]
    assert properties["pair"]["items"] == {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    assert properties["deep"]["properties"]["list"]["items"] == {}
    assert schema["required"] == ["must"]
    if vendor != "gemini":
        # Gemini's schemas have no exclusive bounds: the adapter writes them into the description.
        assert properties["ttl"] == {"type": "integer", "exclusiveMinimum": 0, "maximum": 9}
        assert properties["items"] == {"type": "string", "default": [1]}


def test_a_schema_of_the_newest_draft_is_not_touched() -> None:
    assert modern_schema(ODATA["parameters"]) is ODATA["parameters"]


def test_a_schema_that_refers_to_itself_is_joined_and_ends() -> None:
    loop = {"$ref": "#/$defs/A", "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}] * 50, "properties": {"a": {}}}}}
    assert plain_root(loop)[0]["properties"] == {"a": {}}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_each_call_of_a_context_has_an_id_of_its_own_and_its_output_the_same(
    http: httpx.AsyncClient, vendor: str
) -> None:
    both = [*turn("a", "call_0"), *turn("b", "call_0")]
    at_once = [both[0], both[2], both[1], both[3]]
    sent, _ = await exchange(http, vendor, call([ASKED, *both, ASKED, *at_once], model=MODELS[vendor]))
    ids = [call_id for call_id, _, _ in sent.calls]
    assert len(set(ids)) == 4
    assert sorted(sent.outputs) == sorted(ids)


@pytest.mark.parametrize("vendor", [*VENDORS, MISTRAL])
@pytest.mark.parametrize("call_id", ["mcp_" + "a" * 60, "functions.get_weather:0", "x"])
def test_a_call_has_an_id_that_the_vendor_takes(vendor: str, call_id: str) -> None:
    items = Fitting(call([*turn("a", call_id), *turn("b", call_id)]), LIMITS[vendor]).call().items
    ids = [item.call_id for item in items]  # type: ignore[union-attr]
    assert all(map(LIMITS[vendor].call_id.takes, ids))
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert (ids[0] == call_id) == LIMITS[vendor].call_id.takes(call_id)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("place", ["message", "output"])
@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "application/octet-stream", "image/webp"])
async def test_an_image_has_the_media_type_of_its_bytes(
    http: httpx.AsyncClient, vendor: str, place: str, kind: str
) -> None:
    image = {"type": "input_image", "image_url": f"data:{kind};base64,{PNG}"}
    called = turn("a", "c1")
    called[1]["output"] = [image]
    items = [user(image)] if place == "message" else [ASKED, *called]
    async with Wire(EMPTY[vendor]) as wire:
        provider = build_providers(Config(providers=(wire.provider(vendor, name="p"),)), http, {})["p"]
        await sampled(provider, call(items, model=MODELS[vendor]))
    body = wire.requests[0].body.decode()
    assert PNG in body
    assert kind == "image/png" or kind not in body
    assert vendor == "ollama" or "image/png" in body


@pytest.mark.parametrize("true", STARTS)
def test_the_signatures_of_images_are_known(true: str) -> None:
    wrong = {"type": "input_image", "image_url": f"data:image/bmp;base64,{STARTS[true]}"}
    (item,) = Fitting(call([user(wrong)]), LIMITS["openai"]).call().items
    assert item.content[0].image_url == f"data:{true};base64,{STARTS[true]}"  # type: ignore[union-attr]


def test_what_is_no_image_data_is_left_alone() -> None:
    urls = ["https://x.com/a.png", "data:image/png;base64,!!!", "data:image/png;base64,", "data:image/png,abc", "data:"]
    given = user(*({"type": "input_image", "image_url": url} for url in urls))
    (item,) = Fitting(call([given]), LIMITS["openai"]).call().items
    assert [part.image_url for part in item.content] == urls  # type: ignore[union-attr]


@pytest.mark.parametrize("cut", [1, 2, 5, 1000])
@pytest.mark.parametrize("text", [json.dumps(ARGUMENTS), json.dumps(ARGUMENTS, ensure_ascii=False, indent=1), "[1,2]"])
def test_keys_are_renamed_in_pieces_and_back(cut: int, text: str) -> None:
    names = {"filter[id]": "filter_id", "$top": "top"}
    back = {fitted: name for name, fitted in names.items()}
    there = renamed_keys(text, names)
    renamer = KeyRenamer(back)
    pieces = [renamer.rename(there[at : at + cut]) for at in range(0, len(there), cut)]
    assert json.loads("".join(pieces) + renamer.rest()) == json.loads(text)
    if text != "[1,2]":
        assert "filter_id" in json.loads(there)


@pytest.mark.parametrize("broken", ['{"filter_id', '{"a": "filter_id', "not json", '{"filter_id": }', '}}{"', "\\", ""])
def test_arguments_that_break_off_lose_nothing(broken: str) -> None:
    renamer = KeyRenamer({"other": "name"})
    assert renamer.rename(broken) + renamer.rest() == broken


@pytest.mark.parametrize("vendor", LIMITS)
def test_a_fitted_name_is_taken_and_says_what_it_was(vendor: str) -> None:
    rules = [LIMITS[vendor].function_name, LIMITS[vendor].property_name, LIMITS[vendor].call_id]
    for rule in rules:
        for name in ("filter[id]", "größe", "x" * 200, "a b", "a?b", "\ud83d", "1", "$", "a", ""):
            if rule is None:
                continue
            assert rule.takes(rule.fitted(name)), (rule, name)
            assert rule.fitted(rule.fitted(name)) == rule.fitted(name)
    if (rule := LIMITS[vendor].property_name) is not None:
        assert rule.fitted("a b") != rule.fitted("a?b")
        assert re.match("filter_id_", rule.fitted("filter[id]"))


def test_the_documents_have_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
    for vendor, limits in LIMITS.items():
        adapter, _, who = vendor.partition(" ")
        row = [f"`{adapter}`{f' {who}' if who else ''}", in_words(limits.function_name)]
        row += [in_words(limits.property_name) if limits.property_name else "any", in_words(limits.call_id)]
        images = ", ".join(sorted(kind.removeprefix("image/") for kind in limits.images))
        if limits.image_characters is not None:
            images += f", each up to {limits.image_characters // 2**20} MiB of base64"
        assert f"| {' | '.join([*row, images])} |" in page


def in_words(rule: NameRule) -> str:
    length = f"exactly {rule.longest}" if rule.shortest == rule.longest else f"up to {rule.longest}"
    if "\x00" in rule.characters:
        return length
    # A dash that stands for itself comes last.
    characters = rule.characters.replace(r"\-", "") + ("-" if r"\-" in rule.characters else "")
    return f"`[{characters}]`, {length}" + (f", first `[{rule.first}]`" if rule.first else "")
