"""How long an appender waits for more events before it sends a pipeline: not at all, unless many streams are busy.

What this prevents: a write to Redis, and a wake-up of Redis and of each API process, for every single event while
thousands arrive a second. Their processor time is what the streams of a busy machine lack, so they also come sooner.
"""

from __future__ import annotations

import asyncio

WINDOW_SECONDS = 0.012
"""The longest wait. A stream of 20 events a second has its next one after 0.05."""
_BUSY = 200
"""Batches a second of one process from which on it waits: fewer than three would come together below that."""
_MEASURED_SECONDS = 0.1


class AppendWindow:
    """Counts the batches that are sent, and waits where they are many."""

    def __init__(self, *, seconds: float = WINDOW_SECONDS) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._batches = 0
        self._is_busy = False
        self._is_urgent = False
        self._closed: asyncio.Future[None] | None = None

    def sent(self, batches: int) -> None:
        """Count the batches of a pipeline."""
        now = self._loop.time()
        self._batches += batches
        if now - self._since >= _MEASURED_SECONDS:
            self._is_busy = self._batches >= _BUSY * (now - self._since)
            self._since, self._batches = now, 0

    def close(self) -> None:
        """End the wait: something must be sent at once."""
        self._is_urgent = True
        self._end()

    async def wait(self) -> None:
        """Return at once on a process that is not busy, or has something urgent; else after the window."""
        if self._is_busy and not self._is_urgent:
            self._closed = self._loop.create_future()
            timer = self._loop.call_later(self._seconds, self._end)
            try:
                await self._closed
            finally:
                timer.cancel()
                self._closed = None
        self._is_urgent = False

    def _end(self) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
