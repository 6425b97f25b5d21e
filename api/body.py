"""Reading a request's body, up to a limit."""

from __future__ import annotations

import asyncio

from fastapi import Request

from open_responses.errors import InvalidRequest, RequestTooLarge, UnsupportedEncoding

_SILENCE_SECONDS = 30.0


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises RequestTooLarge as soon as it is known to be, and reads no further; UnsupportedEncoding
    for one that is compressed, whose size nobody knows."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedEncoding("Send the body as it is, without a Content-Encoding.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    stream = request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), _SILENCE_SECONDS)
        except StopAsyncIteration:
            return b"".join(chunks)
        except TimeoutError:
            message = f"The rest of the body did not come within {_SILENCE_SECONDS:g} seconds."
            raise InvalidRequest(message, code="invalid_json") from None
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is larger than {limit} bytes.")
