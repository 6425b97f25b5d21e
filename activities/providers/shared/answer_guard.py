"""The bytes of one answer, counted as they come.

What this prevents: a line without an end, an unlimited number of keep-alives or events without content, and one
enormous event. Each would fill the memory before the adapter could reject it.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Sequence

import httpx

from open_responses.config import ProviderConfig
from open_responses.errors import ProviderAnswerRefused

# Several large events may arrive before the adapter publishes any delta: the previews of an image, the echo of a
# request.
_EVENTS_WITHOUT_CONTENT = 4


class GuardedBody(httpx.AsyncByteStream):
    """A body that raises ProviderAnswerRefused after too many bytes without an event, or without content."""

    def __init__(self, stream: httpx.AsyncByteStream, config: ProviderConfig) -> None:
        self._stream = stream
        self._config = config
        self.since_event = 0
        self.since_content = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        limit = self._config.max_event_bytes
        async for chunk in _framed(self._stream):
            self.since_event += len(chunk)
            self.since_content += len(chunk)
            if self.since_event > limit:
                raise ProviderAnswerRefused(f"{self._config.name} sent one event of more than {limit} bytes")
            if self.since_content > limit * _EVENTS_WITHOUT_CONTENT:
                raise ProviderAnswerRefused(
                    f"{self._config.name} sent more than {limit * _EVENTS_WITHOUT_CONTENT} bytes without any content"
                )
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _framed(stream: httpx.AsyncByteStream) -> AsyncIterator[bytes]:
    """Without a byte order mark, which would be read as a part of the first event's first line; with an empty line at
    the end, without which the last event would not be read where a server leaves it out."""
    mark, beginning = codecs.BOM_UTF8, b""
    async for chunk in stream:
        if mark:
            beginning += chunk
            if len(beginning) < len(mark) and mark.startswith(beginning):
                continue
            chunk, mark = beginning.removeprefix(mark), b""
        yield chunk
    yield (beginning if mark else b"") + b"\n\n"


def guard(response: httpx.Response, config: ProviderConfig) -> None:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = GuardedBody(response.stream, config)


def event_read(response: httpx.Response) -> None:
    """Note the end of an event."""
    if isinstance(response.stream, GuardedBody):
        response.stream.since_event = 0


def content_read(response: httpx.Response, deltas: Sequence[object]) -> None:
    """Note whether the last event had content."""
    if deltas and isinstance(response.stream, GuardedBody):
        response.stream.since_content = 0
