"""How many streams one API key may have open, and how many this process has room for: SSE answers and WebSockets.

What this prevents: one client, or one that forgets to close what it opens, that takes all connections of a process. A
place ends with its request or socket (`api/request_ends.py`), so none can be left behind.
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import HTTPConnection

from api.request_ends import ends_of
from open_responses.config import ApiKeyConfig
from open_responses.errors import RateLimited, Unavailable

# Nobody knows when a stream ends; a client of the openai SDK asks twice more in this time.
_WAIT_SECONDS = 2.0


class OpenStreams:
    """Of this process alone: a connection lives and dies with it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def take(self, connection: HTTPConnection, key: ApiKeyConfig | None) -> None:
        """A place until the connection's request, or the socket, is over. Raises RateLimited for a key that has all of
        its own, and Unavailable when the process has no more."""
        account = "" if key is None else key.account
        if key is not None and self._open[account] >= key.max_open_streams:
            raise RateLimited(
                f"The API key's limit of {key.max_open_streams} open streams and WebSockets is reached. Try again when "
                "one has been closed.",
                retry_after=_WAIT_SECONDS,
            )
        if self._open.total() >= self._most:
            raise Unavailable(
                f"This server has {self._most} streams and WebSockets open, which is as many as it takes. Nothing was "
                "started; try again later.",
                code="overloaded",
                retry_after=_WAIT_SECONDS,
            )
        self._open[account] += 1
        ends_of(connection).callback(self._end, account)

    def _end(self, account: str) -> None:
        self._open[account] -= 1
