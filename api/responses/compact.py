"""`POST /v1/responses/compact`: returns a summary from which a conversation can continue (REQ-16, WS-7)."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.body import read_object
from api.dependencies import AuthenticatedCaller, State
from api.errors import error_answer
from api.responses.authorize import authorize
from api.responses.cost import show_cost
from api.responses.follow import subscribed
from api.responses.http_response import CLIENT_LEFT, last_event
from api.responses.omitted import show_omitted
from api.responses.parse import ParsedRequest
from api.responses.prepare import check_room, prepare_resolved
from api.responses.resolve import resolve
from api.responses.routing import take_provider_key
from api.responses.start import start_response
from api.streaming.follower import response_in
from open_responses.errors import Unavailable, error_of
from open_responses.io.store.records import Record
from open_responses.json_types import JsonObject
from open_responses.loop.input_items import listed_input
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.compact import compacted_resource, parse_compact_request
from open_responses.schema.off_loop import off_loop

router = APIRouter()


@router.post("/v1/responses/compact")
async def compact(request: Request, state: State, caller: AuthenticatedCaller) -> Response:
    """A `response.compaction`: send its output as the input of a new chain. Durable as any response, and not stored."""
    body, size = await read_object(request, state.settings.max_body_bytes)
    provider_key = take_provider_key(body, request.headers)
    asked = await off_loop(size, parse_compact_request, body)
    as_response = await off_loop(size, asked.as_response)
    parsed = ParsedRequest(as_response, size, provider_key, is_compaction=True)
    authorized = authorize(state.settings.config, caller, parsed)
    overload = await check_room(state, caller)
    resolved = await resolve(state, authorized)
    prepared = await prepare_resolved(state, resolved, overload)
    show_omitted(request, prepared.start.omitted_for(0), prepared.start.request)
    kept = _prompt(prepared.start, resolved.context.earlier.previous)
    async with subscribed(state, prepared.start, only_end=True) as subscription:
        await start_response(state, prepared)
        last = await last_event(request, subscription.next_batch)
    if last is None:
        return Response(status_code=CLIENT_LEFT)
    response: JsonObject = orjson.loads(response_in(last))
    # These are the ends of responses, which are logged and counted as such, and no refusals.
    if response["error"] is not None:
        return error_answer(error_of(response["error"]["code"], response["error"]["message"]))
    if response["status"] != "completed" and not any(item["type"] == "compaction" for item in response["output"]):
        # Without its summary, the answer would look like a conversation of which only the newest prompt is left.
        return error_answer(
            Unavailable(
                f"The compaction ended as {response['status']} before its summary was complete. Send your request "
                "again."
            )
        )
    await show_cost(request, prepared.start.response_id)
    return Response(orjson.dumps(compacted_resource(response, kept)), media_type="application/json")


def _prompt(start: StartResponse, previous: Record | None) -> list[JsonObject]:
    """The newest messages of the user: what is being answered stays in the user's own words."""
    items = listed_input(start) if start.has_input else []
    if not items and previous is not None:
        items = listed_input(previous.start)
    ends = [index for index, item in enumerate(items) if item.get("role") == "user"]
    if not ends:
        return []
    begin = ends[-1]
    while begin and items[begin - 1].get("role") == "user":
        begin -= 1
    return items[begin : ends[-1] + 1]
