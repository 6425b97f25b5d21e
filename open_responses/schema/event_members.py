"""The members that several events of a stream share."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from open_responses.schema.output_items import Count


class Event(TypedDict):
    """Members of every event."""

    sequence_number: Count


class OfItem(Event):
    """Members of an event about an output item."""

    item_id: str
    output_index: Count


class OfPart(OfItem):
    """Members of an event about a content part."""

    content_index: Count


class OfSummary(OfItem):
    """Members of an event about a part of a summary."""

    summary_index: Count


class Padded(TypedDict):
    """The member that pads a delta."""

    # Hides the length of `delta` on the wire (`api/streaming/obfuscation.py`); absent if the client opted out.
    obfuscation: NotRequired[str]
