"""`/v1/responses/{id}` and what hangs below it: fetch, replay, cancel, delete, list the input."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response
from temporalio.service import RPCError

from api.app_state import AppState
from api.dependencies import AuthenticatedCaller, ReadsOf, State
from api.forms import forms_for
from api.include import included
from api.lookup import owned_record
from api.paging import is_newest_first, list_object, page_limit
from api.responses.cancel import cancel
from api.responses.cost import show_cost
from api.responses.deletion import check_no_parent_runs, delete_with_agents
from api.responses.http_response import response_json
from api.streaming.reconnect import reconnect, starting_after
from api.streaming.sse import EventStream
from open_responses.errors import InvalidRequest, NotFound
from open_responses.events.fold import Fold
from open_responses.io.log.reader import read_log
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.records import Record
from open_responses.json_types import JsonObject
from open_responses.loop.input_items import listed_input
from open_responses.schema.built_in_items import without_call
from open_responses.schema.response import started_response

router = APIRouter(prefix="/v1/responses/{response_id}")

_PATIENCE_SECONDS = 15.0
# Without Redis, each look is a question to Temporal.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 0.32


@router.get("")
async def get_response(request: Request, response_id: str, state: State, caller: AuthenticatedCaller) -> Response:
    """The response as it stands; with `stream=true` its events after `starting_after`, replayed and then live."""
    after, streams, include = starting_after(request), _flag(request, "stream"), included(request)
    if streams:
        state.open_streams.take(request, caller.key)
    record = await owned_record(state, caller.reads_of, response_id, decided=not streams)
    if streams:
        if after is not None:
            metrics.stream_resumed(is_running=record.response is None)
        return EventStream(
            await reconnect(request, record, after),
            keepalive_seconds=state.settings.keepalive_seconds,
            obfuscate=_flag(request, "include_obfuscation", "true"),
            forms=forms_for(request, record.start.request, include),
        )
    if after is not None:
        raise InvalidRequest(
            "'starting_after' needs stream=true. Add it, or leave 'starting_after' out.", param="starting_after"
        )
    if record.response is not None:
        await show_cost(request, response_id)
    return await respond_as_it_stands(request, state, record, include)


@router.post("/cancel")
async def cancel_response(request: Request, response_id: str, state: State, tenant: ReadsOf) -> Response:
    """Stop a response and return it. One that has ended already is returned unchanged."""
    record = await owned_record(state, tenant, response_id)
    if record.response is None:
        await cancel(state, response_id)
        deadline, pause = time.monotonic() + _PATIENCE_SECONDS, _FIRST_PAUSE_SECONDS
        while record.response is None and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            record = await owned_record(state, tenant, response_id)
        if record.response is None:
            # Not stopped in time: the end may be announced all the same.
            record = await owned_record(state, tenant, response_id, decided=True)
    return await respond_as_it_stands(request, state, record)


@router.delete("")
async def delete_response(response_id: str, state: State, tenant: ReadsOf) -> Response:
    """Forget a response, and those of its agents. One that runs is stopped first."""
    record = await owned_record(state, tenant, response_id)
    await check_no_parent_runs(state, record)
    await delete_with_agents(state, record)
    return _json({"id": response_id, "object": "response", "deleted": True})


@router.get("/input_items")
async def list_input_items(request: Request, response_id: str, state: State, tenant: ReadsOf) -> Response:
    """The request's input as items, newest first unless `order=asc`."""
    include = included(request)
    record = await owned_record(state, tenant, response_id)
    query = request.query_params
    newest_first = is_newest_first(query.get("order"))
    items = [without_call(item, include) for item in listed_input(record.start)]
    if newest_first:
        items.reverse()
    items = _between(items, query.get("after"), query.get("before"))
    limit = page_limit(query.get("limit"))
    return _json(list_object(items[:limit], has_more=len(items) > limit))


async def respond_as_it_stands(
    request: Request, state: AppState, record: Record, include: Collection[str] = ()
) -> Response:
    """The response now, as JSON."""
    return response_json(request, record.start.request, await _as_it_stands(state, record), include)


async def _as_it_stands(state: AppState, record: Record) -> bytes | JsonObject:
    """The final response, or what the log amounts to so far."""
    if record.response is not None:
        return record.response
    initial, fold = record.start.initial(), Fold()
    with contextlib.suppress(*RedisDown):
        while page := await read_log(state.redis, record.start.response_id, fold.next_sequence):
            for event in page:
                fold.apply(orjson.loads(event))
    if fold.terminal is not None and fold.response is not None:
        return fold.response
    if fold.next_sequence == 0 and (lost := await _from_workflow(state, record)) is not None:
        return lost
    return {**(started_response(initial) if fold.next_sequence else initial), "output": fold.snapshot()}


async def _from_workflow(state: AppState, record: Record) -> JsonObject | None:
    """A running response whose log is gone, or has not begun, as its workflow has it."""
    with contextlib.suppress(RPCError):
        progress = await state.records.progress(record.start.response_id)
        if progress.trace:
            return {**started_response(record.start.initial()), "output": progress.output}
    return None


def _between(items: list[JsonObject], after: str | None, before: str | None) -> list[JsonObject]:
    ids = [item["id"] for item in items]
    for name, cursor in (("after", after), ("before", before)):
        if cursor is not None and cursor not in ids:
            raise NotFound(
                f"'{name}' must be the id of an input item of this response. Take it from the page before.", param=name
            )
    first = ids.index(after) + 1 if after is not None else 0
    last = ids.index(before) if before is not None else len(items)
    return items[first:last]


def _flag(request: Request, name: str, default: str = "false") -> bool:
    text = request.query_params.get(name, default).lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"'{name}' must be true or false.", param=name)
    return text in ("true", "1")


def _json(body: JsonObject) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
