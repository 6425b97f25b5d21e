"""`POST /v1/responses`: prepare a response, start it, follow its events, and make the HTTP response of them.

Each step is a module: `prepare`, `start`, `follow`, `http_response`.
A message of a WebSocket takes the same steps (`api/websocket/connection.py`).
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.app_state import AppState
from api.dependencies import AuthenticatedCaller, State
from api.idempotency import AlreadyBegun, earlier, spent
from api.request_ends import until_answered
from api.responses.authorize import authorize
from api.responses.follow import subscribed
from api.responses.http_response import http_response, initial_http_response
from api.responses.omitted import show_omitted
from api.responses.parse import Parsed
from api.responses.prepare import Prepared, prepare
from api.responses.repeat import find_repeated, repeat_http_response
from api.responses.start import start_response

router = APIRouter()


@router.post("/v1/responses")
async def create_response(request: Request, state: State, caller: AuthenticatedCaller, parsed: Parsed) -> Response:
    """Create a response: JSON, or a stream of events when `stream` is true."""
    asked, key = parsed.asked, parsed.key
    if asked.stream:
        state.open_streams.take(request, caller.key)
    # The key of a request that is repeated may be another one of the tenant's, and may do less.
    authorized = authorize(state.settings.config, caller, parsed)
    if (record := await find_repeated(state, caller.tenant, key)) is not None:
        return await repeat_http_response(request, state, record, asked)
    try:
        prepared = await prepare(state, authorized)
        return await _start_and_respond(request, state, prepared)
    except AlreadyBegun:
        record = await earlier(state, caller.tenant, key) if key is not None else None
        if record is None:
            raise spent() from None
        return await repeat_http_response(request, state, record, asked)


async def _start_and_respond(request: Request, state: AppState, prepared: Prepared) -> Response:
    start = prepared.start
    asked = start.request
    show_omitted(request, start.omitted_for(0), asked)
    if asked.is_background and not asked.stream:
        await start_response(state, prepared)
        return initial_http_response(request, prepared.start)
    subscription = await until_answered(request, subscribed(state, prepared.start, only_end=not asked.stream))
    await start_response(state, prepared)
    return await http_response(request, prepared.start.response_id, asked, subscription.next_batch)
