"""A short way to the server for what follows the head of an answer, or the handshake of a WebSocket.

Each layer of the application wraps `send` for one message, the head: headers, status, the first sign of an answer. In a
stream of hundreds of events, each event would pass all of these wrappers, for nothing.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_KEY = "open_responses.body_send"


class BodySends:
    """The outermost ASGI layer. A layer that has to see what follows the head replaces its scope's `body_send`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope[_KEY] = send
        await self._app(scope, receive, send)


def body_send(scope: Scope, send: Send) -> Send:
    """What takes the messages behind the head, which has passed `send` before; `send` itself behind another server."""
    found: Send = scope.get(_KEY, send)
    return found


def replace_body_send(scope: Scope, send: Send) -> None:
    """Make `send` the short way from here on."""
    scope[_KEY] = send
