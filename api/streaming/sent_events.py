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

    def add(self, event: bytes) -> None:
        self._sums.append(zlib.crc32(event))

    def agree_with(self, events: Sequence[bytes], begin: int) -> bool:
        """Whether these events, numbered from `begin`, are those that were sent, as far as both go."""
        sent = self._sums[max(0, begin - self.first) :]
        told = events[max(0, self.first - begin) :]
        return all(zlib.crc32(event) == known for event, known in zip(told, sent, strict=False))
