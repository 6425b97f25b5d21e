"""`POST /v1/responses`: JSON, or a stream of events."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admission.limits import check_scopes
from api.app_state import AppState, state_of
from api.auth import caller_of, count_as_read, show_limits
from api.body import read_object
from api.conversations.turns import was_left_behind
from api.idempotency import AlreadyBegun, earlier, idempotency_key, spent
from api.responses.begin import Prepared, begin, cancelling, follow, prepare, start_workflow
from api.responses.retrieve import replay, respond_as_it_stands
from api.responses.routing import take_provider_key
from api.streaming.follower import response_in
from api.streaming.sse import EventStream
from open_responses.io.store.redis_store import Record
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse, validate_create_response

router = APIRouter()


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    """Create a response: JSON, or a stream of events when `stream` is true."""
    state, caller = state_of(request), caller_of(request)
    body, size = await read_object(request, state.settings.max_body_bytes)
    provider_key = take_provider_key(body, request.headers)
    key = await off_loop(size, idempotency_key, caller.tenant, request.headers, body)
    asked = await off_loop(size, validate_create_response, body)
    if asked.stream:
        state.open_streams.take(request, caller.key)
    # The key of a request that is repeated may be another one of the tenant's, and may do less.
    check_scopes(state.settings.config, caller.key, asked)
    if key is not None and (record := await earlier(state, caller.tenant, key)) is not None:
        if not await was_left_behind(state, record):
            return await _again(request, state, record, asked)
        await state.store.retract(key.response_id, record.written)
    try:
        prepared = await prepare(state, caller, asked, provider_key, key, size=size)
        return await _first(request, state, prepared)
    except AlreadyBegun:
        record = await earlier(state, caller.tenant, key) if key is not None else None
        if record is None:
            raise spent() from None
        return await _again(request, state, record, asked)


async def _first(request: Request, state: AppState, prepared: Prepared) -> Response:
    """Begin the response and answer with it."""
    asked = prepared.start.request
    if asked.is_background and not asked.stream:
        await begin(state, prepared)
        return Response(orjson.dumps(prepared.start.initial()), media_type="application/json")
    events = follow(state, prepared, only_end=not asked.stream)
    # The first step starts the workflow: what fails there is still a plain error answer.
    await anext(events)
    stream = cancelling(state, prepared.start, events)
    if asked.stream:
        return _event_stream(state, asked, stream)
    return await _folded(request, stream)


async def _again(request: Request, state: AppState, record: Record, asked: CreateResponse) -> Response:
    """A response that its `Idempotency-Key` began before: as it stands, or all of its events."""
    count_as_read(request)
    await show_limits(request)
    record = await state.records.settled(record)
    if record.response is None:
        # The process that kept the request may have died before the workflow began. One that is deleted at this moment
        # would begin anew, with its content: its end then lists the deletion again (activities/lifecycle/finish.py).
        if state.eraser.marks.is_hidden(record.start.response_id):
            raise spent()
        await start_workflow(state, record.start)
    if asked.is_background and not asked.stream:
        return await respond_as_it_stands(state, record)
    events = await replay(state, record, None, only_end=not asked.stream)
    if asked.stream:
        return _event_stream(state, asked, events)
    return await _folded(request, events)


def _event_stream(state: AppState, asked: CreateResponse, events: AsyncGenerator[bytes | None, None]) -> EventStream:
    options = asked.stream_options
    obfuscate = options is None or options.include_obfuscation is not False
    return EventStream(
        events,
        keepalive_seconds=state.settings.keepalive_seconds,
        obfuscate=obfuscate,
    )


async def _folded(request: Request, events: AsyncGenerator[bytes | None, None]) -> Response:
    """Plain JSON is the stream's fold, and its last event holds it."""
    async with contextlib.aclosing(events) as following:
        last = None
        async for event in following:
            if event is not None:
                last = event
            elif await request.is_disconnected():
                return Response(status_code=499)
    assert last is not None, "a followed stream ends with a terminal event"
    return Response(response_in(last), media_type="application/json")
