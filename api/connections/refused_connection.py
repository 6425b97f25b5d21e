"""The last second of a connection whose client was refused: what still arrives is read and dropped.

The system resets a connection that is closed with unread data, and the client would not see why it was refused.
"""

from __future__ import annotations

import asyncio

import structlog

log = structlog.get_logger(__name__)

_LAST_SECONDS = 1.0
_LAST_BYTES = 256 * 1024


class RefusedConnection:
    """To be made when the last answer was written. `abort` is the timer that cuts the connection in the end.

    `reason` is what the log line of the refusal has.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, reason: str) -> None:
        log.info("connection_refused", reason=reason)
        self._transport = transport
        self._dropped_bytes = 0
        if transport.can_write_eof():
            transport.write_eof()
        self.abort = loop.call_later(_LAST_SECONDS, transport.abort)

    def drop(self, size: int) -> None:
        """Count `size` bytes that arrived. Too many of them cut the connection at once."""
        self._dropped_bytes += size
        if self._dropped_bytes > _LAST_BYTES:
            self._transport.abort()
