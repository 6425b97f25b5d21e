"""Content parts that name a file of this server's `/v1/files`, and the same parts with the file's content.

An id of this server's has a form of its own, so `file-` ids of OpenAI's reach OpenAI as they were sent.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from mimetypes import MimeTypes

from open_responses.ids import is_id
from open_responses.models.media_types import type_of_image
from open_responses.schema.client_items import CustomToolCallOutput
from open_responses.schema.content import InputFile, InputImage, InputText
from open_responses.schema.items import FunctionCallOutput, InputItem, UserMessage

FILE_PREFIX = "file-"
HEAD_BYTES = 512
"""Of a file: enough to tell its type from."""

Part = InputImage | InputFile
Fill = Callable[[Part], Part | InputText]


def names_a_file(part: object) -> bool:
    """Whether a part has a file of this server's, and nothing else, for its content."""
    match part:
        case InputImage(image_url=None, file_id=str(file_id)):
            return is_id(FILE_PREFIX, file_id)
        case InputFile(file_data=None, file_url=None, file_id=str(file_id)):
            return is_id(FILE_PREFIX, file_id)
    return False


def parts_with_files(items: Sequence[InputItem], path: str = "input") -> Iterator[tuple[str, Part]]:
    """(path, part) of each part that names a file of this server's. `path` is that of the items in the request."""
    for index, item in enumerate(items):
        for field, content in _contents(item):
            for number, part in enumerate(content):
                if names_a_file(part):
                    assert isinstance(part, InputImage | InputFile)
                    yield f"{path}[{index}].{field}[{number}]", part


def filled(items: Sequence[InputItem], fill: Fill) -> list[InputItem]:
    """The items, with what `fill` makes of each part that names a file of this server's."""
    return [_filled(item, fill) for item in items]


def with_content(part: Part, name: str, data: bytes) -> Part:
    """The part, with a file's bytes inside: a data URL of the type that they have."""
    encoded = base64.b64encode(data).decode()
    url = f"data:{media_type(name, data)};base64,{encoded}"
    if isinstance(part, InputImage):
        return part.model_copy(update={"image_url": url, "file_id": None})
    return part.model_copy(update={"file_data": url, "file_id": None, "filename": part.filename or name})


def media_type(name: str, data: bytes) -> str:
    """The media type of a file by its first bytes, else by its name. `text/plain` for other text."""
    if data.startswith(b"%PDF-"):
        return "application/pdf"
    # A table of its own has only Python's types, which are the same on every machine.
    named = MimeTypes().guess_type(name)[0]
    return type_of_image(data) or named or ("text/plain" if is_text(data[:HEAD_BYTES]) else "application/octet-stream")


def is_text(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8, of which a character may be cut at the end."""
    return b"\0" not in head and whole_characters(head) is not None


def whole_characters(head: bytes) -> bytes | None:
    """The bytes up to the last whole character of UTF-8; None for what is not UTF-8."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and error.start > len(head) - 4
        return head[: error.start] if is_cut else None
    return head


def _contents(item: InputItem) -> Iterator[tuple[str, list[object]]]:
    match item:
        case UserMessage(content=list(content)):
            yield "content", list(content)
        case FunctionCallOutput(output=list(output)) | CustomToolCallOutput(output=list(output)):
            yield "output", list(output)


def _filled(item: InputItem, fill: Fill) -> InputItem:
    for field, content in _contents(item):
        if any(names_a_file(part) for part in content):
            changed = [fill(part) if names_a_file(part) else part for part in content]  # type: ignore[arg-type]
            return item.model_copy(update={field: changed})
    return item
