"""The headers of every HTTP response: `X-Request-Id`, and those that the request's handler adds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from uuid import uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "x-request-id"
# It goes into logs: nothing that could be read as something else there.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_KEY = "open_responses.http_headers"
_CARRIES_HEADERS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


def http_headers(connection: HTTPConnection) -> dict[str, str]:
    """The headers of the HTTP response to this request, also if the request fails. A handler adds its own to this."""
    headers: dict[str, str] = connection.scope.setdefault(_KEY, {})
    return headers


class HttpHeaders:
    """Adds the headers. The outermost ASGI layer, so that no HTTP response lacks them.

    The client's own request id is kept if it can stand in a log line as it is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = HTTPConnection(scope).headers.get(REQUEST_ID, "")
        request_id = given if _SANE.fullmatch(given) else f"req_{uuid4().hex}"
        headers = {REQUEST_ID: request_id}
        scope[_KEY] = headers
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, _with(headers, send))


def _with(headers: dict[str, str], send: Send) -> Callable[[Message], Awaitable[None]]:
    async def send_with_headers(message: Message) -> None:
        if message["type"] in _CARRIES_HEADERS:
            carried = MutableHeaders(raw=list(message.get("headers", [])))
            for name, value in headers.items():
                carried[name] = value
            message = {**message, "headers": carried.raw}
        await send(message)

    return send_with_headers
