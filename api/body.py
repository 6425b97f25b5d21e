"""Reads a request's body with limits on its size and its time, and parses large ones off the event loop."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.admission.received_bytes import held_by
from open_responses.errors import RequestTimeout, RequestTooLarge, UnsupportedEncoding
from open_responses.json_types import JsonObject
from open_responses.schema.off_loop import off_loop
from open_responses.schema.validation import CHECK_NAMES, complaint_of, read_json_object

Body = TypeVar("Body", bound=BaseModel)

# 8 KiB a second on average, or the rest of the body. The average is per window: over the whole body, a client could
# send the first part fast, and then hold the connection for long.
WINDOW_SECONDS = 20.0
WINDOW_BYTES = 160 * 1024


async def read_object(request: Request, limit: int) -> tuple[JsonObject, int]:
    """The body as an object, and its size in bytes. Raises as `read_body` and `read_json_object` do."""
    raw = await read_body(request, limit)
    return await off_loop(len(raw), read_json_object, raw), len(raw)


async def read_model(kind: type[Body], request: Request, limit: int, *, may_be_empty: bool = False) -> Body:
    """Return the body as this model; an empty body as an empty object, if it may be one. Raises as `read_body`, and
    InvalidRequest."""
    raw = await read_body(request, limit)
    return model_of(kind, {} if may_be_empty and not raw else await off_loop(len(raw), read_json_object, raw))


def model_of(kind: type[Body], read: JsonObject) -> Body:
    """Raises InvalidRequest, with the place and the reason."""
    try:
        return kind.model_validate(read, context=CHECK_NAMES)
    except ValidationError as error:
        raise complaint_of(error) from None


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, of `limit` bytes at most.

    Raises:
        RequestTooLarge: As soon as the size is known; nothing more is read.
        RateLimited: The key's unanswered requests hold too many bytes.
        Unavailable: The process's unanswered requests hold too many bytes.
        RequestTimeout: Less than `WINDOW_BYTES` and not the end of the body arrived within `WINDOW_SECONDS`.
        UnsupportedEncoding: The body is compressed, so its real size is unknown.
    """
    check_is_plain(request)
    received = held_by(request)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit():
        if int(declared) > limit:
            raise _too_large(limit)
        if received is not None:
            received.expect(int(declared))
    chunks: list[bytes] = []
    size, wanted = 0, WINDOW_BYTES
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(WINDOW_SECONDS) as window:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
                if received is not None:
                    received.add(len(chunk))
                chunks.append(chunk)
                if size >= wanted:
                    wanted = size + WINDOW_BYTES
                    window.reschedule(now() + WINDOW_SECONDS)
    except TimeoutError:
        raise too_slow() from None
    else:
        return b"".join(chunks)
    finally:
        # An exception keeps this frame, and with it the chunks, until the next garbage collection.
        chunks.clear()


def check_is_plain(request: Request) -> None:
    """Raises UnsupportedEncoding for a compressed body."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedEncoding(
            "Your request has a Content-Encoding, which this server does not accept. Send the body uncompressed."
        )


def too_slow() -> RequestTimeout:
    return RequestTimeout(
        f"The body of your request arrived too slowly: less than {WINDOW_BYTES} bytes in {WINDOW_SECONDS:g} "
        "seconds. Send it again, faster."
    )


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The body of your request is larger than {limit} bytes, the most that this server accepts. Send less."
    )
