"""Reads a `multipart/form-data` body with one file, part by part, never the whole file in memory.

What this prevents: an upload that takes as much memory as the file, and one that never ends. What has arrived goes to
disk a mebibyte at a time; the bounds of `api/body.py` on the speed of a body hold here as well.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.body import WINDOW_BYTES, WINDOW_SECONDS, check_is_plain, too_slow
from open_responses.errors import InvalidRequest, RequestTooLarge
from open_responses.schema.validation import shorten

FORM_BYTES = 64 * 1024
"""The most bytes of a body that are not the file's: boundaries, headers and the other fields."""

_FLUSHED_BYTES = 1024 * 1024
_LONGEST_FIELD = 1024
_LONGEST_NAME = 255
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

Write = Callable[[bytes], Awaitable[None]]


@dataclass
class Form:
    """The fields of a form but the file, and the file's name and size."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    size: int = 0


async def read_form(request: Request, *, most: int, write: Write) -> Form:
    """Read the body. The bytes of the file, which is the part named `file`, go to `write` as they arrive.

    Raises InvalidRequest for a body that is no such form, RequestTooLarge for a file of more than `most` bytes,
    RequestTimeout as `read_body` does, and what `write` raises.
    """
    check_is_plain(request)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind.lower() != b"multipart/form-data" or not boundary:
        raise InvalidRequest(
            "The body must be multipart/form-data with a boundary, and the parts 'file' and 'purpose'.",
            code="invalid_value",
        )
    reading = _Reading(boundary, most)
    declared = declared_size(request)
    if declared is not None and declared > most + FORM_BYTES:
        raise reading.too_large()
    now = asyncio.get_running_loop().time
    received, wanted = 0, WINDOW_BYTES
    try:
        async with asyncio.timeout(WINDOW_SECONDS) as window:
            async for chunk in request.stream():
                received += len(chunk)
                reading.take(chunk)
                if received >= wanted:
                    wanted = received + WINDOW_BYTES
                    window.reschedule(now() + WINDOW_SECONDS)
                if len(reading.waiting) >= _FLUSHED_BYTES:
                    await write(reading.taken())
    except TimeoutError:
        raise too_slow() from None
    form = reading.end()
    await write(reading.taken())
    return form


def declared_size(request: Request) -> int | None:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else None


class _Reading:
    """The state of one form, driven by the parser's callbacks."""

    def __init__(self, boundary: bytes, most: int) -> None:
        self._most = most
        self._form = Form()
        self._received = 0
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._name: str | None = None
        self._value = bytearray()
        self._is_complete = False
        self.waiting = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _broken() from error

    def take(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken() from error
        self._received += len(chunk)
        if self._received - self._form.size > FORM_BYTES:
            raise InvalidRequest(
                f"The form has more than {FORM_BYTES} bytes beside its file. Send only 'file', 'purpose' and "
                "'expires_after'.",
                code="invalid_value",
            )

    def taken(self) -> bytes:
        """Bytes of the file that are not written yet."""
        data = bytes(self.waiting)
        self.waiting.clear()
        return data

    def end(self) -> Form:
        if not self._is_complete:
            raise _broken()
        if self._form.filename is None:
            raise InvalidRequest("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
        return self._form

    def too_large(self) -> RequestTooLarge:
        return RequestTooLarge(
            f"The file is larger than {self._most} bytes, the most that this server accepts. Send a smaller one.",
            param="file",
        )

    def _begin_part(self) -> None:
        self._disposition, self._name = b"", None
        self._value.clear()

    def _end_header(self) -> None:
        name, value = self._header
        if bytes(name).lower() == b"content-disposition":
            self._disposition = bytes(value)
        name.clear()
        value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise _broken()
        self._name = name.decode("utf-8", "replace")
        if self._name in self._form.fields or (self._name == "file" and self._form.filename is not None):
            raise InvalidRequest(
                f"The form has {shorten(self._name)!r} twice. Send it once.",
                param=shorten(self._name),
                code="invalid_value",
            )
        if self._name == "file":
            given = options.get(b"filename")
            if given is None:
                raise InvalidRequest(
                    "'file' must be a file: its part needs a filename.", param="file", code="invalid_type"
                )
            self._form.filename = plain_name(given.decode("utf-8", "replace"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name != "file":
            self._value += data[start:end]
            if len(self._value) > _LONGEST_FIELD:
                raise InvalidRequest(
                    f"{shorten(self._name or '')!r} is too long.", param=shorten(self._name or ""), code="invalid_value"
                )
            return
        self._form.size += end - start
        if self._form.size > self._most:
            raise self.too_large()
        self.waiting += data[start:end]

    def _end_part(self) -> None:
        if self._name is not None and self._name != "file":
            self._form.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._is_complete = True


def plain_name(given: str) -> str:
    """A file's name without folders and without characters that no file has. It is shown, and never a path."""
    name = _UNPRINTABLE.sub("", given.replace("\\", "/").rpartition("/")[2]).strip()
    return name[:_LONGEST_NAME] or "file"


def _broken() -> InvalidRequest:
    return InvalidRequest(
        "The body is not a complete multipart/form-data form. Send it as the openai SDK's files.create does.",
        code="invalid_value",
    )
