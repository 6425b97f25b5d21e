"""Server-sent events, from the bytes of an answer to the bytes of each event's data.

A library that gives lines of text would decode every byte twice, pass it through four generators, and leave the JSON
parser to encode it again. Source: the WHATWG HTML standard, section 9.2.6.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from activities.providers.shared.answer_guard import event_read

MESSAGE = "message"
"""The name of an event that has none."""

# Most providers send an event with one line of data in one piece.
_START, _END = b"data: ", b"\n\n"


class SseDecoder:
    """Takes the pieces of one stream as they arrive. The work is linear in their size."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._name = MESSAGE
        self._data: list[bytes] = []
        self._ends_with_cr = False

    def feed(self, piece: bytes) -> list[tuple[str, bytes]]:
        """Return (name, data) of each event that this piece completes."""
        if self._is_simple_event(piece):
            return [(MESSAGE, piece[len(_START) : -len(_END)])]
        return self._lines(piece)

    def _is_simple_event(self, piece: bytes) -> bool:
        return (
            piece.startswith(_START)
            and piece.endswith(_END)
            and piece.find(b"\n") == len(piece) - len(_END)
            and b"\r" not in piece
            and not (self._line or self._data)
            and self._name == MESSAGE
        )

    def _lines(self, piece: bytes) -> list[tuple[str, bytes]]:
        if self._ends_with_cr:
            self._ends_with_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._ends_with_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = piece.split(b"\n")
        events: list[tuple[str, bytes]] = []
        for line in ended:
            if self._line:
                line = b"".join([*self._line, line])
                self._line.clear()
            if line:
                self._field(line)
            elif self._data or self._name != MESSAGE:
                events.append((self._name, b"\n".join(self._data)))
                self._data, self._name = [], MESSAGE
        if rest:
            self._line.append(rest)
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.removeprefix(b" ").decode(errors="replace") or MESSAGE


async def server_sent_events(response: httpx.Response) -> AsyncGenerator[tuple[str, bytes], None]:
    """(name, data) of each event, up to the end of the body. The data is not decoded.

    The body has to be guarded (`answer_guard.guard`), which takes its byte order mark away and ends its last event.
    """
    decoder = SseDecoder()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for piece in response.stream:
        for event in decoder.feed(piece):
            event_read(response)
            yield event
