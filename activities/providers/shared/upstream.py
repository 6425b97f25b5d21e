"""One HTTP call to a provider, and the frames of its answer, independent of a vendor's format."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, TypeAlias

import httpx
import orjson

from activities.providers.shared.answer_guard import body_of, event_read, guard
from activities.providers.shared.error_mapping import ReadError, transport_errors
from activities.providers.shared.http import EncodedAnswer, send_stream
from activities.providers.shared.sse import SseDecoder
from open_responses.config import ProviderConfig
from open_responses.errors import ProviderHungUp, ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.tool_use.json_safety import whole_characters

CONNECT_SECONDS = 10.0
DONE = "[DONE]"
"""The data of the last event of OpenAI's streams, and the name of the event that `sse_objects` yields for it."""
_DONE = (DONE, DONE.encode())
NamedObject: TypeAlias = tuple[str, JsonObject]
"""The name of a server-sent event, and the object in its data."""
_LARGEST_ERROR = 64 * 1024


@asynccontextmanager
async def open_stream(
    http: httpx.AsyncClient,
    config: ProviderConfig,
    path: str,
    *,
    body: JsonObject | None,
    headers: Mapping[str, str],
    read_error: ReadError,
    method: Literal["GET", "POST"] | None = None,
) -> AsyncIterator[httpx.Response]:
    """POST `body` (GET for None) to `base_url` + `path`, and the answer to read from. Raises the ProviderError family.

    `timeout_seconds` bounds each silence: until the first byte, and between two; `max_event_bytes`, one event.
    """
    request = http.build_request(
        method or ("GET" if body is None else "POST"),
        config.base_url.rstrip("/") + path,
        content=None if body is None else _written(body),
        headers=dict(headers) if body is None else {**headers, "Content-Type": "application/json"},
        # aiohttp counts the connection as a part of the wait for a free one.
        timeout=httpx.Timeout(config.timeout_seconds, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
    )
    with transport_errors(config):
        with _nothing_answered(config):
            response = await send_stream(http, request)
        try:
            guard(response, config)
            if response.status_code != 200:
                raise read_error(response.status_code, await _beginning(response), response.headers)
            yield response
        finally:
            await response.aclose()


@contextmanager
def _nothing_answered(config: ProviderConfig) -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.TimeoutException, EncodedAnswer):
        raise
    except httpx.TransportError as error:
        raise ProviderHungUp(f"{config.name} closed the connection without an answer") from error


async def _beginning(response: httpx.Response) -> bytes:
    """Read the beginning of an error's body, which suffices for its message."""
    read = bytearray()
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) >= _LARGEST_ERROR:
            break
    return bytes(read[:_LARGEST_ERROR])


def _written(body: JsonObject) -> bytes:
    """Write JSON as httpx does, in a fiftieth of the time.

    The standard library writes values that orjson rejects, such as an integer of more than 64 bits. Half of a surrogate
    pair, which UTF-8 cannot encode, becomes U+FFFD.
    """
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return whole_characters(text).encode()


def is_event_stream(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.startswith("text/event-stream")


async def sse_objects(response: httpx.Response) -> AsyncGenerator[list[NamedObject], None]:
    """(event name, object) of each event with data, up to the stream's end; (DONE, {}) where the server sends that.

    Those that arrive together come together.
    """
    body, decoder, is_done = body_of(response), SseDecoder(), False
    while not is_done and (piece := await body.read()):
        found: list[NamedObject] = []
        try:
            for name, data in decoder.feed(piece):
                body.since_event = 0
                for text in (data,) if b"\n" not in data else texts_of(data.decode(errors="replace")):
                    if text.strip() in _DONE:
                        found.append((DONE, {}))
                        is_done = True
                        break
                    if text:
                        found.append((name, _object(text)))
                if is_done:
                    break
        except (ValueError, RecursionError, ProviderStreamBroken):
            # What came before it is whole, and may be the end of the answer.
            if found:
                yield found
            raise
        if found:
            yield found


def texts_of(data: str) -> list[str]:
    """The texts of an event's data: one, or one for each line where a server leaves out the lines between events."""
    if "\n" not in data:
        return [data]
    try:
        _read(data)
    except json.JSONDecodeError:
        return data.split("\n")
    return [data]


async def ndjson_objects(response: httpx.Response) -> AsyncGenerator[list[JsonObject], None]:
    """The object on each line."""
    async for line in lines(response):
        if line.strip():
            event_read(response)
            yield [_object(line)]


async def lines(response: httpx.Response) -> AsyncIterator[str]:
    """Yield lines that end by LF or CRLF. httpx also splits at other characters, such as U+2028, which JSON may
    contain."""
    pieces: list[str] = []
    async for text in response.aiter_text():
        *ended, rest = text.split("\n")
        for piece in ended:
            yield "".join([*pieces, piece]).removesuffix("\r")
            pieces.clear()
        pieces.append(rest)
    if any(pieces):
        yield "".join(pieces).removesuffix("\r")


def _read(text: str | bytes) -> Any:
    """Read JSON as `json.loads` does, in a third of the time. Texts that orjson rejects, such as half a surrogate pair,
    are read by the standard library. Bytes that are not UTF-8 become U+FFFD."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text.decode(errors="replace") if isinstance(text, bytes) else text)


def _object(text: str | bytes) -> JsonObject:
    """Raises ProviderStreamBroken for JSON that is not an object."""
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        read = _read(text)
    return read if type(read) is dict else chunk_object(read)


def chunk_object(read: Any) -> JsonObject:
    if not isinstance(read, dict):
        raise ProviderStreamBroken("the provider sent a chunk that is not an object")
    return read
