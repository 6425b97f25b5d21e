"""From a Python function to what a model is told, and from what it writes to a call."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from activities.tools.functions import HostedFunction
from open_responses.contracts import ToolContext, ToolError
from open_responses.json_types import JsonObject


class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"


class Place(BaseModel):
    city: str
    title: str | None = None


def context(**arguments: object) -> ToolContext:
    return ToolContext("resp_1", "call_1", "f", "acme", arguments=arguments)


def schema_of(tool: HostedFunction) -> JsonObject:
    parameters = tool.definition.parameters
    assert parameters is not None
    Draft202012Validator.check_schema(parameters)
    return parameters


async def weather(
    place: Place,
    days: Annotated[int, Field(ge=1, le=7, description="How many.")] = 1,
    unit: Unit = Unit.C,
    schema: Literal["short", "long"] = "short",
    *,
    note: str | None = None,
    call: ToolContext,
) -> dict[str, object]:
    """The weather of a place,
    in words.

    Args:
        place: Where to look,
            as people say it.
        note (str): For the record.
    """
    return {"city": place.city, "days": days, "unit": unit, "schema": schema, "note": note, "key": call.idempotency_key}


def test_signature_and_docstring_give_the_schema() -> None:
    tool = HostedFunction("weather", weather)
    schema = schema_of(tool)
    assert tool.definition.description == "The weather of a place, in words."
    assert list(schema["properties"]) == ["place", "days", "unit", "schema", "note"]
    assert schema["required"] == ["place"]
    assert schema["properties"]["place"]["description"] == "Where to look, as people say it."
    assert schema["properties"]["days"] == {
        "type": "integer", "minimum": 1, "maximum": 7, "default": 1, "description": "How many.",
    }  # fmt: skip
    assert schema["properties"]["note"]["description"] == "For the record."
    assert schema["additionalProperties"] is False
    assert list(schema["$defs"]["Place"]["properties"]) == ["city", "title"]
    assert "title" not in schema


def test_strict_requires_everything_and_allows_null_for_what_may_be_left_out() -> None:
    schema = schema_of(HostedFunction("weather", weather, strict=True))
    assert schema["required"] == list(schema["properties"])
    assert {"type": "null"} in schema["properties"]["days"]["anyOf"]
    assert schema["$defs"]["Place"]["required"] == ["city", "title"]
    assert schema["$defs"]["Place"]["additionalProperties"] is False


async def test_a_call_gets_python_values_and_its_context() -> None:
    tool = HostedFunction("weather", weather)
    said = await tool.call(context(place={"city": "Oslo"}, unit="fahrenheit", days=None))
    assert said == ('{"city":"Oslo","days":1,"unit":"fahrenheit","schema":"short","note":null,"key":"resp_1:call_1"}')


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "place: Field required"),
        ({"place": {}}, "place.city: Field required"),
        ({"place": {"city": "x"}, "days": 9}, "days: Input should be less than or equal to 7"),
        ({"place": {"city": "x"}, "colour": 1}, "colour: Extra inputs are not permitted"),
        ({"place": {"city": "x"}, "unit": "kelvin"}, "unit: Input should be 'celsius' or 'fahrenheit'"),
    ],
)
async def test_arguments_that_do_not_fit_are_explained(arguments: JsonObject, complaint: str) -> None:
    with pytest.raises(ToolError) as told:
        await HostedFunction("weather", weather).call(context(**arguments))
    assert complaint in str(told.value)
    assert "call the tool again" in str(told.value)


async def test_plain_functions_run_beside_the_loop_and_any_json_is_text() -> None:
    assert await HostedFunction("f", lambda: {"a": [1, None]}).call(context()) == '{"a":[1,null]}'
    assert await HostedFunction("f", lambda: None).call(context()) == "null"
    assert await HostedFunction("f", lambda: [{"type": "other"}]).call(context()) == '[{"type":"other"}]'


async def test_content_parts_are_completed_or_said_to_be_wrong() -> None:
    part = {"type": "input_image", "image_url": "https://e.example/a.png"}
    assert await HostedFunction("f", lambda: [part]).call(context()) == [{**part, "detail": "auto"}]
    for wrong, complaint in (
        ({"type": "input_image"}, "image_url"),
        ({**part, "detail": "ultra"}, "detail"),
        ({"type": "input_text", "text": 5}, "text"),
        ({"type": "input_file"}, "file_data"),
    ):
        with pytest.raises(ToolError, match=complaint):
            await HostedFunction("f", lambda wrong=wrong: [wrong]).call(context())  # type: ignore[misc]


@pytest.mark.parametrize("value", [b"bytes", object(), {1: object()}])
async def test_what_is_neither_text_nor_json_is_said_to_be_so(value: object) -> None:
    with pytest.raises(ToolError, match=r"not text|neither text nor JSON"):
        await HostedFunction("f", lambda: value).call(context())


def test_a_signature_that_no_object_can_fill_is_refused() -> None:
    def positional(a: int, /) -> None: ...

    def rest(*numbers: int) -> None: ...

    for function in (positional, rest):
        with pytest.raises(ValueError, match="cannot be given by name"):
            HostedFunction("f", function)
