"""Content parts to Anthropic's blocks: text, images, documents.

Sources: platform.claude.com/docs (Messages), the types of Anthropic's Python SDK 2.14.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from activities.providers.shared.content_parts import Part, text_of, unsupported_content, unsupported_part
from activities.providers.shared.data_urls import read_data_url
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.content import InputFile, InputImage

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF, _PDF_IN_BASE64 = "application/pdf", "JVBERi"


def text_block(text: str) -> JsonObject:
    return {"type": "text", "text": text}


def blocks_of(content: str | Sequence[Part], path: str) -> list[JsonObject]:
    """Return the blocks without blank texts, which the API rejects."""
    if isinstance(content, str):
        return [text_block(content)] if content.strip() else []
    blocks = [_block(part, f"{path}[{index}]") for index, part in enumerate(content)]
    return [block for block in blocks if block["type"] != "text" or block["text"].strip()]


def _block(part: Part, path: str) -> JsonObject:
    text = text_of(part)
    if text is not None:
        return text_block(text)
    match part:
        case InputImage() if part.image_url:
            return _image(part.image_url, path)
        case InputFile() if part.file_data:
            return _file(part.file_data, part.filename, path)
        case InputFile() if part.file_url:
            return _document({"type": "url", "url": part.file_url}, part.filename)
    raise unsupported_part(part, path)


def _image(url: str, path: str) -> JsonObject:
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media, data = _split(url, path)
    media = "image/jpeg" if media == "image/jpg" else media
    if media not in _IMAGES:
        raise unsupported_content(f"an image of type {media!r}: it takes JPEG, PNG, GIF and WebP", path)
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def _file(data: str, filename: str | None, path: str) -> JsonObject:
    media, encoded = _split(data, path) if data.startswith("data:") else ("", data)
    if encoded.startswith(_PDF_IN_BASE64) or media == _PDF:
        return _document({"type": "base64", "media_type": _PDF, "data": encoded}, filename)
    if media.startswith("image/"):
        return _image(f"data:{media};base64,{encoded}", path)
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except binascii.Error:
        raise InvalidRequest("'file_data' must be base64.", param=path, code="invalid_value") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise unsupported_content("a file that is neither PDF, text nor an image", path)
    return _document({"type": "text", "media_type": "text/plain", "data": text}, filename)


def _document(source: JsonObject, filename: str | None) -> JsonObject:
    return {"type": "document", "source": source} | ({"title": filename} if filename else {})


def _split(url: str, path: str) -> tuple[str, str]:
    """(type, base64)."""
    read = read_data_url(url)
    if read is None or not read.is_base64:
        raise InvalidRequest("The data URL must be in base64.", param=path, code="invalid_value")
    return read.kind, read.data
