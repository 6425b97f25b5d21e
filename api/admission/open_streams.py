"""Limits on open streams (SSE answers and WebSockets), for each API key and for this process.

Without them, one client that opens many streams, or does not close them, takes all connections of a process. A slot is
given back when its request or WebSocket ends (`api/request_ends.py`), so that no slot can be lost.
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import HTTPConnection

from api.request_ends import ends_of
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import RateLimited, Unavailable
from open_responses.io.metrics import recording as metrics

# The time until a stream ends is unknown. The openai SDK waits this long before each of its two retries.
_WAIT_SECONDS = 2.0


class OpenStreams:
    """The open streams of this process. They are not counted in Redis: connections end with the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def take(self, connection: HTTPConnection, key: ApiKeyConfig | None) -> None:
        """Take a slot until the request or the WebSocket ends.

        Raises RateLimited if all slots of the key are taken, and Unavailable if all of the process are.
        """
        account = "" if key is None else key.account
        if key is not None and self._open[account] >= key.max_open_streams:
            raise RateLimited(
                f"Your API key's limit of {key.max_open_streams} open streams and WebSockets is reached. Close one, "
                "or wait until one ends, and try again.",
                retry_after=_WAIT_SECONDS,
            )
        if self._open.total() >= self._most:
            raise Unavailable(
                f"This server has {self._most} streams and WebSockets open, which is its limit. Nothing was started. "
                "Try again after the time in Retry-After.",
                code="overloaded",
                retry_after=_WAIT_SECONDS,
            )
        self._open[account] += 1
        metrics.streams_open(self._open.total())
        ends_of(connection).callback(self._end, account)

    def _end(self, account: str) -> None:
        self._open[account] -= 1
        metrics.streams_open(self._open.total())
