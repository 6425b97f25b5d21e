"""The HTTP response of `POST /v1/responses`: a stream of events (SSE-1), or one JSON document (HTTP-2)."""

from __future__ import annotations

from collections.abc import Collection

import orjson
from fastapi import Request
from starlette.responses import Response

from api.app_state import state_of
from api.forms import forms_for
from api.responses.cost import show_cost
from api.streaming.batches import NextBatch
from api.streaming.follower import response_in
from api.streaming.sse import EventStream
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse

CLIENT_LEFT = 499


async def http_response(request: Request, response_id: str, asked: CreateResponse, next_batch: NextBatch) -> Response:
    """A stream of all events, where the request has `stream`; else the final response as JSON."""
    if asked.stream:
        return _event_stream(request, asked, next_batch)
    last = await last_event(request, next_batch)
    if last is None:
        return Response(status_code=CLIENT_LEFT)
    await show_cost(request, response_id)
    return response_json(request, asked, response_in(last))


def initial_http_response(request: Request, start: StartResponse) -> Response:
    """The response as it begins, for a client that does not wait for it (`background`, REQ-10)."""
    return response_json(request, start.request, start.initial())


def response_json(
    request: Request, asked: CreateResponse, response: bytes | JsonObject, include: Collection[str] = ()
) -> Response:
    """A response as a JSON document, in the forms of the client's API."""
    forms = forms_for(request, asked, include)
    body = response if forms is None else forms.response(response)
    return Response(body if isinstance(body, bytes) else orjson.dumps(body), media_type="application/json")


async def last_event(request: Request, next_batch: NextBatch) -> bytes | None:
    """The terminal event, which holds the response; None where the client went away before."""
    last = None
    while (batch := await next_batch()) is not None:
        if batch:
            last = batch[-1]
        elif await request.is_disconnected():
            return None
    assert last is not None, "a followed stream ends with a terminal event"
    return last


def _event_stream(request: Request, asked: CreateResponse, next_batch: NextBatch) -> EventStream:
    options = asked.stream_options
    return EventStream(
        next_batch,
        keepalive_seconds=state_of(request).settings.keepalive_seconds,
        obfuscate=options is None or options.include_obfuscation is not False,
        forms=forms_for(request, asked),
    )
