"""The steers that this process has sent to workflows and that are not answered yet.

What this prevents: a client that sends hundreds at once. Temporal takes ten updates of a run at a time, and its client
sends each of the others again and again, until the time of the request is over and nobody can say what became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from open_responses.loop.steering import MAX_WAITING_STEERS


class TooManySteers(Exception):
    """As many of a response are under way as may be."""


class SteersInFlight:
    """Counts by response. `most`: of one response."""

    def __init__(self, most: int = MAX_WAITING_STEERS) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

    @contextmanager
    def one(self, response_id: str) -> Iterator[None]:
        """Raises TooManySteers."""
        if self._counts[response_id] >= self._most:
            raise TooManySteers
        self._counts[response_id] += 1
        try:
            yield
        finally:
            self._counts[response_id] -= 1
            if not self._counts[response_id]:
                del self._counts[response_id]
