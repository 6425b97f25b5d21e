"""The format of events and of the log's state: the bytes of an event, and the names of fields."""

from __future__ import annotations

import re

import orjson

from open_responses.json_types import JsonObject

# U+0085, U+2028, U+2029 in UTF-8.
_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")


def encode(event: JsonObject, sequence: int) -> bytes:
    """Encode one event. `type` and `sequence_number` come first, because readers rely on that.

    Unicode's line separators are escaped: many SSE parsers split a line there (Python's `splitlines`, httpx's
    `iter_lines`), although the standard does not.
    """
    encoded = orjson.dumps({"type": event["type"], "sequence_number": sequence, **event})
    return encoded if encoded.isascii() else _LINE_ENDS.sub(_escaped, encoded)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def item_field(index: int) -> str:
    """The state's field that holds the output item with this index."""
    return f"item:{index}"
