"""`GET /v1/responses/{id}/timeline`: what a response did, step by step, from its history in Temporal."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

import orjson
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.app_state import AppState
from api.dependencies import AuthenticatedCaller, ReadsOf, State
from api.lookup import owned_record
from api.operations.temporal_ui import run_url
from open_responses.errors import NotFound
from open_responses.io.store.records import Record
from open_responses.io.temporal.describe import describe
from open_responses.io.temporal.timeline import Entry, timeline_of
from open_responses.json_types import JsonObject
from open_responses.schema.operation_bodies import ResponseTimeline, TimelineEntry

router = APIRouter(prefix="/v1/responses/{response_id}")


@router.get("/timeline")
async def get_timeline(response_id: str, state: State, caller: AuthenticatedCaller, tenant: ReadsOf) -> JSONResponse:
    """Model turns, tools, waits, agents, approvals and the end, in the order in which they began."""
    record = await owned_record(state, tenant, response_id)

    async def read() -> JsonObject:
        async with state.history_reads.request(caller.tenant) as reads, reads.one():
            return await _timeline(state, record)

    return JSONResponse(await state.recent.get(("timeline", response_id, record.response is None), read))


async def _timeline(state: AppState, record: Record) -> JsonObject:
    response_id = record.start.response_id
    described = await describe(state.temporal, response_id)
    if described is None:
        raise NotFound(
            "Temporal does not have the history of this response any more: its retention is over.", param="response_id"
        )
    ended_as = None if record.response is None else orjson.loads(record.response)["status"]
    entries = await timeline_of(state.temporal, described, ended_as)
    timeline: ResponseTimeline = {
        "object": "response.timeline",
        "response_id": response_id,
        "agent_of": record.start.agent_of,
        "entries": [_shown(entry) for entry in sorted(entries, key=lambda entry: entry.started_at)],
        "temporal_url": run_url(state.settings, described.namespace, response_id, described.run_id),
    }
    return cast(JsonObject, timeline)


def _shown(entry: Entry) -> TimelineEntry:
    shown = cast(TimelineEntry, asdict(entry))
    if entry.kind != "model_turn":
        del shown["tokens"], shown["cost_usd"]
    if entry.due_at is None:
        del shown["due_at"]
    if entry.response_id is None:
        del shown["response_id"]
    return shown
