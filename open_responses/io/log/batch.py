"""The batch that one call of the append script carries: consecutive events of one stream, bounded in number and bytes.

What this prevents: a restored log or a large event that blocks Redis for all streams, or closes its connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# Events in one script call. This bounds the time for which a restored log blocks Redis.
_BATCH = 200
# The same bound in bytes, for large events. One pipeline has at most this much of a stream.
_BATCH_BYTES = 1 << 20
# Redis closes the connection, with all that is in the pipeline, for one beyond its `proto-max-bulk-len` (512 MB).
_LARGEST_EVENT_BYTES = 64 << 20


@dataclass(slots=True)
class Batch:
    """Consecutive events of one stream, encoded, from sequence number `first` on."""

    first: int
    events: list[bytes]
    fields: Mapping[str, bytes] = field(default_factory=dict)


def first_page(encoded: Iterable[bytes]) -> list[bytes]:
    """The first of these events, as many as one script call takes, but at least one. Raises EventTooLarge."""
    events, size = list[bytes](), 0
    for event in encoded:
        if len(event) > _LARGEST_EVENT_BYTES:
            raise EventTooLarge(
                f"an event has {len(event)} bytes, and the event log takes {_LARGEST_EVENT_BYTES} at most"
            )
        if events and (len(events) == _BATCH or size + len(event) > _BATCH_BYTES):
            break
        events.append(event)
        size += len(event)
    return events


class EventTooLarge(ValueError):
    """An event so large that Redis would close the connection."""
