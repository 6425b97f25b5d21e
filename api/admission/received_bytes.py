"""How many bytes one API key, and all together, may have this process hold of requests that are not answered yet.

What this prevents: a few bodies of the largest size that are sent and never finished. Each stays below its own limit, a
key's limit on requests counts those that are whole, and together they take all memory.
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from open_responses.config import ApiKeyConfig
from open_responses.errors import RateLimited, RequestTooLarge, Unavailable

_SCOPE = "open_responses.received"
# When the others are answered is unknown; a client of the openai SDK asks twice more in this time.
_WAIT_SECONDS = 2.0


class ReceivedBytes:
    """The budget of this process, and of each key in it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    def of(self, key: ApiKeyConfig | None) -> Received:
        """What one request, or one message of a socket, holds: nothing yet."""
        return Received(self, key)

    def check(self, key: ApiKeyConfig | None, more: int, own: int) -> None:
        """`own` is what the request has already. Raises RateLimited for a key, and Unavailable for a process, that has
        no room for so much more, and RequestTooLarge where it never has."""
        most = self._most if key is None else min(key.max_received_bytes, self._most)
        if own + more > most:
            raise RequestTooLarge(f"The request is larger than the {most} bytes that this server takes at a time.")
        if key is not None and self._held[key.account] + more > key.max_received_bytes:
            raise RateLimited(
                f"The API key's requests that are not answered yet would have more than {key.max_received_bytes} bytes "
                "with this one. Try again when some are answered.",
                retry_after=_WAIT_SECONDS,
            )
        if self._held.total() + more > self._most:
            raise Unavailable(
                f"The requests that this server has not answered yet would have more than {self._most} bytes with this "
                "one. Nothing was started; try again later.",
                code="overloaded",
                retry_after=_WAIT_SECONDS,
            )

    def count(self, key: ApiKeyConfig | None, size: int) -> None:
        account = "" if key is None else key.account
        self._held[account] += size
        if not self._held[account]:
            del self._held[account]


class Received:
    """The bytes of one request, from the first until it is answered."""

    def __init__(self, all_together: ReceivedBytes, key: ApiKeyConfig | None) -> None:
        self._all = all_together
        self._key = key
        self._size = 0

    def expect(self, size: int) -> None:
        """So much is announced. Takes nothing: what is announced and not sent would keep others out. Raises as
        `ReceivedBytes.check`."""
        self._all.check(self._key, size, self._size)

    def add(self, size: int) -> None:
        """So much has come. Raises as `ReceivedBytes.check`, and then has not counted it."""
        self._all.check(self._key, size, self._size)
        self._all.count(self._key, size)
        self._size += size

    def release(self) -> None:
        """It is answered, or refused. Safe to do twice."""
        if self._size:
            self._all.count(self._key, -self._size)
            self._size = 0


class ReleasedWhenAnswered:
    """The ASGI layer that ends what an HTTP request holds: with the beginning of its answer, or its end without one."""

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
    """From now on `read_body` counts the request's body here."""
    connection.scope[_SCOPE] = received


def held_by(connection: HTTPConnection) -> Received | None:
    received: Received | None = connection.scope.get(_SCOPE)
    return received


def _release(scope: Scope) -> None:
    received: Received | None = scope.get(_SCOPE)
    if received is not None:
        received.release()
