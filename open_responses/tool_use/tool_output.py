"""Turns the value that a tool returned into the output of its call, for the response and for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Tag, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from open_responses.contracts import ToolError, ToolOutput
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import able_of, kind_of
from open_responses.models.media_types import file_type, typed_by_its_bytes
from open_responses.models.vendor_limits import LIMITS, VendorLimits
from open_responses.schema.client_items import CustomToolCallOutput
from open_responses.schema.content import (
    MAX_PARTS,
    InputAudio,
    InputFile,
    InputImage,
    InputText,
    InputVideo,
    ToolOutputPart,
)
from open_responses.schema.deferred import DEFERRED, deferred
from open_responses.schema.items import FunctionCallOutput, InputItem
from open_responses.schema.validation import by_type, complaint_of, shorten
from open_responses.tool_use.json_safety import whole_characters, writing_problem

OUTCOME_UNKNOWN = "Whether the call took effect is not known."
DO_NOT_REPEAT = "It must not be repeated without checking whether it did."
"""The end of the message about a call that was sent and whose result did not arrive. A model that reads only of a
failure calls again, which may, for example, pay twice."""

_KINDS = ("input_text", "input_image", "input_file", "input_audio", "input_video")
_OUTPUTS = (FunctionCallOutput, CustomToolCallOutput)
_Output: TypeAlias = FunctionCallOutput | CustomToolCallOutput
_LEFT_OUT = "it is left out here, since newer ones fill the request"
# Members whose value describes a part that is left out.
_NAMES = ("filename", "image_url", "file_url", "video_url")


class _Image(InputImage):
    """An image as the specification defines it for outputs."""

    detail: Literal["low", "high", "auto"] | None = None


_Part: TypeAlias = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[_Image, Tag("<input_image>")]
    | Annotated[InputFile, Tag("<input_file>")]
    | Annotated[InputAudio, Tag("<input_audio>")]
    | Annotated[InputVideo, Tag("<input_video>")],
    by_type("an object with a content part", *_KINDS),
]
_PARTS: TypeAdapter[list[_Part]] = deferred(
    TypeAdapter(Annotated[list[_Part], Field(max_length=MAX_PARTS)], config=DEFERRED)
)


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
    """The part with the members that the specification requires: `detail` and `image_url` of an image.

    An image as data gets the media type of its bytes.
    """
    written: JsonObject = part.model_dump(mode="json", exclude_none=True)
    if not isinstance(part, InputImage):
        return written
    url = None if part.image_url is None else typed_by_its_bytes(part.image_url)
    return {"detail": "auto", **written, "image_url": url}


def in_words(output: ToolOutput) -> str:
    """The output as text: its texts, and a line about each part that is not text."""
    if isinstance(output, str):
        return output
    return "\n".join(part["text"] if part["type"] == "input_text" else f"[{_described(part)}]" for part in output)


def _described(part: JsonObject) -> str:
    """A part's kind, name, media type and size, as in "image, image/png, 12,345 bytes"."""
    about = [str(part["type"]).removeprefix("input_")]
    if part.get("filename"):
        about.append(shorten(part["filename"]))
    sound = part.get("input_audio") or {}
    found = (part.get("image_url"), part.get("file_data"), part.get("video_url"), sound.get("data"))
    data, media = next((one for one in found if one), ""), sound.get("format")
    if data.startswith("data:"):
        head, _, data = data.partition(",")
        media = head.removeprefix("data:").split(";")[0]
    elif media is None:
        # An address, or the id of a file at the provider.
        address = data or part.get("file_url") or part.get("file_id") or ""
        return ", ".join([*about, *([shorten(address)] if address else [])])
    return ", ".join([*about, *([media] if media else []), f"{len(data) * 3 // 4:,} bytes"])


def without_parts(items: Sequence[InputItem], adapter: str) -> list[InputItem]:
    """The items, with a sentence in place of each part of a tool's output that the adapter cannot translate.

    A request with such a part in its input gets a 400. A tool has already run when it returns one, so the response goes
    on without the part.
    """
    takes, limits = able_of(adapter).output_parts, LIMITS.get(adapter)
    read = [_without(item, takes, limits) if isinstance(item, _OUTPUTS) else item for item in items]
    return read if limits is None or limits.output_data is None else _within(read, limits.output_data)


def _within(items: list[InputItem], limit: int) -> list[InputItem]:
    """The items with at most `limit` characters of data in the outputs of tools: the oldest parts become lines of text.

    A loop that takes a screenshot in each turn would otherwise end in a request that its vendor refuses as too large.
    Parts are replaced in steps of half of the limit, so that the beginning of the request, which the vendor caches,
    stays the same for several turns.
    """
    total = sum(_data_in(item) for item in items)
    if total <= limit:
        return items
    step = limit // 2
    excess = -(-(total - limit) // step) * step
    kept: list[InputItem] = []
    for item in items:
        size = _data_in(item) if excess > 0 else 0
        if size and isinstance(item, _OUTPUTS) and not isinstance(item.output, str):
            excess -= size
            parts = [_in_place_of(part, _LEFT_OUT) if _data_of(part) else part for part in item.output]
            item = item.model_copy(update={"output": parts})
        kept.append(item)
    return kept


def _data_in(item: InputItem) -> int:
    if not isinstance(item, _OUTPUTS) or isinstance(item.output, str):
        return 0
    return sum(_data_of(part) for part in item.output)


def _data_of(part: ToolOutputPart) -> int:
    """The characters of the data in a part; 0 for text, and for an address."""
    match part:
        case InputImage(image_url=str(url)) if url.startswith("data:"):
            return len(url)
        case InputFile(file_data=str(data)):
            return len(data)
        case InputAudio():
            return len(part.input_audio.data)
        case InputVideo(video_url=url) if url.startswith("data:"):
            return len(url)
    return 0


def _without(item: _Output, takes: frozenset[str], limits: VendorLimits | None) -> InputItem:
    if isinstance(item.output, str) or all(_is_taken(part, takes, limits) for part in item.output):
        return item
    return item.model_copy(
        update={"output": [part if _is_taken(part, takes, limits) else _in_place_of(part) for part in item.output]}
    )


def _is_taken(part: ToolOutputPart, takes: frozenset[str], limits: VendorLimits | None) -> bool:
    kind = kind_of(part)
    if kind is None or kind not in takes:
        return kind is None
    if limits is None:
        return True
    if isinstance(part, InputImage) and kind == "image_data":
        return _is_taken_image(part.image_url or "", limits)
    if isinstance(part, InputFile) and part.file_data is not None and limits.files is not None:
        media = file_type(part.file_data, part.filename)
        if media.startswith("image/") and part.file_data.startswith("data:"):
            return _is_taken_image(part.file_data, limits)
        return media.startswith(limits.files)
    return True


def _is_taken_image(url: str, limits: VendorLimits) -> bool:
    head, _, data = typed_by_its_bytes(url).partition(",")
    media = head.removeprefix("data:").split(";")[0].lower().replace("image/jpg", "image/jpeg")
    is_small = limits.image_characters is None or len(data) <= limits.image_characters
    return media in limits.images and head.endswith(";base64") and bool(data) and is_small


def _in_place_of(part: ToolOutputPart, why: str = "you cannot read it") -> ToolOutputPart:
    what = part.type.removeprefix("input_")
    name = next((str(found) for name in _NAMES if (found := getattr(part, name, None))), "")
    shown = f" ({shorten(name)})" if name and not name.startswith("data:") else ""
    return InputText(type="input_text", text=f"[The tool returned a part of kind {what}{shown}; {why}.]")
