"""`/v1/schedules`: created, listed, changed, paused and deleted by the tenant that owns them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from temporalio.client import (
    ScheduleDescription,
    ScheduleOverlapPolicy,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowExecution,
)
from temporalio.service import RPCError, RPCStatusCode

from api.app_state import AppState
from api.auth import Caller
from api.body import read_model
from api.dependencies import AuthenticatedCaller, State
from api.paging import check_names, list_object, page_limit, unknown_cursor
from api.schedules import temporal_schedules as schedules
from api.schedules.bodies import CreateSchedule, UpdateSchedule
from api.schedules.requests import check_may_start, check_request, sealed_request, shown_request
from open_responses.errors import Conflict, InvalidRequest, NotFound
from open_responses.ids import new_id
from open_responses.io.temporal.client import TENANT
from open_responses.io.temporal.large_payloads import ERASED
from open_responses.io.temporal.visibility import Cursor, literal, newest_runs
from open_responses.json_types import JsonObject
from open_responses.schedules.cron import parse_cron
from open_responses.schedules.payloads import RUN_MEMO, ScheduledRun, ScheduleState, is_schedule_id

router = APIRouter(prefix="/v1/schedules")

_MOST_BYTES = 256 * 1024
_READS_AT_ONCE = 10
_NEXT_RUNS = 5

Body = TypeVar("Body", bound=UpdateSchedule)


@router.post("")
async def create_schedule(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Create a schedule. Its request is checked as POST /v1/responses checks it, and nothing starts before its time."""
    given = await read_model(CreateSchedule, request, _MOST_BYTES)
    body = given.request
    assert body is not None, "checked by its model"
    now, limits = int(time.time()), state.settings.config.schedules
    _check_times(state, given.cron, given.at, given.timezone)
    await check_request(state, caller, body)
    if len(await _ids(state, caller.tenant)) >= limits.max_per_tenant:
        raise Conflict(
            f"Your tenant has {limits.max_per_tenant} schedules, the most that it may have. Delete one.",
            code="schedules_full",
        )
    schedule_id = new_id("sched_")
    schedule = ScheduleState(
        id=schedule_id,
        tenant=caller.tenant,
        key_id=caller.key.id if caller.key is not None else "",
        name=given.name,
        sealed=sealed_request(state, schedule_id, body),
        cron=given.cron,
        timezone=given.timezone or "UTC",
        at=given.at,
        overlap=given.overlap or "skip",
        metadata=given.metadata or {},
        created_at=now,
        updated_at=now,
        patience_seconds=limits.start_patience_seconds,
    )
    with _time_zones(schedule):
        await schedules.create(state.temporal, schedule, paused=bool(given.paused))
    return JSONResponse(await _shown(state, caller, schedule_id))


@router.get("")
async def list_schedules(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """The tenant's schedules, newest first."""
    query = request.query_params
    check_names(query, frozenset({"limit", "after"}))
    limit, after = page_limit(query.get("limit")), query.get("after")
    async with state.history_reads.request(caller.tenant) as reads, reads.one():
        found = [one for one in await _all(state, caller.tenant) if one is not None]
    rows = sorted(found, key=lambda row: (row["created_at"], row["id"]), reverse=True)
    if after is not None:
        ids = [row["id"] for row in rows]
        if after not in ids:
            raise unknown_cursor()
        rows = rows[ids.index(after) + 1 :]
    return JSONResponse(list_object(rows[:limit], has_more=len(rows) > limit))


@router.get("/{schedule_id}")
async def get_schedule(schedule_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """One schedule, with its next runs."""
    return JSONResponse(await _shown(state, caller, schedule_id))


@router.post("/{schedule_id}")
async def update_schedule(
    request: Request, schedule_id: str, state: State, caller: AuthenticatedCaller
) -> JSONResponse:
    """Change what is given, and leave the rest. A new request runs with the key that sends it."""
    given = await read_model(UpdateSchedule, request, _MOST_BYTES)
    _, before = await _owned(state, caller, schedule_id)
    values: JsonObject = {"updated_at": int(time.time())}
    if given.cron is not None or given.at is not None:
        _check_times(state, given.cron, given.at, given.timezone)
        values |= {"cron": given.cron, "at": given.at}
    elif given.timezone is not None and before.cron is None:
        raise _with_cron_alone()
    if given.request is None:
        await check_may_start(state, caller, before)
    else:
        await check_request(state, caller, given.request)
        values["sealed"] = sealed_request(state, schedule_id, given.request)
        values["key_id"] = caller.key.id if caller.key is not None else ""
    for name in ("timezone", "overlap", "name", "metadata"):
        if getattr(given, name) is not None:
            values[name] = getattr(given, name)

    async def changed(current: ScheduleUpdateInput) -> ScheduleUpdate:
        # Temporal calls this again if another change came in between.
        latest = await schedules.state_of(state.temporal, current.description)
        after = latest.model_copy(update=values)
        kept = current.description.schedule.state
        return ScheduleUpdate(schedules.schedule_of(after, paused=kept.paused, note=kept.note))

    with _time_zones(before.model_copy(update=values)):
        await state.temporal.get_schedule_handle(schedule_id).update(changed)
    return JSONResponse(await _shown(state, caller, schedule_id))


@router.delete("/{schedule_id}")
async def delete_schedule(schedule_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Delete a schedule and the records of its runs. Responses that it has started stay, and go on."""
    await _owned(state, caller, schedule_id)
    await schedules.delete(state.temporal, schedule_id)
    return JSONResponse({"id": schedule_id, "object": "schedule.deleted", "deleted": True})


@router.post("/{schedule_id}/pause")
async def pause_schedule(schedule_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Start nothing until the schedule is resumed. A response that runs goes on."""
    await _owned(state, caller, schedule_id)
    await state.temporal.get_schedule_handle(schedule_id).pause(note="Paused by its owner.")
    return JSONResponse(await _shown(state, caller, schedule_id))


@router.post("/{schedule_id}/resume")
async def resume_schedule(schedule_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Go on with the next time. Times that have passed meanwhile are not made up for."""
    _, schedule = await _owned(state, caller, schedule_id)
    await check_may_start(state, caller, schedule)
    await state.temporal.get_schedule_handle(schedule_id).unpause(note="Resumed by its owner.")
    return JSONResponse(await _shown(state, caller, schedule_id))


@router.post("/{schedule_id}/trigger")
async def trigger_schedule(schedule_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Start a run now, beside those that go on. Its response is in the list of runs."""
    _, schedule = await _owned(state, caller, schedule_id)
    await check_may_start(state, caller, schedule)
    await state.temporal.get_schedule_handle(schedule_id).trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
    return JSONResponse(await _shown(state, caller, schedule_id), status_code=202)


@router.get("/{schedule_id}/runs")
async def list_runs(request: Request, schedule_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """The runs of a schedule with their responses, newest first."""
    query = request.query_params
    check_names(query, frozenset({"limit", "after"}))
    limit, after = page_limit(query.get("limit")), query.get("after")
    await _owned(state, caller, schedule_id)
    terms = [schedules.runs_of(schedule_id)]
    async with state.history_reads.request(caller.tenant) as reads, reads.one():
        cursor = None
        if after is not None:
            cursor = await _cursor(state, schedule_id, after)
        runs, has_more = await newest_runs(state.temporal, terms, limit=limit, after=cursor)
    rows = [await _run(schedule_id, run) for run in runs]
    return JSONResponse(list_object(rows, has_more=has_more))


# --- what they have in common


def _check_times(state: AppState, cron: str | None, at: int | None, timezone: str | None) -> None:
    """Raises InvalidRequest for a schedule without a time or with two, for a time that has passed, and for runs that
    are too close."""
    if cron is None and at is None:
        raise InvalidRequest(
            "A schedule needs 'cron' or 'at'. Send one of them.", param="cron", code="missing_required_parameter"
        )
    if cron is not None and at is not None:
        raise InvalidRequest(
            "'at' cannot be sent together with 'cron'. Send one of them.",
            param="at",
            code="mutually_exclusive_parameters",
        )
    if at is not None and at <= time.time():
        raise InvalidRequest("'at' must be in the future.", param="at", code="invalid_value")
    if at is not None and timezone is not None:
        raise _with_cron_alone()
    least = state.settings.config.schedules.min_interval_seconds
    if cron is not None and (gap := parse_cron(cron).shortest_gap) < least:
        raise InvalidRequest(
            f"'cron' has runs that are {gap} seconds apart, and this server allows one in {least} seconds. Choose "
            "longer pauses.",
            param="cron",
            code="invalid_value",
        )


def _with_cron_alone() -> InvalidRequest:
    return InvalidRequest(
        "'timezone' is that of 'cron'; 'at' has its own. Leave it out.", param="timezone", code="invalid_value"
    )


@contextlib.contextmanager
def _time_zones(schedule: ScheduleState) -> Iterator[None]:
    """Raises InvalidRequest for a time zone that Temporal does not know."""
    try:
        yield
    except RPCError as error:
        if error.status != RPCStatusCode.INVALID_ARGUMENT:
            raise
        raise InvalidRequest(
            f"'timezone' must be a name of the IANA database, such as Europe/Berlin, but is {schedule.timezone!r}.",
            param="timezone",
            code="invalid_value",
        ) from error


async def _ids(state: AppState, tenant: str) -> list[str]:
    try:
        return await schedules.ids_of(state.temporal, tenant)
    except ValueError:
        raise InvalidRequest(
            "Temporal's index cannot search for the name of your tenant.", code="invalid_value"
        ) from None


async def _all(state: AppState, tenant: str) -> list[JsonObject | None]:
    """Each of the tenant's schedules; None for one that was deleted meanwhile."""
    at_once = asyncio.Semaphore(_READS_AT_ONCE)

    async def one(schedule_id: str) -> JsonObject | None:
        async with at_once:
            description = await schedules.described(state.temporal, schedule_id)
            return None if description is None else await _resource(state, description)

    return list(await asyncio.gather(*(one(schedule_id) for schedule_id in await _ids(state, tenant))))


async def _owned(state: AppState, caller: Caller, schedule_id: str) -> tuple[ScheduleDescription, ScheduleState]:
    """Raises NotFound, also for a schedule of another tenant."""
    description = await schedules.described(state.temporal, schedule_id) if is_schedule_id(schedule_id) else None
    if description is None or description.typed_search_attributes.get(TENANT) != caller.tenant:
        raise NotFound(
            "There is no schedule with this id. GET /v1/schedules lists those that there are.", param="schedule_id"
        )
    return description, await schedules.state_of(state.temporal, description)


async def _shown(state: AppState, caller: Caller, schedule_id: str) -> JsonObject:
    description, _ = await _owned(state, caller, schedule_id)
    return await _resource(state, description)


async def _resource(state: AppState, description: ScheduleDescription) -> JsonObject:
    schedule = await schedules.state_of(state.temporal, description)
    state_now, info = description.schedule.state, description.info
    known = [int(when.timestamp()) for when in info.next_action_times]
    now = time.time()
    coming = [when for when in known if when > now]
    # Temporal goes on to name the only time of a schedule behind it. It is due then, unless it was missed, or paused.
    is_past = not coming and (not known or state_now.paused or info.num_actions_missed_catchup_window > 0)
    is_over = schedule.at is not None and (state_now.remaining_actions == 0 or is_past)
    return {
        "object": "schedule",
        "id": schedule.id,
        "name": schedule.name,
        "status": "ended" if is_over else "paused" if state_now.paused else "active",
        "note": state_now.note or None,
        "cron": schedule.cron,
        "timezone": schedule.timezone if schedule.cron is not None else None,
        "at": schedule.at,
        "overlap": schedule.overlap,
        "request": shown_request(state, schedule),
        "metadata": schedule.metadata,
        "api_key_id": schedule.key_id or None,
        "created_at": schedule.created_at,
        "updated_at": schedule.updated_at,
        "next_runs": [] if state_now.paused else coming[:_NEXT_RUNS],
        "run_count": info.num_actions,
        "skipped_count": info.num_actions_skipped_overlap,
        "missed_count": info.num_actions_missed_catchup_window,
    }


async def _cursor(state: AppState, schedule_id: str, after: str) -> Cursor:
    if not after.startswith(schedule_id) or not after.isascii() or not after.isprintable():
        raise unknown_cursor()
    try:
        term = f"WorkflowId = {literal(after)}"
    except ValueError:
        raise unknown_cursor() from None
    found, _ = await newest_runs(state.temporal, [schedules.runs_of(schedule_id), term], limit=1, after=None)
    if not found:
        raise unknown_cursor()
    return Cursor(found[0].start_time, found[0].id)


async def _run(schedule_id: str, run: WorkflowExecution) -> JsonObject:
    kept = None
    with contextlib.suppress(*ERASED):
        kept = await run.memo_value(RUN_MEMO, default=None, type_hint=ScheduledRun)
    if kept is None:
        # No worker has begun it.
        kept = ScheduledRun(id=run.id, schedule_id=schedule_id, started_at=run.start_time.timestamp())
    return {"object": "schedule.run", **kept.model_dump(mode="json")}
