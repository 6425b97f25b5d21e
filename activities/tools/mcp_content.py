"""The content of an MCP tool's result as content parts: text, images, sound and documents.

A block that no model could read becomes a line of text about it: its kind, media type and size.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from urllib.parse import unquote, urlsplit

import mcp_types

from open_responses.contracts import ToolOutput
from open_responses.json_types import JsonObject
from open_responses.schema.content import MAX_IMAGE_URL, MAX_PARTS

# The formats of an `input_audio` part.
_SOUNDS = {
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/flac": "flac",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/vnd.wave": "wav",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-aiff": "aiff",
    "audio/x-flac": "flac",
    "audio/x-wav": "wav",
}
_PDF = "application/pdf"
_TEXT_TYPE = re.compile(r"text/.*|application/(json|xml|yaml|x-yaml|javascript|toml|sql|.*\+(json|xml))")


def output_of(result: mcp_types.CallToolResult) -> ToolOutput:
    """The result: text, or content parts if there is more than text."""
    parts = [_part(block) for block in result.content[:MAX_PARTS]]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    if all(part["type"] == "input_text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(block: mcp_types.ContentBlock) -> JsonObject:
    match block:
        case mcp_types.TextContent():
            return _text(block.text)
        case mcp_types.ImageContent() | mcp_types.AudioContent():
            return _media(block.data, block.mime_type, block.type, name=None)
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents() as resource):
            return _text(resource.text)
        case mcp_types.EmbeddedResource(resource=mcp_types.BlobResourceContents() as resource):
            return _media(resource.blob, resource.mime_type or "", "resource", name=str(resource.uri))
        case mcp_types.ResourceLink():
            about = ", ".join(filter(None, (block.mime_type, block.description)))
            return _text(f"[{block.name}: {block.uri}{f' ({about})' if about else ''}]")
        case _:
            return _text(f"[content of type {block.type!r}, which is not text]")


def _media(given: str, media_type: str, kind: str, *, name: str | None) -> JsonObject:
    """`given` is base64 as the server writes it: perhaps a data URL, with line breaks, or in the alphabet of URLs."""
    media, data = media_type.lower().split(";")[0].strip(), given
    if given.startswith("data:"):
        head, _, data = given.partition(",")
        media = media or head.removeprefix("data:").split(";")[0].lower()
    raw = _decoded(data)
    about = f"{kind}{f' {name}' if name else ''} of type {media or 'unknown'}"
    if raw is None:
        return _text(f"[{about}, whose data is not base64]")
    encoded = base64.b64encode(raw).decode()
    if len(encoded) > MAX_IMAGE_URL - 100:
        return _text(f"[{about}, {len(raw):,} bytes, which is too large to be shown]")
    if kind == "image" or media.startswith("image/"):
        return {"type": "input_image", "image_url": f"data:{media or 'image/png'};base64,{encoded}", "detail": "auto"}
    if media in _SOUNDS:
        return {"type": "input_audio", "input_audio": {"data": encoded, "format": _SOUNDS[media]}}
    if media == _PDF or raw.startswith(b"%PDF-"):
        return {"type": "input_file", "filename": _filename(name), "file_data": f"data:{_PDF};base64,{encoded}"}
    if _TEXT_TYPE.fullmatch(media) and (text := _as_text(raw)) is not None:
        return _text(text)
    return _text(f"[{about}, {len(raw):,} bytes, which you cannot read]")


def _decoded(data: str) -> bytes | None:
    compact = "".join(data.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _as_text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _filename(uri: str | None) -> str:
    name = unquote(urlsplit(uri or "").path).rpartition("/")[2]
    return name if name.lower().endswith(".pdf") else "document.pdf"


def _text(text: str) -> JsonObject:
    return {"type": "input_text", "text": text}
