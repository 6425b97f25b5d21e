"""Turns the value that a tool returned into the output of its call, for the response and for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Tag, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from open_responses.contracts import ToolError, ToolOutput
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import able_of, kind_of
from open_responses.schema.content import MAX_PARTS, InputFile, InputImage, InputText, ToolOutputPart
from open_responses.schema.items import FunctionCallOutput, InputItem
from open_responses.schema.validation import by_type, complaint_of, shorten
from open_responses.tool_use.json_safety import whole_characters, writing_problem

OUTCOME_UNKNOWN = "Whether the call took effect is not known."
DO_NOT_REPEAT = "It must not be repeated without checking whether it did."
"""The end of the message about a call that was sent and whose result did not arrive. A model that reads only of a
failure calls again, which may, for example, pay twice."""

_KINDS = ("input_text", "input_image", "input_file")
# Members whose value describes a part that is left out.
_NAMES = ("filename", "image_url", "file_url", "video_url")


class _Image(InputImage):
    """An image as the specification defines it for outputs."""

    detail: Literal["low", "high", "auto"] | None = None


_Part: TypeAlias = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[_Image, Tag("<input_image>")]
    | Annotated[InputFile, Tag("<input_file>")],
    by_type("an object with a content part", *_KINDS),
]
_PARTS: TypeAdapter[list[_Part]] = TypeAdapter(Annotated[list[_Part], Field(max_length=MAX_PARTS)])


def tool_output(value: object) -> ToolOutput:
    """The output: text stays, content parts get the specification's form, any other value becomes compact JSON.

    A list in which the type of each object is that of a content part has to be a valid list of content parts.

    Raises:
        ToolError: A content part is invalid, or the value is neither text nor JSON.
    """
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list) and value and all(_is_called_a_part(part) for part in value):
        return _parts(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise ToolError(f"The tool returned {type(value).__name__}, which is not text.")
    try:
        return to_json(value).decode()
    except (PydanticSerializationError, ValueError) as error:
        raise ToolError(f"The tool returned {type(value).__name__}, which is neither text nor JSON.") from error


def _is_called_a_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") in _KINDS


def _parts(given: list[JsonObject]) -> list[JsonObject]:
    problem = writing_problem(given)
    if problem is None:
        try:
            return [_as_specified(part) for part in _PARTS.validate_python(given)]
        except ValidationError as error:
            problem = complaint_of(error).message
    raise ToolError(f"The tool has run, but what it returned cannot be shown: {problem}")


def _as_specified(part: _Part) -> JsonObject:
    """The part with the members that the specification requires: `detail` and `image_url` of an image."""
    written: JsonObject = part.model_dump(mode="json", exclude_none=True)
    return {"image_url": None, "detail": "auto", **written} if isinstance(part, InputImage) else written


def without_parts(items: Sequence[InputItem], adapter: str) -> list[InputItem]:
    """The items, with a sentence in place of each part of a tool's output that the adapter cannot translate.

    A request with such a part in its input gets a 400. A tool has already run when it returns one, so the response goes
    on without the part.
    """
    takes = able_of(adapter).output_parts
    return [_without(item, takes) if isinstance(item, FunctionCallOutput) else item for item in items]


def _without(item: FunctionCallOutput, takes: frozenset[str]) -> FunctionCallOutput:
    if isinstance(item.output, str) or all(kind_of(part) in (None, *takes) for part in item.output):
        return item
    return item.model_copy(update={"output": [_or_words(part, takes) for part in item.output]})


def _or_words(part: ToolOutputPart, takes: frozenset[str]) -> ToolOutputPart:
    if kind_of(part) in (None, *takes):
        return part
    what = part.type.removeprefix("input_")
    name = next((str(found) for name in _NAMES if (found := getattr(part, name, None))), "")
    shown = f" ({shorten(name)})" if name and not name.startswith("data:") else ""
    return InputText(type="input_text", text=f"[The tool returned a part of kind {what}{shown}; you cannot read it.]")
