"""`/v1/webhook_deliveries`: the events that were sent, their outcomes, and sending one again.

Each delivery is a workflow, and its log is in the workflow's memo. So the log outlives a flush of Redis and needs no
worker to be read, and Temporal deletes it when the namespace's retention has passed since the delivery's end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from temporalio.client import WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from api.app_state import AppState
from api.auth import Caller
from api.dependencies import AuthenticatedCaller, State
from api.paging import check_names, list_object, page_limit, unknown_cursor
from open_responses.errors import InvalidRequest, NotFound, PermissionDenied, Unavailable
from open_responses.ids import is_id
from open_responses.io.temporal.client import TENANT
from open_responses.io.temporal.describe import describe
from open_responses.io.temporal.visibility import Cursor, literal, newest_runs
from open_responses.io.temporal.webhook_deliveries import delivery_of, of_response, send_again
from open_responses.json_types import JsonObject
from open_responses.loop import search_attributes as names
from open_responses.webhooks.deliveries import WEBHOOK_WORKFLOW, Delivery, is_delivery_id

router = APIRouter(prefix="/v1/webhook_deliveries")

_STATUSES = ("pending", "delivered", "failed")
_NAMES = frozenset({"limit", "after", "status", "response_id", "tenant"})


@dataclass(frozen=True, slots=True)
class _Page:
    """What was asked for: the terms of Temporal's query, the tenant (None for all), the size, and where it begins."""

    terms: tuple[str, ...]
    tenant: str | None
    limit: int
    after: str | None


@router.get("")
async def list_deliveries(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """One page, newest first. The same page is read from Temporal at most once a second."""
    page = _asked_for(request, caller)

    async def read() -> JsonObject:
        async with state.history_reads.request(caller.tenant) as reads, reads.one():
            cursor = None if page.after is None else await _cursor(state, page)
            runs, has_more = await newest_runs(
                state.temporal, page.terms, limit=page.limit, after=cursor, newest_counts=True
            )
        rows = [row for run in runs if (row := await _row(state, page.tenant, run)) is not None]
        return {**list_object(rows, has_more=has_more), "last_id": runs[-1].id if runs else None}

    return JSONResponse(await state.recent.get(("webhook deliveries", page), read))


@router.get("/{delivery_id}")
async def get_delivery(delivery_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """One delivery, with its attempts."""
    return JSONResponse(_shown(await _owned(state, caller, delivery_id)))


@router.post("/{delivery_id}/replay")
async def replay_delivery(delivery_id: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Send the event again, with the same id: at once if the delivery waits, else by attempts that begin anew."""
    delivery = await _owned(state, caller, delivery_id)
    try:
        await send_again(state.temporal, delivery)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise _unknown() from None
        raise
    return JSONResponse(_shown(delivery if delivery.status == "pending" else delivery.again()), status_code=202)


def _asked_for(request: Request, caller: Caller) -> _Page:
    """Raises InvalidRequest, PermissionDenied, and NotFound for a wrong `after`."""
    query = request.query_params
    check_names(query, _NAMES)
    terms = [f"WorkflowType = '{WEBHOOK_WORKFLOW}'"]
    own, asked = None if caller.is_admin else caller.tenant, query.get("tenant")
    if own is not None and asked not in (None, own):
        raise PermissionDenied(
            "Your API key sees its own tenant only. Leave 'tenant' out, or send a key with the scope admin.",
            param="tenant",
        )
    tenant = own or asked
    if tenant is not None:
        try:
            terms.append(f"{names.TENANT} = {literal(tenant)}")
        except ValueError:
            raise InvalidRequest(
                "Temporal's index cannot search for this tenant.", param="tenant", code="invalid_value"
            ) from None
    if (status := query.get("status")) is not None:
        if status not in _STATUSES:
            raise InvalidRequest(
                f"'status' must be one of {', '.join(_STATUSES)}.", param="status", code="invalid_value"
            )
        terms.append(f"{names.STATUS} = '{status}'")
    if (response_id := query.get("response_id")) is not None:
        if not is_id("resp_", response_id):
            raise InvalidRequest(
                "'response_id' must be the id of a response.", param="response_id", code="invalid_value"
            )
        terms.append(of_response(response_id))
    after = query.get("after")
    if after is not None and not is_delivery_id(after):
        raise unknown_cursor()
    return _Page(tuple(terms), tenant, page_limit(query.get("limit")), after)


async def _cursor(state: AppState, page: _Page) -> Cursor:
    assert page.after is not None, "asked for"
    terms = [page.terms[0], f"WorkflowId = {literal(page.after)}"]
    found, _ = await newest_runs(state.temporal, terms, limit=1, after=None, newest_counts=True)
    if not found or page.tenant not in (None, found[0].typed_search_attributes.get(TENANT)):
        raise unknown_cursor()
    return Cursor(found[0].start_time, found[0].id)


async def _row(state: AppState, tenant: str | None, run: WorkflowExecution) -> JsonObject | None:
    """None for one that may not be shown: of another tenant by letters of another case, or of a deleted response."""
    if tenant not in (None, run.typed_search_attributes.get(TENANT)):
        return None
    delivery = await delivery_of(run)
    return None if delivery is None or await _is_hidden(state, delivery) else _shown(delivery)


async def _owned(state: AppState, caller: Caller, id: str) -> Delivery:
    """Raises NotFound, also for the delivery of another tenant, and RPCError."""
    if not is_delivery_id(id):
        raise _unknown()
    run = await describe(state.temporal, id)
    if run is None or run.typed_search_attributes.get(TENANT) != (
        caller.reads_of or run.typed_search_attributes.get(TENANT)
    ):
        raise _unknown()
    try:
        delivery = await delivery_of(run)
    except RPCError as error:
        raise Unavailable("The delivery cannot be read at this moment. Send your request again.") from error
    if delivery is None or await _is_hidden(state, delivery):
        raise _unknown()
    return delivery


async def _is_hidden(state: AppState, delivery: Delivery) -> bool:
    return delivery.ends_with_response and await asyncio.to_thread(state.eraser.marks.is_hidden, delivery.response_id)


def _unknown() -> NotFound:
    return NotFound("There is no webhook delivery with this id.", param="delivery_id")


def _shown(delivery: Delivery) -> JsonObject:
    return {
        "object": "webhook_delivery",
        "id": delivery.id,
        "event_id": delivery.event_id,
        "type": delivery.type,
        "created_at": delivery.created_at,
        "data": delivery.data,
        "response_id": delivery.response_id or None,
        "webhook_endpoint_id": delivery.target.endpoint_id or None,
        "url": delivery.target.url,
        "tenant": delivery.tenant,
        "status": delivery.status,
        "attempts": [attempt.model_dump(mode="json") for attempt in delivery.attempts],
        "attempt_count": delivery.made,
        "next_attempt_at": delivery.next_at,
    }
