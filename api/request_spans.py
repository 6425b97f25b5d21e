"""A span for each request to `/v1/`, in the trace of the client's `traceparent` header."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from open_responses.io.telemetry.request_context import current_request_id, in_log_lines
from open_responses.io.telemetry.spans import Span, inside, is_recording, span
from open_responses.io.telemetry.trace_context import TraceContext

_PREFIX = "/v1/"


class RequestSpans:
    """The ASGI layer that opens the span. A stream's span ends with the stream.

    A WebSocket has no span of its own, since it may be open for an hour: each of its responses begins in the trace of
    the handshake. Where nothing is recorded, the client's trace is passed on.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = HTTPConnection(scope).headers.getlist("traceparent")
        parent = TraceContext.parse(given[0]) if len(given) == 1 else None
        with inside(parent):
            if scope["type"] == "http" and is_recording() and scope["path"].startswith(_PREFIX):
                await self._recorded(scope, receive, send)
                return
            with in_log_lines(trace_id=None if parent is None else parent.trace_id):
                await self._app(scope, receive, send)

    async def _recorded(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        attributes = {
            "http.request.method": method,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "open_responses.request_id": current_request_id(),
        }
        with span(method, kind="server", attributes=attributes) as made, in_log_lines(trace_id=made.context.trace_id):

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_status(made, message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_and_note)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    made.name = f"{method} {route}"
                    made.set({"http.route": route})


def _note_status(made: Span, status: int) -> None:
    made.set({"http.response.status_code": status})
    if status >= 500:
        made.error_type = str(status)
