"""Answer: a response to its client over HTTP, as a stream of events or as one JSON document."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import orjson
from fastapi import Request
from starlette.responses import Response

from api.app_state import state_of
from api.streaming.follower import response_in
from api.streaming.sse import EventStream
from open_responses.loop.payloads import StartResponse
from open_responses.schema.requests import CreateResponse

CLIENT_LEFT = 499


async def answer(request: Request, asked: CreateResponse, events: AsyncGenerator[bytes | None, None]) -> Response:
    """All events, where the request has `stream`; else the final response."""
    if asked.stream:
        return _event_stream(request, asked, events)
    last = await last_event(request, events)
    if last is None:
        return Response(status_code=CLIENT_LEFT)
    return Response(response_in(last), media_type="application/json")


def answer_at_once(start: StartResponse) -> Response:
    """The response as it begins, for a client that does not wait for it (`background`)."""
    return Response(orjson.dumps(start.initial()), media_type="application/json")


async def last_event(request: Request, events: AsyncGenerator[bytes | None, None]) -> bytes | None:
    """The terminal event, which holds the response; None where the client went away before."""
    async with contextlib.aclosing(events) as following:
        last = None
        async for event in following:
            if event is not None:
                last = event
            elif await request.is_disconnected():
                return None
    assert last is not None, "a followed stream ends with a terminal event"
    return last


def _event_stream(request: Request, asked: CreateResponse, events: AsyncGenerator[bytes | None, None]) -> EventStream:
    options = asked.stream_options
    return EventStream(
        events,
        keepalive_seconds=state_of(request).settings.keepalive_seconds,
        obfuscate=options is None or options.include_obfuscation is not False,
    )
