"""The request's `text`: the format and length of the answer's text (REQ-11)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, Tag

from open_responses.json_types import JsonObject
from open_responses.schema.validation import RequestObject, by_type, small_schema


class PlainTextFormat(RequestObject):
    """Text without a format."""

    type: Literal["text"]


class JsonObjectFormat(RequestObject):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(RequestObject):
    """JSON that matches a schema. `schema_` is `schema` in JSON, a name that pydantic reserves."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[JsonObject, AfterValidator(small_schema)] = Field(alias="schema")
    strict: bool | None = None


TextFormat: TypeAlias = Annotated[
    Annotated[PlainTextFormat, Tag("<text>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")]
    | Annotated[JsonSchemaFormat, Tag("<json_schema>")],
    by_type("an object with a text format", "text", "json_object", "json_schema"),
]


class TextSettings(RequestObject):
    """The format and length of the answer's text (REQ-11)."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
