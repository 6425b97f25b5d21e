"""The last unsent delta of a writer, into which further deltas are merged while Redis is slow or does not answer.

Each join of two strings copies both, so a delta that grew by one character at a time would be copied as often as it has
characters. The pieces are kept apart, and joined once, when the event is sent.
"""

from __future__ import annotations

from open_responses.events.event_types import MERGEABLE_EVENTS
from open_responses.json_types import JsonObject

LONGEST_MERGED = 1 << 16
"""The characters from which on no further delta is merged into one."""


class MergedDelta:
    """The pieces of one event's delta. `close` puts them into the event."""

    def __init__(self) -> None:
        self.event: JsonObject | None = None
        """The event into which deltas are merged at the moment."""
        self._pieces: list[str] = []
        self._characters = 0

    def takes(self, last: JsonObject, event: JsonObject) -> bool:
        """Whether `event` is merged into `last`, the newest event that is not sent yet."""
        if not _continues(last, event):
            return False
        if self.event is not last:
            self.close()
            self.event, self._pieces, self._characters = last, [last["delta"]], len(last["delta"])
        if self._characters >= LONGEST_MERGED:
            return False
        self._pieces.append(event["delta"])
        self._characters += len(event["delta"])
        return True

    def close(self) -> None:
        """Put the merged pieces into the event, which is complete from then on."""
        if self.event is not None:
            self.event["delta"] = "".join(self._pieces)
        self.event, self._pieces = None, []


def _continues(last: JsonObject, event: JsonObject) -> bool:
    return (
        event["type"] in MERGEABLE_EVENTS
        and last["type"] == event["type"]
        and last["item_id"] == event["item_id"]
        and last.get("content_index") == event.get("content_index")
        and not event.get("logprobs")
        and not last.get("logprobs")
    )
