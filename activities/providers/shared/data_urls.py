"""`data:` URLs, and the types of files (RFC 2397)."""

from __future__ import annotations

from mimetypes import MimeTypes
from typing import NamedTuple

_PDF = "application/pdf"


class DataUrl(NamedTuple):
    """`kind` is the media type in lower case, or empty if the URL has none; `data` is unchanged from the URL."""

    kind: str
    data: str
    is_base64: bool


def read_data_url(url: str) -> DataUrl | None:
    """Return the parts; None if the text is no data URL."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:")):
        return None
    kind, *settings = head.removeprefix("data:").split(";")
    return DataUrl(kind.lower(), data, "base64" in settings)


def as_data_url(data: str, filename: str | None) -> str:
    """Return `file_data` as a data URL, with the media type of the name's suffix, or PDF for an unknown suffix."""
    if data.startswith("data:"):
        return data
    return f"data:{_types().guess_type(filename or '')[0] or _PDF};base64,{data}"


def suffix_of(kind: str) -> str:
    """Return `.pdf` for `application/pdf`; empty for an unknown type."""
    return _types().guess_extension(kind) or ""


def _types() -> MimeTypes:
    # A new instance has only Python's own table, which is the same on every machine.
    return MimeTypes()
