"""Answers requests that a shutdown cuts off with a 503.

At the end of its graceful period, uvicorn cancels the requests that still run and answers them with a bare 500. Clients
take that for a defect, and OpenAI's SDKs get no `Retry-After`.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import refusal
from open_responses.errors import Unavailable

_AGAIN_SECONDS = 1.0


class ShutdownAnswers:
    """An ASGI layer: a request that is cancelled before its answer has begun gets a 503 with `Retry-After`.

    A stream that has begun is cut off with its connection, and its client reconnects.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, begin)
        except asyncio.CancelledError:
            if has_begun:
                raise
            await refusal(_unavailable(), scope["path"], None)(scope, receive, send)


def _unavailable() -> Unavailable:
    return Unavailable(
        "The server is shutting down, and it is not known whether your request took effect. Send it again. With the "
        "same Idempotency-Key it starts no second response.",
        retry_after=_AGAIN_SECONDS,
    )
