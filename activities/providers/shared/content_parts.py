"""The parts of an item's content, and the error for a part that a vendor does not support."""

from __future__ import annotations

from typing import TypeAlias

from open_responses.errors import InvalidRequest
from open_responses.schema.content import InputAudio, InputFile, InputImage, InputText, InputVideo, OutputText, Refusal

Part: TypeAlias = InputText | InputImage | InputFile | InputAudio | InputVideo | OutputText | Refusal


def text_of(part: Part) -> str | None:
    """Return a part's text; None for a part of another type."""
    match part:
        case OutputText() | InputText():
            return part.text
        case Refusal():
            return part.refusal
    return None


def unsupported_part(part: Part, path: str, why: str = "") -> InvalidRequest:
    """`path` is the part's place in the request; `why` follows the sentence."""
    return unsupported_content(f"a content part of type {part.type!r} in this form{why}", path)


def unsupported_content(what: str, path: str) -> InvalidRequest:
    return InvalidRequest(
        f"The route's provider cannot take {what}. Leave it out, or send it in another form.",
        param=path,
        code="unsupported_content",
    )
