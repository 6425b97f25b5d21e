"""Server-sent events are read as the standard says, however the bytes are cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.providers.shared.sse import SseDecoder

EVENTS = [
    ("message", b'{"a":1}'),
    ("error", b"first\nsecond"),
    ("message", " leading space, and no spaces: \u2028 \u00e9".encode()),
    ("ping", b""),
    ("message", b""),
    ("message", b"[DONE]"),
]
STREAM = (
    b': a comment\n\ndata: {"a":1}\n\n'
    b"event: error\nid: 7\nretry: 3\ndata: first\ndata:second\n\n"
    + "data:  leading space, and no spaces: \u2028 \u00e9\n\n".encode()
    + b"event:ping\n\n\n\ndata\n\nunknown: field\ndata: [DONE]\n\n"
)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@given(cuts=st.lists(st.integers(0, len(STREAM) * 2), max_size=40))
def test_each_cut_of_the_bytes_gives_the_same_events(line_end: bytes, cuts: list[int]) -> None:
    stream, decoder = STREAM.replace(b"\n", line_end), SseDecoder()
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(places)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS


def test_each_byte_may_come_alone() -> None:
    decoder = SseDecoder()
    assert [event for byte in STREAM for event in decoder.feed(bytes([byte]))] == EVENTS


def test_an_event_is_complete_with_its_empty_line() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: one\n") == []
    assert decoder.feed(b"\n") == [("message", b"one")]
    assert decoder.feed(b"data: two\r\n\r") == [("message", b"two")]
    assert decoder.feed(b"\ndata: three\n\n") == [("message", b"three")]
    assert decoder.feed(b"data: four\n\ndata: five\n\n") == [("message", b"four"), ("message", b"five")]
    assert decoder.feed(b"event: named\n") == []
    assert decoder.feed(b"data: six\n\n") == [("named", b"six")]
