"""`GET /v1/admin/refusals`: counts of refused requests, by tenant, code and endpoint."""

from __future__ import annotations

import asyncio
from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.app_state import AppState
from api.dependencies import AdminCaller, State
from api.paging import check_names
from open_responses.errors import InvalidRequest
from open_responses.io.redis.client import RedisDown
from open_responses.io.redis.refusals import HOURS_KEPT, Kind, Refusals, Refused
from open_responses.json_types import JsonObject
from open_responses.schema.operation_bodies import RefusalList, RefusalsOfAKind

router = APIRouter(prefix="/v1/admin")

_HOURS = 24
_WRITE_SECONDS = 1.0
_FILTERS = ("tenant", "code")


@router.get("/refusals")
async def list_refusals(request: Request, state: State, caller: AdminCaller) -> JSONResponse:
    """The refusals of the last hours, those of the kind that was refused last first. Counts are up to a second old."""
    query = request.query_params
    check_names(query, frozenset({*_FILTERS, "hours"}))
    hours, wanted = _hours(query.get("hours")), {name: query[name] for name in _FILTERS if name in query}

    async def read() -> JsonObject:
        return await _list(state, hours)

    listed = await state.recent.get(("refusals", hours), read)
    data = [row for row in listed["data"] if all(row[name] == value for name, value in wanted.items())]
    return JSONResponse({**listed, "data": data})


async def keep_writing(refusals: Refusals) -> None:
    """Write the process's counts until cancelled."""
    while True:
        await asyncio.sleep(_WRITE_SECONDS)
        try:
            await refusals.write()
        except RedisDown:
            # They are kept, and written when Redis is back.
            continue


async def _list(state: AppState, hours: int) -> JsonObject:
    found = await state.refusals.found(hours)
    newest = sorted(found.items(), key=lambda one: one[1].last_at, reverse=True)
    listed: RefusalList = {"object": "list", "hours": hours, "data": [_shown(kind, one) for kind, one in newest]}
    return cast(JsonObject, listed)


def _shown(kind: Kind, refused: Refused) -> RefusalsOfAKind:
    return {
        "object": "refusals",
        "tenant": kind.tenant,
        "code": kind.code,
        "status": kind.status,
        "path": kind.path,
        "count": refused.count,
        "last_at": refused.last_at,
        "last_request_id": refused.last_request_id,
    }


def _hours(given: str | None) -> int:
    """Raises InvalidRequest."""
    if given is None:
        return _HOURS
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= HOURS_KEPT or len(given) > len("48"):
        raise InvalidRequest(
            f"'hours' must be a whole number from 1 to {HOURS_KEPT}.", param="hours", code="invalid_value"
        )
    return int(given)
