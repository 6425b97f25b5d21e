"""What a request holds until its answer was sent: a slot among the open streams, a subscription to a response.

Each ends with the ASGI call that it was taken in, however that ends, so none can be left behind.
"""

from __future__ import annotations

import contextlib
from typing import TypeVar

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

T = TypeVar("T")

_ENDS = "open_responses.request_ends"


class RequestEnds:
    """The ASGI layer that ends what its request, or its socket, has taken."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.AsyncExitStack() as ends:
            scope[_ENDS] = ends
            await self._app(scope, receive, send)


def ends_of(connection: HTTPConnection) -> contextlib.AsyncExitStack:
    """Its callbacks run when the answer was sent, or the socket was closed."""
    ends: contextlib.AsyncExitStack = connection.scope[_ENDS]
    return ends


async def until_answered(connection: HTTPConnection, context: contextlib.AbstractAsyncContextManager[T]) -> T:
    """Enter the context now, and leave it when the answer was sent."""
    return await ends_of(connection).enter_async_context(context)
