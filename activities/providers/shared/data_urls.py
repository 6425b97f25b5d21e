"""`data:` URLs, and the types of files (RFC 2397)."""

from __future__ import annotations

from mimetypes import MimeTypes
from typing import NamedTuple

_PDF = "application/pdf"


class DataUrl(NamedTuple):
    """`kind` is the media type in small letters, empty where none is told; `data` is as it stands in the URL."""

    kind: str
    data: str
    is_base64: bool


def read_data_url(url: str) -> DataUrl | None:
    """None for what is no data URL."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:")):
        return None
    kind, *settings = head.removeprefix("data:").split(";")
    return DataUrl(kind.lower(), data, "base64" in settings)


def as_data_url(data: str, filename: str | None) -> str:
    """`file_data` as a data URL, whose type the name tells; PDF where it does not."""
    if data.startswith("data:"):
        return data
    return f"data:{_types().guess_type(filename or '')[0] or _PDF};base64,{data}"


def suffix_of(kind: str) -> str:
    """`.pdf` of `application/pdf`; empty for a type that is not known."""
    return _types().guess_extension(kind) or ""


def _types() -> MimeTypes:
    # A fresh one knows Python's own table alone: the same on every machine.
    return MimeTypes()
