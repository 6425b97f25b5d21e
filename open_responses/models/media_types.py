"""The media type of an image or a file, by its bytes.

What this prevents: "The image was specified using the image/jpeg media type, but the image appears to be a image/png
image", a refusal of the whole request, for a tool that names all its images alike.
"""

from __future__ import annotations

import base64
import binascii
from mimetypes import MimeTypes

IMAGE_BYTES = 16
"""Of which the longest signature (WebP) takes twelve."""
_SIGNATURE_CHARACTERS = 24
_PDF_IN_BASE64 = "JVBERi"
_HEIC = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})


def typed_by_its_bytes(url: str) -> str:
    """A data URL of an image with the media type of its bytes. Any other URL is returned as it is."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return url
    declared = head.removeprefix("data:").split(";")[0].lower()
    found = image_type(data)
    if found is None or found == declared:
        return url
    return f"data:{found};base64,{data}"


def image_type(data: str) -> str | None:
    """The media type of an image in base64; None for what is none of the types that vendors take."""
    try:
        first = base64.b64decode(data[:_SIGNATURE_CHARACTERS].rstrip("=") + "==")
    except (binascii.Error, ValueError):
        return None
    return type_of_image(first)


def type_of_image(first: bytes) -> str | None:
    """The media type of an image by its first `IMAGE_BYTES`; None for what is none of the types that vendors take."""
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if first.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if first.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if first.startswith(b"RIFF") and first[8:12] == b"WEBP":
        return "image/webp"
    if first[4:8] == b"ftyp" and first[8:12] in _HEIC:
        return "image/heic"
    return None


def file_type(data: str, filename: str | None) -> str:
    """The media type of a file in base64 or a data URL: of its bytes, else as it is declared or named.

    `text/plain` for anything that is text; empty for what is not base64.
    """
    head, comma, encoded = data.partition(",")
    declared, encoded = (head.removeprefix("data:").split(";")[0].lower(), encoded) if comma else ("", data)
    # First what the beginning shows: the whole of a large file takes a while.
    found = "application/pdf" if encoded.startswith(_PDF_IN_BASE64) else image_type(encoded)
    if found is not None:
        return found
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return ""
    # A table of its own has only Python's types, which are the same on every machine.
    declared = declared or MimeTypes().guess_type(filename or "")[0] or ""
    if declared.startswith(("image/", "audio/", "video/")) or declared == "application/pdf":
        return declared
    try:
        is_text = "\0" not in raw.decode()
    except UnicodeDecodeError:
        is_text = False
    return "text/plain" if is_text else declared or "application/octet-stream"
