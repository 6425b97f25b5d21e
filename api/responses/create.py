"""`POST /v1/responses`: a response is prepared, started, followed and answered, in this order.

Each step is a module of its name. A message of a WebSocket takes the same steps (`api/websocket/connection.py`).
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admission.limits import check_scopes
from api.app_state import AppState, state_of
from api.auth import caller_of
from api.body import read_object
from api.conversations.turns import was_left_behind
from api.idempotency import AlreadyBegun, earlier, idempotency_key, spent
from api.request_ends import until_answered
from api.responses.answer import answer, answer_at_once
from api.responses.follow import follow, subscribed
from api.responses.prepare import Prepared, prepare
from api.responses.repeat import answer_again
from api.responses.routing import take_provider_key
from api.responses.start import start_response
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import validate_create_response

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
            return await answer_again(request, state, record, asked)
        await state.store.retract(key.response_id, record.written)
    try:
        prepared = await prepare(state, caller, asked, provider_key, key, size=size)
        return await _start_and_answer(request, state, prepared)
    except AlreadyBegun:
        record = await earlier(state, caller.tenant, key) if key is not None else None
        if record is None:
            raise spent() from None
        return await answer_again(request, state, record, asked)


async def _start_and_answer(request: Request, state: AppState, prepared: Prepared) -> Response:
    asked = prepared.start.request
    if asked.is_background and not asked.stream:
        await start_response(state, prepared)
        return answer_at_once(prepared.start)
    subscription = await until_answered(request, subscribed(state, prepared.start, only_end=not asked.stream))
    await start_response(state, prepared)
    return await answer(request, asked, follow(subscription))
