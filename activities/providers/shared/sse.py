"""Server-sent events, from the bytes of an answer to the bytes of each event's data.

A library that gives lines of text would decode every byte twice, pass it through four generators, and leave the JSON
parser to encode it again. Source: the WHATWG HTML standard, section 9.2.6.
"""

from __future__ import annotations

MESSAGE = "message"
"""The name of an event that has none."""

_NAME, _DATA, _END = b"event: ", b"data: ", b"\n\n"


class SseDecoder:
    """Takes the pieces of one stream as they arrive. The work is linear in their size."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._name = MESSAGE
        self._data: list[bytes] = []
        self._ends_with_cr = False

    def feed(self, piece: bytes) -> list[tuple[str, bytes]]:
        """Return (name, data) of each event that this piece completes."""
        if piece.endswith(_END) and b"\r" not in piece and not (self._line or self._data or self._ends_with_cr):
            events = _whole_events(piece) if self._name == MESSAGE else None
            if events is not None:
                return events
        return self._lines(piece)

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


def _whole_events(piece: bytes) -> list[tuple[str, bytes]] | None:
    """The events of a piece that is whole events with one line of data each, and a name or none; None for any other.

    Most providers send nothing else.
    """
    events: list[tuple[str, bytes]] = []
    for block in piece[: -len(_END)].split(_END):
        name = MESSAGE
        if block.startswith(_NAME):
            line, _, block = block.partition(b"\n")
            name = line[len(_NAME) :].decode(errors="replace") or MESSAGE
        if not block.startswith(_DATA) or b"\n" in block:
            return None
        events.append((name, block[len(_DATA) :]))
    return events
