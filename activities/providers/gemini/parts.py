"""Content parts to Gemini's parts: text, inline data, files by their address.

Sources: ai.google.dev/api/caching (Part), /gemini-api/docs/file-input-methods (https addresses in `fileUri`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urlsplit

from activities.providers.shared.content_parts import Part, text_of, unsupported_part
from activities.providers.shared.data_urls import read_data_url
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.content import InputAudio, InputFile, InputImage, InputVideo

_MIME_BY_SUFFIX = {
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "flac": "audio/flac",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "m4a": "audio/m4a",
    "mov": "video/mov",
    "mp3": "audio/mp3",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "ogg": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
}
# Types that are sent as plain text: Gemini accepts only some of them by name, but can read all.
_TEXT_SUFFIXES = frozenset(
    {"c", "cpp", "css", "csv", "go", "h", "htm", "html", "java", "js", "json", "md", "py", "rs", "sh", "sql", "toml"}
    | {"ts", "txt", "xml", "yaml", "yml"}
)
_TEXT_TYPE = re.compile(r"text/.*|application/(json|xml|yaml|x-yaml|javascript|x-javascript|toml|sql|.*\+(json|xml))")


def parts_of(content: str | Sequence[Part], path: str) -> list[JsonObject]:
    """Content parts in Gemini's form; empty texts are left out, since Gemini takes none."""
    if isinstance(content, str):
        return [{"text": content}] if content else []
    found = [_part(part, f"{path}[{index}]") for index, part in enumerate(content)]
    return [part for part in found if part.get("text") != ""]


def _part(part: Part, path: str) -> JsonObject:
    text = text_of(part)
    if text is not None:
        return {"text": text}
    match part:
        case InputImage() if part.image_url:
            return _media(part.image_url, path)
        case InputFile() if part.file_data:
            return _file(part.file_data, part.filename, path)
        case InputFile() if part.file_url:
            return _media(part.file_url, path)
        case InputAudio():
            return _inline(f"audio/{part.input_audio.format}", part.input_audio.data)
        case InputVideo():
            return _media(part.video_url, path)
    raise unsupported_part(part, path)


def _media(url: str, path: str) -> JsonObject:
    """Return a data URL's bytes, or an address that Google fetches itself, with the media type of its suffix."""
    if url.startswith("data:"):
        kind, data = _data_url(url, path)
        return _inline(kind, data)
    where: JsonObject = {"fileUri": url}
    kind = _kind_by_name(urlsplit(url).path)
    return {"fileData": {"mimeType": kind, **where} if kind else where}


def _file(data: str, filename: str | None, path: str) -> JsonObject:
    if data.startswith("data:"):
        kind, data = _data_url(data, path)
        if kind != "application/octet-stream":
            return _inline(kind, data)
    kind = _kind_by_name(filename or "") or _kind_by_content(data)
    if not kind:
        raise InvalidRequest(
            "The type of your file is not known. Send 'file_data' as a data URL with its type, or a 'filename' with a "
            "suffix.",
            param=path,
            code="unsupported_content",
        )
    return _inline(kind, data)


def _inline(kind: str, data: str) -> JsonObject:
    return {"inlineData": {"mimeType": "text/plain" if _TEXT_TYPE.fullmatch(kind) else kind, "data": data}}


def _data_url(url: str, path: str) -> tuple[str, str]:
    """(type, base64)."""
    read = read_data_url(url)
    if read is None:
        raise InvalidRequest("must be a data URL, but has no comma.", param=path, code="invalid_value")
    data = read.data if read.is_base64 else base64.b64encode(unquote_to_bytes(read.data)).decode()
    return read.kind or "text/plain", data


def _kind_by_name(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    return _MIME_BY_SUFFIX.get(suffix, "text/plain" if suffix in _TEXT_SUFFIXES else "")


def _kind_by_content(data: str) -> str:
    try:
        raw = base64.b64decode(data)
        if raw.startswith(b"%PDF-"):
            return "application/pdf"
        raw.decode()
    except (binascii.Error, ValueError):
        return ""
    return "text/plain"
