"""The content parts of items: text, images, files, audio and video of the input, and text and refusals of an answer.

These models read the input. `LenientObject` keeps members that the specification does not have.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from open_responses.json_types import JsonObject
from open_responses.schema.validation import Hint, by_type, either, fault, member

# The specification's bounds, in characters. Those of an image and of a file count base64.
MAX_TEXT = 10_485_760
MAX_IMAGE_URL = 20_971_520
MAX_FILE_DATA = 33_554_432
# Ours, of the parts of one item: few enough that they cannot keep a worker busy for seconds.
MAX_PARTS = 10_000
# With `fail_fast` on each list: only the first error is reported, and a million others are not collected.
_PARTS = Field(max_length=MAX_PARTS, fail_fast=True)

Text: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT)]


class LenientObject(BaseModel):
    """Base of items and parts: checks the known members strictly, and keeps unknown ones."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)


class InputText(LenientObject):
    """A text part of a message or of a tool result."""

    type: Literal["input_text"]
    text: Text


class InputImage(LenientObject):
    """`image_url` is an address or a `data:` URL. `file_id` (OpenAI's) is kept for providers that know it."""

    type: Literal["input_image"]
    image_url: Annotated[str, Field(max_length=MAX_IMAGE_URL)] | None = None
    file_id: str | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> InputImage:
        if self.image_url is None and self.file_id is None:
            raise fault(
                "missing_required_parameter", "is missing. Send the image's address or data URL", field="image_url"
            )
        return self


class InputFile(LenientObject):
    """`file_data` is base64, or a `data:` URL."""

    type: Literal["input_file"]
    filename: str | None = None
    file_data: Annotated[str, Field(max_length=MAX_FILE_DATA)] | None = None
    file_url: str | None = None
    file_id: str | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> InputFile:
        if self.file_data is None and self.file_url is None and self.file_id is None:
            raise fault("missing_required_parameter", "is missing. Send 'file_data' or 'file_url'", field="file_data")
        return self


class AudioData(LenientObject):
    """`data` is base64."""

    data: Annotated[str, Field(min_length=1, max_length=MAX_FILE_DATA)]
    format: Literal["wav", "mp3", "flac", "ogg", "aac", "aiff"]


class InputAudio(LenientObject):
    """An audio part, as in OpenAI's API. The specification has none."""

    type: Literal["input_audio"]
    input_audio: AudioData


class InputVideo(LenientObject):
    """A video part."""

    type: Literal["input_video"]
    video_url: Annotated[str, Field(max_length=MAX_FILE_DATA)]


class UrlCitation(LenientObject):
    """A citation of a web page."""

    type: Literal["url_citation"]
    url: str
    title: str
    start_index: Annotated[int, Field(ge=0)]
    end_index: Annotated[int, Field(ge=0)]


class OtherAnnotation(LenientObject):
    """A citation of a type that the specification does not have (`file_citation` …)."""

    type: str


class OutputText(LenientObject):
    """A text part of an answer."""

    type: Literal["output_text"]
    text: Text
    annotations: Annotated[list[Annotation], Field(max_length=MAX_PARTS, fail_fast=True)] | None = None
    logprobs: Annotated[list[JsonObject], Field(fail_fast=True)] | None = None


class Refusal(LenientObject):
    """A part with the model's refusal."""

    type: Literal["refusal"]
    refusal: Text


class ReasoningText(LenientObject):
    """A part with raw reasoning text."""

    type: Literal["reasoning_text"]
    text: Text


class SummaryText(LenientObject):
    """A part of the summary of reasoning."""

    type: Literal["summary_text"]
    text: Text


def _annotation_tag(value: Any) -> str | None:
    kind = member(value, "type")
    if not isinstance(kind, str):
        return None
    return "<url_citation>" if kind == "url_citation" else "<other>"


Annotation: TypeAlias = Annotated[
    Annotated[UrlCitation, Tag("<url_citation>")] | Annotated[OtherAnnotation, Tag("<other>")],
    Discriminator(
        _annotation_tag, "no_variant", "{what}", Hint(what="an object with an annotation", allowed=("url_citation",))
    ),
]
UserPart: TypeAlias = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[InputImage, Tag("<input_image>")]
    | Annotated[InputFile, Tag("<input_file>")]
    | Annotated[InputAudio, Tag("<input_audio>")],
    by_type("an object with a content part", "input_text", "input_image", "input_file", "input_audio"),
]
ToolOutputPart: TypeAlias = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[InputImage, Tag("<input_image>")]
    | Annotated[InputFile, Tag("<input_file>")]
    | Annotated[InputAudio, Tag("<input_audio>")]
    | Annotated[InputVideo, Tag("<input_video>")],
    by_type("an object with a content part", "input_text", "input_image", "input_file", "input_audio", "input_video"),
]
AssistantPart: TypeAlias = Annotated[
    Annotated[OutputText, Tag("<output_text>")] | Annotated[Refusal, Tag("<refusal>")],
    by_type("an object with a content part", "output_text", "refusal"),
]

_text_or_parts = either("a string or an array of content parts", text=str, parts=list)
UserContent: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[UserPart], _PARTS, Tag("<parts>")],
    _text_or_parts,
]
InstructionContent: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[InputText], _PARTS, Tag("<parts>")],
    _text_or_parts,
]
AssistantContent: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[AssistantPart], _PARTS, Tag("<parts>")],
    _text_or_parts,
]
ToolOutput: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[ToolOutputPart], _PARTS, Tag("<parts>")],
    _text_or_parts,
]
