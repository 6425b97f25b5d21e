"""The media type of an image, by its first bytes.

What this prevents: "The image was specified using the image/jpeg media type, but the image appears to be a image/png
image", a refusal of the whole request, for a tool that names all its images alike.
"""

from __future__ import annotations

import base64
import binascii

# Sixteen bytes, of which the longest signature (WebP) takes twelve.
_SIGNATURE_CHARACTERS = 24
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
