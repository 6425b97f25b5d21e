"""Limits the bytes that this process holds of unanswered requests, for each API key and in all.

Without it, a few bodies of the largest size that are sent and never finished take all memory. Each stays below the
limit of a single body, and a key's limit on requests counts only those that are complete.
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import RateLimited, RequestTooLarge, Unavailable

_SCOPE = "open_responses.received"
# The time until other requests are answered is unknown. The openai SDK waits this long before each of its two
# retries.
_WAIT_SECONDS = 2.0


class ReceivedBytes:
    """The bytes held by this process, in all and for each key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    def of(self, key: ApiKeyConfig | None) -> Received:
        """A counter for one request, or one message of a WebSocket."""
        return Received(self, key)

    def check(self, key: ApiKeyConfig | None, more: int, own: int) -> None:
        """Check that there is room for `more` bytes. `own` is what the request holds already.

        Raises RateLimited if the key has no room, Unavailable if the process has none, and RequestTooLarge if the
        request would not fit into an idle server either.
        """
        most = self._most if key is None else min(key.max_received_bytes, self._most)
        if own + more > most:
            raise RequestTooLarge(
                f"Your request is larger than {most} bytes, the most that this server accepts. Send less."
            )
        if key is not None and self._held[key.account] + more > key.max_received_bytes:
            raise RateLimited(
                f"With this request, the unanswered requests of your API key have more than {key.max_received_bytes} "
                "bytes. Try again when some of them are answered.",
                retry_after=_WAIT_SECONDS,
            )
        if self._held.total() + more > self._most:
            raise Unavailable(
                f"With this request, the requests that this server has not answered yet have more than {self._most} "
                "bytes. Nothing was started. Try again after the time in Retry-After.",
                code="overloaded",
                retry_after=_WAIT_SECONDS,
            )

    def count(self, key: ApiKeyConfig | None, size: int) -> None:
        account = "" if key is None else key.account
        self._held[account] += size
        if not self._held[account]:
            del self._held[account]


class Received:
    """The bytes of one request, from the first one until the answer begins."""

    def __init__(self, all_together: ReceivedBytes, key: ApiKeyConfig | None) -> None:
        self._all = all_together
        self._key = key
        self._size = 0

    def expect(self, size: int) -> None:
        """Check the announced size. Counts nothing: bytes that are announced and never sent would lock out others.

        Raises as `ReceivedBytes.check` does.
        """
        self._all.check(self._key, size, self._size)

    def add(self, size: int) -> None:
        """Count received bytes. Raises as `ReceivedBytes.check` does, and then counts nothing."""
        self._all.check(self._key, size, self._size)
        self._all.count(self._key, size)
        self._size += size

    def release(self) -> None:
        """Stop counting: the request is answered or refused. A second call changes nothing."""
        if self._size:
            self._all.count(self._key, -self._size)
            self._size = 0


class ReleasedWhenAnswered:
    """The ASGI layer that releases an HTTP request's bytes when its answer begins, or when it ends without one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            _release(scope)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            _release(scope)


def hold(connection: HTTPConnection, received: Received) -> None:
    """Make `read_body` count the request's body in `received`."""
    connection.scope[_SCOPE] = received


def held_by(connection: HTTPConnection) -> Received | None:
    received: Received | None = connection.scope.get(_SCOPE)
    return received


def _release(scope: Scope) -> None:
    received: Received | None = scope.get(_SCOPE)
    if received is not None:
        received.release()
