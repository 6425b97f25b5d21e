"""A checksum of each event that a client has received, to compare with a log that was started anew."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence


class SentEvents:
    """From event `first` on: what came before was sent by somebody else."""

    def __init__(self, first: int) -> None:
        self.first = first
        self._sums = array("I")

    @property
    def next(self) -> int:
        """The sequence number of the next event."""
        return self.first + len(self._sums)

    def add(self, events: Sequence[bytes]) -> None:
        self._sums.extend(map(zlib.crc32, events))

    def agree_with(self, events: Sequence[bytes], begin: int) -> bool:
        """Whether these events, numbered from `begin`, are those that were sent, as far as both go."""
        sent = self._sums[max(0, begin - self.first) :]
        told = events[max(0, self.first - begin) :]
        return all(zlib.crc32(event) == known for event, known in zip(told, sent, strict=False))
