"""`POST /v1/responses`: JSON, or a stream of events."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.app_state import AppState, state_of
from api.auth import caller_of
from api.begin import begin, cancelling, follow, prepare
from api.body import read_body
from api.routing import take_provider_key
from api.stream import EventStream, response_in
from open_responses.payloads import StartResponse
from open_responses.requests import validate_create_response
from open_responses.validation import read_json_object

router = APIRouter()


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    """Create a response: JSON, or a stream of events when `stream` is true."""
    state, caller = state_of(request), caller_of(request)
    body = read_json_object(await read_body(request, state.settings.max_body_bytes))
    provider_key = take_provider_key(body, request.headers)
    asked = validate_create_response(body)
    prepared = await prepare(state, caller, asked, provider_key)
    if asked.is_background and not asked.stream:
        await begin(state, prepared)
        return Response(orjson.dumps(prepared.start.initial()), media_type="application/json")
    events = follow(state, prepared)
    # The first step starts the workflow: what fails there is still a plain error answer.
    await anext(events)
    if asked.stream:
        stream = cancelling(state, prepared.start, events)
        return EventStream(stream, keepalive_seconds=state.settings.keepalive_seconds)
    return await _folded(request, state, prepared.start, events)


async def _folded(
    request: Request, state: AppState, start: StartResponse, events: AsyncGenerator[bytes | None, None]
) -> Response:
    """Plain JSON is the stream's fold, and its last event holds it."""
    stream = cancelling(state, start, events)
    async with contextlib.aclosing(stream) as following:
        last = None
        async for event in following:
            if event is not None:
                last = event
            elif await request.is_disconnected():
                return Response(status_code=499)
    assert last is not None, "a followed stream ends with a terminal event"
    return Response(response_in(last), media_type="application/json")
