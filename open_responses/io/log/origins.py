"""The writers of a log, and the first event of each.

What this prevents: a reader that takes one writer's event for the continuation of another's. After a loss, a log begins
again, and several writers may follow before the reader reads it again. The last writer begins after the reader's
position, and its events do not show that an earlier writer began before that position.
"""

from __future__ import annotations

from typing import NamedTuple


class Origin(NamedTuple):
    """A writer by its fence, and the sequence number of the first event of its own; it continued the events before."""

    fence: int
    begin: int

    @classmethod
    def of(cls, encoded: bytes) -> Origin:
        """Parse `Writer.origin`."""
        fence, _, begin = encoded.partition(b"-")
        return cls(int(fence), int(begin))


def written_since(known: int, newest: int, origins: bytes) -> int:
    """The lowest sequence number from which later writers than a known one have written; 0 if that is not known.

    Args:
        known: The fence of the known writer.
        newest: The fence of the log's last writer.
        origins: The state's field of this name (`append.lua`). A writer of a version before this field leaves it as it
            was, so that its last entry is not the last writer.
    """
    writers = [Origin.of(encoded) for encoded in origins.split()]
    if not writers or writers[-1].fence != newest or newest <= known:
        return 0
    return min(writer.begin for writer in writers if writer.fence > known)
