"""Repeat: a request whose `Idempotency-Key` has begun a response before gets that response."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.app_state import AppState
from api.auth import count_as_read, show_limits
from api.conversations.lock import was_left_behind
from api.idempotency import IdempotencyKey, earlier, spent
from api.responses.http_response import http_response
from api.responses.omitted import show_omitted
from api.responses.retrieve import respond_as_it_stands
from api.responses.start import start_workflow
from api.streaming.reconnect import reconnect
from open_responses.io.store.records import Record
from open_responses.schema.requests import CreateResponse


async def find_repeated(state: AppState, tenant: str, key: IdempotencyKey | None) -> Record | None:
    """The response that this key has begun. Raises Conflict where it cannot be given again.

    One that was stored and never started is taken back: its conversation may have gone on since, so that the request
    begins it anew.
    """
    record = await earlier(state, tenant, key) if key is not None else None
    if key is None or record is None or not await was_left_behind(state, record):
        return record
    await state.store.retract(key.response_id, record.written)
    return None


async def repeat_http_response(request: Request, state: AppState, record: Record, asked: CreateResponse) -> Response:
    """The response as it stands, or all of its events. Raises Conflict for one that is deleted at this moment."""
    count_as_read(request)
    await show_limits(request)
    show_omitted(request, record.start.omitted_for(0), record.start.request)
    is_poll = asked.is_background and not asked.stream
    record = await state.records.settled(record, decided=is_poll)
    if record.response is None:
        # The process that kept the request may have died before the workflow began. One that is deleted at this moment
        # would begin anew, with its content: its end then lists the deletion again (activities/lifecycle/finish.py).
        if state.eraser.marks.is_hidden(record.start.response_id):
            raise spent()
        await start_workflow(state, record.start)
    if is_poll:
        return await respond_as_it_stands(request, state, record)
    next_batch = await reconnect(request, record, None, only_end=not asked.stream)
    return await http_response(request, record.start.response_id, asked, next_batch)
