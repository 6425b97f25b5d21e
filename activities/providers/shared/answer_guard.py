"""The bytes of one answer, counted as they come.

What this prevents: a line without an end, an unlimited number of keep-alives or events without content, and one
enormous event. Each would fill the memory before the adapter could reject it.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import httpx

from open_responses.config import ProviderConfig
from open_responses.errors import ProviderAnswerRefused

# Several large events may arrive before the adapter publishes any delta: the previews of an image, the echo of a
# request.
_EVENTS_WITHOUT_CONTENT = 4


PIECES = "open_responses.pieces"
"""The extension of an `httpx.Response` in which our transport passes on how to read its body."""


class Pieces(NamedTuple):
    """A body that is read piece by piece.

    `read` returns the next piece, and an empty one at the end. Within `mapped`, its exceptions become httpx's.
    """

    read: Callable[[], Awaitable[bytes]]
    mapped: Callable[[], AbstractContextManager[None]] = nullcontext


class GuardedBody(httpx.AsyncByteStream):
    """A body that raises ProviderAnswerRefused after too many bytes without an event, or without content.

    It has no byte order mark, which would be read as a part of the first event's first line. It has an empty line at
    its end, without which the last event would not be read where a server leaves it out.
    """

    def __init__(self, response: httpx.Response, config: ProviderConfig) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = response.stream
        self._pieces: Pieces = response.extensions.get(PIECES) or _iterated(response.stream)
        self._config = config
        self._mark = codecs.BOM_UTF8
        self._beginning = b""
        self._has_ended = False
        self.since_event = 0
        self.since_content = 0

    async def read(self) -> bytes:
        """The next piece, which is empty at the end alone."""
        if self._has_ended:
            return b""
        try:
            piece = await self._pieces.read()
        except Exception:
            with self._pieces.mapped():
                raise
        if not piece:
            self._has_ended = True
            return self._beginning + b"\n\n"
        if self._mark:
            piece = self._begun(piece)
            if not piece:
                return await self.read()
        size, limit = len(piece), self._config.max_event_bytes
        self.since_event += size
        self.since_content += size
        if self.since_event > limit:
            raise ProviderAnswerRefused(f"{self._config.name} sent one event of more than {limit} bytes")
        if self.since_content > limit * _EVENTS_WITHOUT_CONTENT:
            raise ProviderAnswerRefused(
                f"{self._config.name} sent more than {limit * _EVENTS_WITHOUT_CONTENT} bytes without any content"
            )
        return piece

    def _begun(self, piece: bytes) -> bytes:
        """What of the first pieces is behind the byte order mark; empty where the mark is not complete yet."""
        piece = self._beginning + piece
        if len(piece) < len(self._mark) and self._mark.startswith(piece):
            self._beginning = piece
            return b""
        piece, self._mark, self._beginning = piece.removeprefix(self._mark), b"", b""
        return piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read():
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _iterated(stream: httpx.AsyncByteStream) -> Pieces:
    """The body of an answer that has not come by our transport."""
    pieces = aiter(stream)

    async def read() -> bytes:
        while (piece := await anext(pieces, None)) == b"":
            pass
        return piece or b""

    return Pieces(read)


def guard(response: httpx.Response, config: ProviderConfig) -> None:
    response.stream = GuardedBody(response, config)


def body_of(response: httpx.Response) -> GuardedBody:
    """The body of an answer that is guarded."""
    assert isinstance(response.stream, GuardedBody)
    return response.stream


def event_read(response: httpx.Response) -> None:
    """Note the end of an event."""
    if isinstance(response.stream, GuardedBody):
        response.stream.since_event = 0
